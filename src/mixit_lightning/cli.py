"""The `mixit` command: `mixit COMMAND key=value ...` is a Hydra application over conf/COMMAND.yaml.

Heavy imports wait until a command needs them.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .interrupts import Stopped, stoppable

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from .config import Config

SPINS = "2000"
"""Looks of a thread that waits for others, before it sleeps: on an idle machine as fast as libgomp's own 300,000, with
which a step may take ten times as long beside other busy processes, see benchmarks/waiting.py."""

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = SPINS  # here, as it is read when torch is imported


def train(settings: "DictConfig") -> float | None:
    """Train, evaluate the best checkpoint, write the report; if stopped, run it again to resume."""
    from .training.evaluate import test
    from .training.parts import parts_of
    from .training.train import fit

    with run_of("train", settings) as config:
        check_separate_into(config)
        with parts_of(config) as parts:
            fit(parts)
            test(parts)
        return finish_run(config, separate=True)


def evaluate(settings: "DictConfig") -> float | None:
    """Separate and score the test set with a checkpoint; write results.json, examples.csv and the report."""
    from .training.evaluate import evaluate

    with run_of("evaluate", settings) as config:
        evaluate(config)
        return finish_run(config)


@contextmanager
def run_of(command: str, settings: "DictConfig") -> Iterator["Config"]:
    """The config of a run whose folder Hydra has made; where nothing comes of it, the folder goes."""
    import lightning.pytorch  # which sets the level that is changed here
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from .config import finish
    from .processes import join
    from .training.faults import explaining

    logging.getLogger(lightning.pytorch.__name__).setLevel(logging.WARNING)
    job = HydraConfig.get()
    try:
        config = finish(settings)
        with stoppable(), explaining(config.folder):
            given = job.overrides.task if job.mode == RunMode.MULTIRUN else sys.argv[1:]
            join(config.settings, [command, *given])
            yield config
    except BaseException:
        with suppress(OSError):
            Path(job.runtime.output_dir).rmdir()
        raise


def finish_run(config: "Config", separate: bool = False) -> float | None:
    """Write the report, print the figures; the metric that a sweeper of Hydra optimizes."""
    from .processes import leave
    from .records import read_results

    if not leave():
        return None
    show(config.folder)
    if separate and config.settings.get("separate_into"):
        separate_data(config)
    return read_results(config.folder / "results.json")["metrics"].get(config.settings.optimized_metric)


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
    from .config import build, compose_settings
    from .inference.files import show

    data = Path(config.settings.data)
    settings = compose_settings("separate", [])
    settings.checkpoint = str(config.folder / "checkpoints" / "best.ckpt")
    settings.input, settings.output = str(data), config.settings.separate_into
    summary = described("separate", settings)
    show(summary)
    told = {entry["file"] for entry in summary["skipped"]}
    for name, why in build(config.settings, "datamodule").skipped().items():
        if str(data / name) not in told:
            print(f"not trained on {name}: {why}")


def report(settings: "DictConfig") -> None:
    """Write the report of a run again."""
    with run_of("report", settings) as config:
        show(config.folder)


def prepare(settings: "DictConfig") -> None:
    """Make the recipe's data set from the corpora; if stopped, run it again to resume."""
    from .config import build, finish

    config = finish(settings, makes_data=True)
    if "preparation" not in config.settings:
        raise UserError(f"recipe {config.settings.recipe} has nothing to prepare; its README says what data=PATH holds")
    build(config.settings, "preparation")


def doctor(settings: "DictConfig") -> None:
    """Look for everything that can be wrong with data=PATH; json=true prints it for machines; status 1 on errors."""
    import json

    from .config import build, finish
    from .corpora.doctor import examine

    as_json = settings.pop("json")
    config = finish(settings)
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


def described(name: str, settings: "DictConfig", **more: Any) -> Any:
    """What the settings of a command describe by their `_target_`."""
    from omegaconf import OmegaConf

    from .config import build, check_values

    check_values(settings)
    settings.pop("json", None)
    return build(OmegaConf.create({name: settings}), name, **more)


def rooms(settings: "DictConfig") -> None:
    """Simulate room impulse responses for rooms=FILE and plot them; if stopped, run it again to resume."""
    from .report.rooms import draw_bank
    from .rooms.bank import summary

    bank = described("rooms", settings, _convert_="all")
    path = Path(settings.path).expanduser()
    picture = path.with_suffix(".png")
    draw_bank(bank, picture)
    print(f"{path}: {summary(bank)}\nlook: {picture}")


def shard(settings: "DictConfig") -> None:
    """Pack data=FOLDER|LIST into shards for recipe=shards, in output=FOLDER|s3://BUCKET/PLACE; resumable."""
    print(described("shard", settings))


def separate(settings: "DictConfig") -> None:
    """Separate input=FILE|FOLDER into output=FOLDER with checkpoint=FILE; resumable; json=true prints a summary."""
    import json

    from .inference.files import show

    as_json = settings.json
    summary = described("separate", settings, quiet=as_json)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary)
    if not summary["recordings"]:
        raise SystemExit(1)


def listen(settings: "DictConfig") -> None:
    """Serve a page on this machine to separate recordings with checkpoint=FILE, listen to the outputs and mix them."""
    described("listen", settings)


def export(settings: "DictConfig") -> None:
    """Write checkpoint=FILE for others: output=FILE.onnx, FILE.safetensors or FOLDER/ for the Hugging Face Hub."""
    print(described("export", settings))


def compare(settings: "DictConfig") -> None:
    """Compare runs with the first: names=NAME,FOLDER,... labels=..., or rows=NAME,... of recipe=NAME."""
    from .report.comparison import compare, find_run
    from .tables.measured import measured_rows

    names = list(settings.names)
    labels = [str(label) for label in settings.labels or (Path(name).name for name in names)]
    if len(labels) != len(names):
        raise UserError(f"labels: there are {len(labels)} for {len(names)} names; give one for each")
    root = Path(settings.runs, settings.recipe)
    runs = [(label, find_run(name, root)) for label, name in zip(labels, names, strict=True)]
    if settings.rows:
        runs += measured_rows(settings.recipe, settings.rows, [f"runs={settings.runs}"])
    if len(runs) < 2:
        raise UserError("compare: give two or more runs, as names=NAME,NAME of recipe=, folders, or rows=NAME,NAME")
    target = Path(settings.output or root / "comparison")
    compare(runs, target, settings.measure)
    print((target / "comparison.md").read_text())
    print(f"tables: {target / 'comparison.md'}, comparison.csv, comparison.png")
    print(f"look and listen: {target / 'comparison.html'}")


def table(settings: "DictConfig") -> None:
    """Print a recipe's table, published beside measured; write it as Markdown, CSV, LaTeX and HTML."""
    print_table(settings.recipe, settings.runs, settings.output, overrides_but("recipe", "rows", "output"))


def tables(settings: "DictConfig") -> None:
    """Print the tables of all recipes, and write each as Markdown, CSV, LaTeX and HTML below runs/."""
    from .config import recipe_names

    damaged = []
    for recipe in recipe_names():
        try:
            print_table(recipe, settings.runs, settings.output and Path(settings.output, recipe), [])
        except UserError as error:
            damaged.append(f"{recipe}: {error}")
            print(f"# {recipe}\n\n{error}")
        print()
    if damaged:
        raise UserError("; ".join(damaged))


def print_table(recipe: str, runs: str, output: Path | str | None, overrides: list[str]) -> None:
    """Print one table, and write its files."""
    from .tables.render import markdown, measure_tables, write_tables

    tables = measure_tables(recipe, [*overrides, f"runs={runs}"])
    paths = write_tables(recipe, tables, Path(output or Path(runs, recipe)))
    print(markdown(recipe, tables))
    print(", ".join(map(str, paths)))


def reproduce(settings: "DictConfig") -> None:
    """Run the rows of a recipe's table that have no measured run yet, or rows=NAME,...; run it again to resume."""
    from .tables.reproduce import check_all, reproduce

    check_all(reproduce(settings.recipe, settings.rows, overrides_but("recipe", "rows", "output")))


def keep(settings: "DictConfig") -> None:
    """Copy what was measured of a recipe's table, or of rows=NAME,..., into recipes/NAME/results/."""
    from .tables.keep import keep

    for folder in keep(settings.recipe, settings.rows, overrides_but("recipe", "rows", "output")):
        print(folder)


def overrides_but(*own: str) -> list[str]:
    """The overrides of this command without those of its own, for trainings that it knows or begins."""
    from hydra.core.hydra_config import HydraConfig

    return [override for override in HydraConfig.get().overrides.task if override.partition("=")[0] not in own]


def sweep(settings: "DictConfig") -> None:
    """Run the sweep sweep=NAME|FILE on this machine: agents=N trials at a time, count=N in all; resumable."""
    from .sweeps.file import find_sweep
    from .sweeps.local import sweep

    for name in ("count", "agents"):
        number = settings[name]
        if number is not None and not (isinstance(number, int) and number > 0):
            raise UserError(f"{name}={number}: must be a whole number, 1 or more")
    overrides = overrides_but("sweep", "count", "agents")
    sweep(find_sweep(settings.sweep), overrides, settings.count, settings.agents)


def dashboard(settings: "DictConfig") -> None:
    """Make a Weights & Biases workspace for the recipe's runs, with what sweeps/dashboard.yaml lists."""
    from .training.wandb_workspace import make_workspace

    print(f"look: {make_workspace(settings.recipe, settings.logger)}")


def show(folder: Path) -> None:
    """Write the report, and print the figures and where to look."""
    import json

    from .report.labels import quantities
    from .report.page import write_report

    page = write_report(folder)
    record = json.loads((folder / "results.json").read_text())
    for item in quantities(record["metrics"]):
        print(f"{item.label:>18}  {item.text} {item.unit}")
    print(f"{record['num_examples']} examples; {record['selection_rule']}")
    print(f"results: {folder / 'results.json'}\nlook and listen: {page}")


COMMANDS: dict[str, Callable[["DictConfig"], Any]] = {
    task.__name__: task
    for task in (
        *(prepare, doctor, rooms, shard, separate, export, listen, train, evaluate, report, compare),
        *(table, tables, reproduce, keep, sweep, dashboard),
    )
}


def usage() -> str:
    """All commands."""
    lines = [f"  {name:<10} {(task.__doc__ or '').strip()}" for name, task in COMMANDS.items()]
    return "\n".join(
        [
            "mixit COMMAND recipe=NAME key=value ...",
            "",
            *lines,
            "  recipes    List the recipes.",
            "",
            "mixit COMMAND --help lists its settings; conf/COMMAND.yaml says what they are.",
        ]
    )


def run_hydra(command: str, arguments: Sequence[str]) -> None:
    """Run a command as the Hydra application over conf/COMMAND.yaml.

    Raises:
        UserError: a mistake, explained.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from .config import CONF, as_typed, compose_settings, first_line, resolving

    if not (CONF / "train.yaml").is_file():
        raise UserError(f"{CONF}: not there; install from a checkout with `pip install -e .`")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # lets errors through, to be explained below
    many = bool({"-m", "--multirun"} & set(arguments))
    arguments = ["json=true" if one == "--json" else one if many else as_typed(one) for one in arguments]

    def task(settings: "DictConfig") -> Any:
        OmegaConf.set_struct(settings, False)
        try:
            with resolving():  # which also has a job of SLURM's import what resolves its settings
                return COMMANDS[command](settings)
        except UserError as error:
            if many:  # the other jobs shall run
                raise
            raise Explained(str(error)) from error

    earlier, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        with resolving():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)(task)()
    except Explained as explained:
        raise UserError(str(explained)) from explained
    except UserError:
        raise
    except HydraException as error:
        compose_settings(command, [one for one in arguments if "=" in one and not one.startswith("-")])
        raise UserError(first_line(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(f"{error.filename}: {error.strerror}") from error
    finally:
        sys.argv = earlier


class Explained(BaseException):
    """A mistake on its way through Hydra, which would print more than the message."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `mixit COMMAND recipe=NAME key=value ...`; the exit status is 1 for mistakes that the message explains."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0
    command, *given = given
    if command == "recipes":
        from .config import recipe_names

        print("\n".join(recipe_names()))
        return 0
    if command not in COMMANDS:
        print(f"mixit: {command}: there is no such command; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    warnings.filterwarnings("ignore", module="(lightning|torchmetrics|asteroid|torch)")
    try:
        run_hydra(command, given)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
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
