# All commands; `make help` lists them.
recipe ?= synthetic
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every NAME=VALUE on make's command line is passed to the command, quoted, and so is the content of ARGS.
OWN := recipe PYTHON VENV BIN SHELL ARGS MAKEFLAGS
quoted = '$(subst ','\'',$1)'
typed = $(foreach v_,$(.VARIABLES),$(if $(findstring command,$(origin $(v_))),$(if $(filter $(OWN),$(v_)),,$(v_))))
GIVEN = $(foreach v_,$(typed),$(call quoted,$(v_)=$(value $(v_)))) $(ARGS)
SETTINGS = recipe=$(recipe) $(GIVEN)

.DEFAULT_GOAL := help
rooms: OWN += rooms # path=
.PHONY: help install prepare doctor rooms shard compare train evaluate report table tables reproduce keep sweep dashboard recipes listen export bench test test-all check format clean

help: ## Show this
	@echo 'make [recipe=NAME] [data=PATH] [key=value ...] TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Recipes: $(notdir $(patsubst %.yaml,%,$(wildcard conf/recipe/*.yaml))); the default needs no data.'

install: $(VENV)/installed ## Create .venv with all dependencies (the targets below do this themselves)

$(VENV)/installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo 'make: no $(PYTHON); install Python 3.11 or 3.12'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo 'make: $(PYTHON) is not 3.11 or 3.12; give PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@# W&B's schema of sweep files, for the tests. Nothing else of it is used, and its requirements ask for an older numpy.
	$(BIN)/python -m pip install --quiet --no-deps 'sweeps==0.3.*'
	@touch $@

prepare: $(VENV)/installed ## Make the recipe's data set from the corpora; if stopped, run it again to resume
	$(BIN)/mixit prepare $(SETTINGS)

doctor: $(VENV)/installed ## Check data=PATH for errors
	$(BIN)/mixit doctor $(SETTINGS)

rooms: $(VENV)/installed ## Simulate room impulse responses into rooms=FILE; ARGS="rt60=[0.2,0.6]" and other settings of conf/rooms.yaml
	$(BIN)/mixit rooms path=$(call quoted,$(or $(value rooms),rooms.npz)) $(GIVEN)

shard: $(VENV)/installed ## Pack data=FOLDER_OR_LIST into shards for recipe=shards: output=FOLDER or s3://BUCKET/PLACE; run it again to resume
	$(BIN)/mixit shard $(GIVEN)

train: $(VENV)/installed ## Train the recipe, evaluate, write the report; if stopped, run it again to resume
	$(BIN)/mixit train $(SETTINGS)

evaluate: $(VENV)/installed ## Separate and score the test set with the run's best checkpoint
	$(BIN)/mixit evaluate $(SETTINGS)

report: $(VENV)/installed ## Write report.html of the run again
	$(BIN)/mixit report $(SETTINGS)

compare: $(VENV)/installed ## Compare names=NAME_OR_FOLDER,... or rows=NAME,NAME on the same test mixtures, with a page of plots and audio
	$(BIN)/mixit compare $(SETTINGS)

table: $(VENV)/installed ## Print the recipe's table (published, measured, not run) and write it as .md, .csv, .tex and .html
	@$(BIN)/mixit table $(SETTINGS)

tables: $(VENV)/installed ## Print the tables of all recipes
	@$(BIN)/mixit tables $(GIVEN)

reproduce: $(VENV)/installed ## Run the missing rows of the recipe's table, or of rows=NAME,NAME; if stopped, run it again to resume
	$(BIN)/mixit reproduce $(SETTINGS)

keep: $(VENV)/installed ## Copy the measured results of the table into recipes/NAME/results/, to be committed
	$(BIN)/mixit keep $(SETTINGS)

sweep: $(VENV)/installed ## Sweep settings on this machine: sweep=NAME of sweeps/, agents=N, count=N; run it again to resume
	$(BIN)/mixit sweep $(SETTINGS)

dashboard: $(VENV)/installed ## Create a Weights & Biases workspace for the recipe's runs
	$(BIN)/mixit dashboard $(SETTINGS)

recipes: $(VENV)/installed ## List the recipes
	@$(BIN)/mixit recipes

export: $(VENV)/installed ## Export checkpoint=FILE to share it: output=FILE.onnx, FILE.safetensors or FOLDER/ for the Hugging Face Hub
	$(BIN)/mixit export $(GIVEN)

listen: $(VENV)/installed ## Serve a page that separates recordings with checkpoint=FILE, plays the outputs and mixes them
	@$(BIN)/mixit listen $(GIVEN)

bench: $(VENV)/installed ## Compare speed with asteroid and the machine's limit in one table; quick=true takes under two minutes
	$(BIN)/python benchmarks/all.py $(if $(filter true,$(quick)),--quick) $(ARGS)

test: $(VENV)/installed ## Run the tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-all: $(VENV)/installed ## Run all tests, including the slow ones
	$(BIN)/python -m pytest -m '' $(ARGS)

check: $(VENV)/installed ## Check lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove .venv and caches, but not runs/
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
