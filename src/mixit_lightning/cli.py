"""One command, `mixit`, whose sub-commands are the way in. Heavy imports wait until a sub-command needs them."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError
from .interrupts import Stopped, stoppable

if TYPE_CHECKING:
    from .config import Config

SPINS = "2000"
"""Looks of a thread that waits for others, before it sleeps: on an idle machine as fast as libgomp's own 300,000, with
which a step may take ten times as long beside other busy processes, see benchmarks/waiting.py."""

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = SPINS  # here, as it is read when torch is imported


def run_train(overrides: Sequence[str]) -> None:
    """Train, evaluate the best checkpoint, write the report; launcher=slurm: have a job do it."""
    from .config import build, load_config
    from .processes import join, leave
    from .training.evaluate import evaluate
    from .training.faults import explaining
    from .training.train import train
    from .training.wandb_logger import dashboard_of

    config = load_config(overrides)
    check_separate_into(config)
    if "_target_" in config.settings.launcher:
        build(config.settings, "launcher", _convert_="all").submit(config, overrides)
        return
    with stoppable(), explaining(config.folder):
        join(config.settings)
        with dashboard_of(config):
            train(config)
            evaluate(config)
        if not leave():
            return
        show(config.folder)
        if config.settings.get("separate_into"):
            separate_data(config)


def check_launcher(command: str, words: Sequence[str]) -> None:
    """Refuse to launch what waits for its trainings, or trains nothing.

    Raises:
        UserError: a word is about the launcher, and the command is another than `train`.
    """
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        if command != "train" and key.partition(".")[0] == "launcher" and value != "here":
            raise UserError(f"{word}: only `mixit train` submits itself; leave it out, or submit the command yourself")


def check_separate_into(config: "Config") -> None:
    """Refuse to separate recordings into a folder where they could not be told from their outputs.

    Raises:
        UserError: it lies among the recordings, or they in it; or it cannot be made.
    """
    if not (into := config.settings.get("separate_into")):
        return
    data, target = Path(config.settings.data), Path(into).expanduser().resolve()
    if target.is_relative_to(data) or data.is_relative_to(target):
        raise UserError(f"separate_into={into}: one of it and data={data} lies in the other; choose another folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"separate_into={into}: cannot be made ({error.strerror}); choose another folder") from error


def separate_data(config: "Config") -> None:
    """Separate all of a run's data with its best checkpoint, and say what was of no use."""
    from .config import build, load_described
    from .inference.files import separate_files, show

    data = Path(config.settings.data)
    described = load_described("separate", ["checkpoint=null", "input=null", "output=null"]).separate
    settings = {str(name): value for name, value in described.items() if name != "_target_"}
    checkpoint = str(config.folder / "checkpoints" / "best.ckpt")
    places = {"checkpoint": checkpoint, "input": str(data), "output": config.settings.separate_into}
    summary = separate_files(**settings | places)
    show(summary)
    told = {entry["file"] for entry in summary["skipped"]}
    for name, why in build(config.settings, "datamodule").skipped().items():
        if str(data / name) not in told:
            print(f"not trained on {name}: {why}")


def run_evaluate(overrides: Sequence[str]) -> None:
    """Separate the test set with a checkpoint, write results.json, examples.csv and the report."""
    from .config import load_config
    from .processes import join, leave
    from .training.evaluate import evaluate
    from .training.faults import explaining

    config = load_config(overrides)
    with stoppable(), explaining(config.folder):
        join(config.settings)
        evaluate(config)
        if leave():
            show(config.folder)


def run_report(overrides: Sequence[str]) -> None:
    """Write the report of a run again."""
    from .config import load_config

    show(load_config(overrides).folder)


def run_prepare(overrides: Sequence[str]) -> None:
    """Make the recipe's data set from the corpora; if stopped, run it again to resume."""
    from .config import build, load_config

    config = load_config(overrides, makes_data=True)
    if "preparation" not in config.settings:
        raise UserError(f"recipe {config.settings.recipe} has nothing to prepare; its README says what data=PATH holds")
    build(config.settings, "preparation")


def run_doctor(overrides: Sequence[str]) -> None:
    """Look for everything that can be wrong with data=PATH; --json prints it for machines; status 1 on errors."""
    import json

    from .config import build, load_config
    from .corpora.doctor import examine

    words = [word for word in overrides if word != "--json"]
    config = load_config(words)
    as_json = len(words) < len(overrides)
    datamodule = build(config.settings, "datamodule")
    diagnoses = datamodule.diagnoses(quiet=as_json)
    if diagnoses is None:
        diagnoses = [examine(inventory, quiet=as_json) for inventory in datamodule.inventories()]
    if not diagnoses:
        raise UserError(f"recipe {config.settings.recipe} generates its sounds; there are no files to look at")
    if as_json:
        plain = [diagnosis.plain() for diagnosis in diagnoses]
        print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=2))
    else:
        for diagnosis in diagnoses:
            diagnosis.show()
    if not all(diagnosis.healthy for diagnosis in diagnoses):
        raise SystemExit(1)


def run_rooms(overrides: Sequence[str]) -> None:
    """Simulate room impulse responses for rooms=FILE and plot them; if stopped, run it again to resume."""
    from .config import build, load_described
    from .report.rooms import draw_bank
    from .rooms.bank import summary

    settings = load_described("rooms", overrides)
    bank = build(settings, "rooms", _convert_="all")
    path = Path(settings.rooms.path).expanduser()
    picture = path.with_suffix(".png")
    draw_bank(bank, picture)
    print(f"{path}: {summary(bank)}\nlook: {picture}")


def run_shard(overrides: Sequence[str]) -> None:
    """Pack data=FOLDER|LIST into shards for recipe=shards, in output=FOLDER|s3://BUCKET/PLACE; resumable."""
    from .config import build, load_described

    print(build(load_described("shard", overrides), "shard"))


def run_separate(overrides: Sequence[str]) -> None:
    """Separate input=FILE|FOLDER into output=FOLDER with checkpoint=FILE; resumable; --json prints a summary."""
    import json

    from .config import build, load_described
    from .inference.files import show

    words = [word for word in overrides if word != "--json"]
    as_json = len(words) < len(overrides)
    settings = load_described("separate", words)
    summary = build(settings, "separate", quiet=as_json)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)
    if not summary["recordings"]:
        raise SystemExit(1)


def run_listen(overrides: Sequence[str]) -> None:
    """Serve a page on this machine to separate recordings with checkpoint=FILE, listen to the outputs and mix them."""
    from .config import build, load_described

    build(load_described("listen", overrides), "listen")


def run_export(overrides: Sequence[str]) -> None:
    """Write checkpoint=FILE for others: output=FILE.onnx, FILE.safetensors or FOLDER/ for the Hugging Face Hub."""
    from .config import build, load_described

    print(build(load_described("export", overrides), "export"))


def run_compare(words: Sequence[str]) -> None:
    """Compare runs with the first: [LABEL=]FOLDER ... or rows=NAME,NAME of recipe=NAME [output=FOLDER measure=NAME]."""
    from .report.comparison import compare, find_run
    from .tables.measured import measured_rows

    own, words = take(words, "recipe", "runs", "output", "measure", "rows")
    root = Path(own.get("runs", "runs"), own.get("recipe", "synthetic"))
    target = Path(own["output"]) if "output" in own else root / "comparison"
    parts = [word.rpartition("=") for word in words]
    runs = [(label or Path(run).name, find_run(run, root)) for label, _, run in parts]
    if "rows" in own:
        runs += measured_rows(own.get("recipe", "synthetic"), own["rows"].split(","), [f"runs={root.parent}"])
    if len(runs) < 2:
        raise UserError("compare: give two or more runs, each as FOLDER or NAME of a run of recipe=, or LABEL=FOLDER")
    compare(runs, target, own.get("measure", "si_snri"))
    print((target / "comparison.md").read_text())
    print(f"tables: {target / 'comparison.md'}, comparison.csv, comparison.png")
    print(f"look and listen: {target / 'comparison.html'}")


def run_table(words: Sequence[str]) -> None:
    """Print a recipe's table, published beside measured; write it as Markdown, CSV, LaTeX and HTML [output=FOLDER]."""
    from .tables.render import markdown, measure_tables, write_tables

    own, words = take(words, "recipe", "output")
    recipe = own.get("recipe", "synthetic")
    tables = measure_tables(recipe, words)
    runs, _ = take(words, "runs")
    paths = write_tables(recipe, tables, Path(own.get("output", Path(runs.get("runs", "runs"), recipe))))
    print(markdown(recipe, tables))
    print(", ".join(map(str, paths)))


def run_tables(words: Sequence[str]) -> None:
    """Print the tables of all recipes, and write each as Markdown, CSV, LaTeX and HTML below runs/."""
    from .config import recipe_names

    own, words = take(words, "output")
    damaged = []
    for recipe in recipe_names():
        output = [f"output={Path(own['output'], recipe)}"] if "output" in own else []
        try:
            run_table([f"recipe={recipe}", *output, *words])
        except UserError as error:
            damaged.append(f"{recipe}: {error}")
            print(f"# {recipe}\n\n{error}")
        print()
    if damaged:
        raise UserError("; ".join(damaged))


def run_reproduce(words: Sequence[str]) -> None:
    """Run the rows of a recipe's table that have no measured run yet [rows=NAME,NAME]; run it again to resume."""
    from .tables.reproduce import check_all, reproduce

    own, words = take(words, "recipe", "rows")
    check_all(reproduce(own.get("recipe", "synthetic"), own["rows"].split(",") if "rows" in own else None, words))


def run_keep(words: Sequence[str]) -> None:
    """Copy what was measured of a recipe's table, or of rows=NAME,NAME, into the repository: recipes/NAME/results/."""
    from .tables.keep import keep

    own, words = take(words, "recipe", "rows")
    for folder in keep(own.get("recipe", "synthetic"), own["rows"].split(",") if "rows" in own else None, words):
        print(folder)


def run_sweep(words: Sequence[str]) -> None:
    """Run the sweep sweep=NAME|FILE on this machine: agents=N trials at a time, count=N in all; resumable."""
    from .sweeps.file import find_sweep
    from .sweeps.local import sweep

    own, words = take(words, "sweep", "agents", "count")
    for name in own.keys() - {"sweep"}:
        if not own[name].isdecimal() or int(own[name]) < 1:
            raise UserError(f"{name}={own[name]}: must be a whole number, 1 or more")
    count = int(own["count"]) if "count" in own else None
    sweep(find_sweep(own.get("sweep", "learning-rate")), words, count, int(own.get("agents", "1")))


def take(words: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Take the words NAME=VALUE that a command has for itself out of those that are settings."""
    own, others = {}, []
    for word in words:
        name, _, value = word.partition("=")
        if name in names:
            own[name] = value
        else:
            others.append(word)
    return own, others


def run_dashboard(overrides: Sequence[str]) -> None:
    """Make a Weights & Biases workspace for the recipe's runs, with what sweeps/dashboard.yaml lists."""
    from .training.wandb_workspace import make_workspace

    print(f"look: {make_workspace(overrides)}")


def run_recipes(overrides: Sequence[str]) -> None:
    """List the recipes."""
    from .config import recipe_names

    print("\n".join(recipe_names()))


def show(folder: Path) -> None:
    """Write the report, and print the figures and where to look."""
    import json

    from .report.labels import quantities
    from .report.run_page import write_report

    page = write_report(folder)
    record = json.loads((folder / "results.json").read_text())
    for item in quantities(record["metrics"]):
        print(f"{item.label:>18}  {item.text} {item.unit}")
    print(f"{record['num_examples']} examples; {record['selection_rule']}")
    print(f"results: {folder / 'results.json'}\nlook and listen: {page}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "prepare": run_prepare,
    "doctor": run_doctor,
    "rooms": run_rooms,
    "shard": run_shard,
    "separate": run_separate,
    "export": run_export,
    "listen": run_listen,
    "train": run_train,
    "evaluate": run_evaluate,
    "report": run_report,
    "compare": run_compare,
    "table": run_table,
    "tables": run_tables,
    "reproduce": run_reproduce,
    "keep": run_keep,
    "sweep": run_sweep,
    "dashboard": run_dashboard,
    "recipes": run_recipes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `mixit COMMAND recipe=NAME key=value ...`; the exit status is 1 for mistakes that the message explains."""
    parser = argparse.ArgumentParser(prog="mixit", description="Train, evaluate and look at separators.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        help_text = (function.__doc__ or "").strip()
        command = commands.add_parser(name, help=help_text, description=help_text)
        words = ("LABEL=FOLDER", "runs") if name == "compare" else ("recipe=NAME key=value", "see conf/ and recipes/")
        command.add_argument("settings", nargs="*", metavar=words[0], help=words[1])
    for name, what in (("doctor", "findings"), ("separate", "a summary")):
        commands.choices[name].add_argument("--json", action="store_true", help=f"print {what} as JSON")
    given = sys.argv[1:] if arguments is None else arguments
    # argparse takes no settings behind an option
    parsed = parser.parse_args(sorted(given, key=lambda word: word == "--json"))
    settings = parsed.settings + (["--json"] if getattr(parsed, "json", False) else [])
    warnings.filterwarnings("ignore", module="(lightning|torchmetrics|asteroid|torch)")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        check_launcher(parsed.command, settings)
        COMMANDS[parsed.command](settings)
    except UserError as error:
        print(f"mixit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mixit: stopped; run the same command again to resume", file=sys.stderr)
        return 130
    except Stopped as stopped:
        print(f"mixit: {stopped}; run the same command again to resume", file=sys.stderr)
        from .processes import rank

        return 0 if rank() else stopped.status  # or Lightning takes the first process for one that has to be killed
    except BrokenPipeError:  # `mixit table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it closes it
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
