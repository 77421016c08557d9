# Everything one types, in one place: `make help`.
recipe ?= synthetic
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every NAME=VALUE on make's command line is given to the command, in quotes, and so is whatever stands in ARGS.
OWN := recipe PYTHON ARGS MAKEFLAGS
quoted = '$(subst ','\'',$1)'
typed = $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(if $(filter $(OWN),$(name)),,$(name))))
GIVEN = $(foreach name,$(typed),$(call quoted,$(name)=$(value $(name)))) $(ARGS)
SETTINGS = recipe=$(recipe) $(GIVEN)

.DEFAULT_GOAL := help
rooms: OWN += rooms # path=
compare: OWN += runs # names
.PHONY: help install prepare doctor rooms shard compare train evaluate report table tables reproduce keep sweep dashboard recipes listen export bench test test-all check format clean

help: ## Show this
	@echo 'make [recipe=NAME] [data=PATH] [key=value ...] TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Recipes: $(notdir $(patsubst %/settings.yaml,%,$(wildcard recipes/*/settings.yaml))); the default needs no data.'

install: $(VENV)/installed ## Make .venv with everything in it (the targets below do that by themselves)

$(VENV)/installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo 'make: no $(PYTHON); install Python 3.11 or 3.12'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo 'make: $(PYTHON) is not 3.11 or 3.12; give PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@# W&B's schema of sweep files, for the tests. Nothing else of it is used, and it asks for an older numpy.
	$(BIN)/python -m pip install --quiet --no-deps 'sweeps==0.3.*'
	@touch $@

prepare: $(VENV)/installed ## Make the recipe's data set from the corpora; again: go on where it was stopped
	$(BIN)/mixit prepare $(SETTINGS)

doctor: $(VENV)/installed ## Look for everything that can be wrong with data=PATH
	$(BIN)/mixit doctor $(SETTINGS)

rooms: $(VENV)/installed ## Simulate rooms=FILE, for rooms=FILE of a recipe; ARGS="rt60=[0.2,0.6]" and what else conf/rooms.yaml has
	$(BIN)/mixit rooms path=$(call quoted,$(or $(value rooms),rooms.npz)) $(GIVEN)

shard: $(VENV)/installed ## Pack data=FOLDER_OR_LIST into shards for recipe=shards: output=FOLDER or s3://BUCKET/PLACE; again: go on
	$(BIN)/mixit shard $(GIVEN)

train: $(VENV)/installed ## Train the recipe, evaluate, write the report; again: resume
	$(BIN)/mixit train $(SETTINGS)

evaluate: $(VENV)/installed ## Separate and score the test set with the run's best checkpoint
	$(BIN)/mixit evaluate $(SETTINGS)

report: $(VENV)/installed ## Write report.html of the run again
	$(BIN)/mixit report $(SETTINGS)

compare: $(VENV)/installed ## Compare runs="NAME_OR_FOLDER ..." or rows=NAME,NAME on the same test mixtures: a page to look at and listen to
	$(BIN)/mixit compare recipe=$(recipe) $(runs) $(GIVEN)

table: $(VENV)/installed ## Print the recipe's table: published, measured, what was not run; writes it as .md, .csv, .tex, .html too
	@$(BIN)/mixit table $(SETTINGS)

tables: $(VENV)/installed ## Print the tables of all recipes
	@$(BIN)/mixit tables $(GIVEN)

reproduce: $(VENV)/installed ## Run what is missing of the recipe's table, or of rows=NAME,NAME; again: go on
	$(BIN)/mixit reproduce $(SETTINGS)

keep: $(VENV)/installed ## Copy what was measured of the table into recipes/NAME/results/, to be committed
	$(BIN)/mixit keep $(SETTINGS)

sweep: $(VENV)/installed ## Sweep settings: sweep=NAME of conf/sweep/, engine=wandb or local (again: go on), agents=N, count=N
	$(BIN)/mixit sweep $(SETTINGS)

dashboard: $(VENV)/installed ## Make a Weights & Biases workspace for the recipe's runs
	$(BIN)/mixit dashboard $(SETTINGS)

recipes: $(VENV)/installed ## List the recipes
	@$(BIN)/mixit recipes

export: $(VENV)/installed ## Write checkpoint=FILE for others: output=FILE.onnx, FILE.safetensors or FOLDER/ for the Hugging Face Hub
	$(BIN)/mixit export $(GIVEN)

listen: $(VENV)/installed ## Open a page to separate recordings on with checkpoint=FILE: listen to the outputs, mix them
	@$(BIN)/mixit listen $(GIVEN)

bench: $(VENV)/installed ## Measure against asteroid and the machine's limit: one table; quick=true takes under two minutes
	$(BIN)/python benchmarks/all.py $(if $(filter true,$(quick)),--quick) $(ARGS)

test: $(VENV)/installed ## Run the tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-all: $(VENV)/installed ## Run the slow tests as well
	$(BIN)/python -m pytest -m '' $(ARGS)

check: $(VENV)/installed ## Lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove .venv and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
