"""One command, `mixit`, whose sub-commands are the way in. Heavy imports wait until a sub-command needs them."""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UserError


def run_train(overrides: Sequence[str]) -> None:
    """Train, evaluate the best checkpoint, write the report."""
    from .config import load_config
    from .training.evaluate import evaluate
    from .training.train import train

    config = load_config(overrides)
    train(config)
    evaluate(config)
    show(config.folder)


def run_evaluate(overrides: Sequence[str]) -> None:
    """Separate the test set with a checkpoint, write results.json, examples.csv and the report."""
    from .config import load_config
    from .training.evaluate import evaluate

    config = load_config(overrides)
    evaluate(config)
    show(config.folder)


def run_report(overrides: Sequence[str]) -> None:
    """Write the report of a run again."""
    from .config import load_config

    show(load_config(overrides).folder)


def run_prepare(overrides: Sequence[str]) -> None:
    """Make the recipe's data set from the corpora; again: go on where it was stopped."""
    from .config import build, load_config

    config = load_config(overrides, makes_data=True)
    if "preparation" not in config.settings:
        raise UserError(f"recipe {config.settings.recipe} has nothing to prepare; its README says what data=PATH holds")
    build(config.settings, "preparation")


def run_doctor(overrides: Sequence[str]) -> None:
    """Look for everything that can be wrong with data=PATH; --json prints it for machines; status 1 on errors."""
    import json

    from .config import build, load_config
    from .doctor.diagnosis import examine, show

    words = [word for word in overrides if word != "--json"]
    config = load_config(words)
    inventories = build(config.settings, "datamodule").inventories()
    if not inventories:
        raise UserError(f"recipe {config.settings.recipe} generates its sounds; there are no files to look at")
    as_json = len(words) < len(overrides)
    diagnoses = [examine(inventory, quiet=as_json) for inventory in inventories]
    if as_json:
        plain = [diagnosis.plain() for diagnosis in diagnoses]
        print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=2))
    else:
        for diagnosis in diagnoses:
            show(diagnosis)
    if not all(diagnosis.healthy for diagnosis in diagnoses):
        raise SystemExit(1)


def run_rooms(overrides: Sequence[str]) -> None:
    """Simulate a bank of rooms, for rooms=FILE, and draw it; again: go on where it was stopped."""
    from .config import build_rooms
    from .results.rooms import draw_bank
    from .rooms.bank import summary

    path, bank = build_rooms(overrides)
    picture = path.with_suffix(".png")
    draw_bank(bank, picture)
    print(f"{path}: {summary(bank)}\nlook: {picture}")


def run_compare(words: Sequence[str]) -> None:
    """Compare runs with the first one on the same test mixtures: [LABEL=]FOLDER ... [output=FOLDER] [measure=NAME]."""
    from .results.comparison import compare

    target, measure, runs = Path(), "si_snri", []
    for word in words:
        label, _, folder = word.rpartition("=")
        if label == "output":
            target = Path(folder)
        elif label == "measure":
            measure = folder
        else:
            runs.append((label or Path(folder).name, Path(folder)))
    if len(runs) < 2:
        raise UserError("compare: give two or more run folders, each as FOLDER or LABEL=FOLDER")
    compare(runs, target, measure)
    print((target / "comparison.md").read_text())
    print(f"{target / 'comparison.md'}, comparison.csv, comparison.png")


def run_recipes(overrides: Sequence[str]) -> None:
    """List the recipes."""
    from .config import recipe_names

    print("\n".join(recipe_names()))


def show(folder: Path) -> None:
    """Write the report, and print the figures and where to look."""
    import json

    from .results.quantities import quantities
    from .results.report import write_report

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
    "train": run_train,
    "evaluate": run_evaluate,
    "report": run_report,
    "compare": run_compare,
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
    commands.choices["doctor"].add_argument("--json", action="store_true", help="print findings as JSON")
    parsed = parser.parse_args(arguments)
    settings = parsed.settings + (["--json"] if getattr(parsed, "json", False) else [])
    warnings.filterwarnings("ignore", module="(lightning|torchmetrics|asteroid|torch)")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        COMMANDS[parsed.command](settings)
    except UserError as error:
        # An error of a loading process arrives with that process's traceback; its message stands in the last line.
        message = str(error).strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.UserError: ")
        print(f"mixit: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mixit: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
