"""From settings to a run: Hydra composes conf/; this file names the run, makes paths absolute and explains mistakes."""

import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .errors import UserError
from .run import look_up, read_config, run_name

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: `conf/` and `recipes/` stand there."""

CONF = ROOT / "conf"

PATHS = ("rooms", "labelled_data", "warm_start")
"""Settings that are files or folders besides the data root; absolute, wherever they were given from."""

PLACES = ("data", *PATHS)
"""Where things are, which differs between machines."""

TAKEN_AS_TYPED = frozenset(
    (
        *PLACES,
        *("runs", "folder", "checkpoint", "separate_into", "input", "output", "path", "index", "datamodule.index"),
        *("datamodule.cache", "logger.save_dir", "hydra.run.dir", "sweep"),
        *("wsj0", "lists", "librispeech", "wham", "metadata", "noise", "test_noise"),
        *("unlabelled", "backgrounds", "foregrounds"),
    )
)
"""Settings that are paths, those of recipes included: Hydra's grammar does not apply to what was typed."""

LISTS = ("names", "labels", "rows")
"""Settings that are lists of names, which may be written `a,b`."""

NOT_PART_OF_A_RUN = (
    "checkpoint",
    "runs",
    "folder",
    "logger",
    "compile",
    "optimized_metric",
    "trainer.enable_progress_bar",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "datamodule.num_workers",
    "datamodule.index",
    "datamodule.cache",
    "datamodule.cache_gigabytes",
    "separate_into",
)
"""Settings that change where a run is, how it is shown and how fast it is, not what it computes; nor its name."""

MISTAKES = (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError, AttributeError, OSError)
"""What Hydra and OmegaConf raise over files and overrides that make no sense."""

PROPOSED = "proposed"
"""Value of a setting that a recipe's `proposals` is asked for."""

# So that `_target_: synthetic.Synthetic` is found.
sys.path += [str(path) for path in sorted((ROOT / "recipes").glob("*/")) if str(path) not in sys.path]


@dataclass(frozen=True)
class Config:
    """A run's resolved settings and its folder."""

    settings: DictConfig
    folder: Path

    def plain(self) -> dict[str, Any]:
        """Resolved settings as plain types, without those that are not part of a run."""
        values = OmegaConf.to_container(self.settings, resolve=True)
        assert isinstance(values, dict)
        for key in NOT_PART_OF_A_RUN:
            *groups, name = key.split(".")
            parent = values
            for group in groups:
                parent = parent[group]
            parent.pop(name, None)
        values["trainer"]["devices"] = 1  # any number of processes computes what one does
        if not values["callbacks"]:
            del values["callbacks"]
        return {str(name): value for name, value in values.items()}


def build(settings: DictConfig, key: str, **more: Any) -> Any:
    """Make the object that a key of the config describes by its `_target_`.

    Raises:
        UserError: it refuses its settings; the message says which key and why.
    """
    try:
        return instantiate(settings[key], **more)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {first_line(error)}") from error
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, (ValueError, TypeError, ImportError)):
            raise UserError(f"{key}: {first_line(cause)}") from error
        raise


def recipe_names() -> list[str]:
    """All recipes."""
    return sorted(path.stem for path in CONF.glob("recipe/*.yaml"))


def load_config(overrides: Iterable[str]) -> Config:
    """The config of a run, for programs; `mixit train` with the same overrides has the same.

    Args:
        overrides: `recipe=NAME key=value ...`.

    Raises:
        UserError: an override of something that does not exist, with the nearest that does; no data root where the
            recipe needs one.
    """
    earlier = HydraConfig.instance().cfg
    settings = checked("train", overrides)
    HydraConfig.instance().set_config(settings)
    try:
        return finish(without_hydra(settings))
    finally:
        HydraConfig.instance().cfg = earlier


def compose_settings(command: str, overrides: Iterable[str]) -> DictConfig:
    """Compose conf/COMMAND.yaml with `key=value ...`, not resolved yet.

    Raises:
        UserError: what is wrong with an override or file.
    """
    return without_hydra(checked(command, overrides))


def without_hydra(settings: DictConfig) -> DictConfig:
    """A config that can be changed, without Hydra's own settings."""
    OmegaConf.set_struct(settings, False)
    return OmegaConf.masked_copy(settings, [key for key in map(str, settings) if key != "hydra"])


def checked(command: str, overrides: Iterable[str]) -> DictConfig:
    """What Hydra composes.

    Raises:
        UserError: what is wrong with an override or file.
    """
    texts = [as_typed(override) for override in overrides]
    parsed = parse(texts)
    try:
        return composed(command, texts)
    except MISTAKES as error:
        raise explain(command, parsed, error) from error


def composed(command: str, texts: list[str]) -> DictConfig:
    """What Hydra composes, its own settings included, or its error; also inside one of its applications."""
    application = GlobalHydra.instance()
    outer, application.hydra = application.hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(command, overrides=texts, return_hydra_config=True)
    finally:
        application.hydra = outer


def finish(settings: DictConfig, *, makes_data: bool = False) -> Config:
    """The config of a run from what Hydra composed: paths absolute, proposals made, everything resolved.

    Args:
        settings: without Hydra's own.
        makes_data: whether the data root is still to be made.

    Raises:
        UserError: a value is missing or cannot be resolved; no data root where the recipe needs one.
    """
    hydra = HydraConfig.get()
    OmegaConf.set_struct(settings, False)
    check_values(settings)
    with resolving():
        folder = Path(hydra.sweep.dir, hydra.sweep.subdir) if hydra.mode == RunMode.MULTIRUN else Path(hydra.run.dir)
        settings.recipe, settings.run, settings.data = settings.recipe, settings.run, data_root(settings)
        settings.folder = str(folder)
    if not (makes_data or settings.data is None or "://" in settings.data or Path(settings.data).is_dir()):
        raise UserError(f"data={settings.data}: no such folder")
    if not (isinstance(settings.seed, int) and 0 <= settings.seed < 2**32):
        raise UserError(f"seed={settings.seed}: must be a whole number from 0 to 4294967295")
    for key in PATHS:
        if settings.get(key) is not None:
            settings[key] = absolute(settings[key])
    take_proposals(settings, folder)
    with resolving():
        OmegaConf.resolve(settings)
    return Config(settings, folder)


@contextmanager
def resolving() -> Iterator[None]:
    """Explain values that cannot be resolved.

    Raises:
        UserError: with the key, or as a resolver of ours explains itself.
    """
    try:
        yield
    except OmegaConfBaseException as error:
        reason = first_line(error).removeprefix("UserError raised while resolving interpolation: ")
        key = f"{error.full_key}: " if error.full_key and reason == first_line(error) else ""
        raise UserError(key + reason) from error


def take_proposals(settings: DictConfig, folder: Path) -> None:
    """Give every setting that is `proposed` the value that a run in the folder has, or else the recipe's `proposals`.

    Raises:
        UserError: the recipe cannot propose anything.
    """
    open_keys = [key for key in keys(settings) if str(plainly(settings, key)) == PROPOSED]
    path = folder / "config.yaml"
    if open_keys:
        earlier = read_config(path) if path.is_file() else None
        proposed = build(settings, "proposals") if "proposals" in settings and not earlier else {}
        for key in open_keys:
            value = look_up(earlier, key) if earlier else proposed.get(key)
            if value is None:
                raise UserError(f"{key}={PROPOSED}: nobody proposes it; give a value")
            OmegaConf.update(settings, key, value)
    settings.pop("proposals", None)


def plainly(settings: DictConfig, key: str) -> Any:
    """The value of a key, if it stands there itself."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(settings, parent) if parent else settings
    return None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]


def check_values(settings: DictConfig) -> None:
    """Refuse a config in which something has no value.

    Raises:
        UserError: with the key.
    """
    for key in map(str, settings):
        if OmegaConf.is_missing(settings, key):
            raise UserError(f"{key}: has no value; give {key}=VALUE")


def run_name_of(*, _root_: DictConfig) -> str:
    """The resolver of `run`."""
    hydra = HydraConfig.get()
    objective, recipe, separator = (hydra.runtime.choices[group] for group in ("objective", "recipe", "separator"))
    return run_name(objective, recipe, separator, defining(parse(hydra.overrides.task), _root_))


def defining(overrides: list[Override], settings: DictConfig) -> list[str]:
    """The overrides that make a run another one, and its files and folders."""
    texts = [
        f"{override.key_or_group}={override.get_value_element_as_str()}"
        for override in overrides
        if override.key_or_group not in ("recipe", "data", "objective", "separator", "trainer", *PATHS)
        and not any(f"{override.key_or_group}.".startswith(f"{key}.") for key in NOT_PART_OF_A_RUN)
    ]
    paths = {"data": data_root(settings)} | {key: settings.get(key) for key in PATHS}
    return [*texts, *(f"{key}={absolute(path)}" for key, path in paths.items() if path)]


def data_variable() -> str:
    """The environment variable that says where the recipe's data are; the resolver of the same name."""
    return variable_of(HydraConfig.get().runtime.choices["recipe"])


def variable_of(recipe: str) -> str:
    """The environment variable that says where a recipe's data are."""
    return f"{recipe.upper().replace('-', '_')}_DATA"


def data_root(settings: DictConfig) -> str | None:
    """Absolute data root; places such as s3://... stay as they are.

    Raises:
        UserError: the recipe needs one and there is none.
    """
    if not settings.needs_data:
        return None
    if settings.data is None:
        recipe = settings.recipe
        raise UserError(
            f"recipe {recipe} needs recordings: give data=PATH or set {variable_of(recipe)}; its README says which"
        )
    return absolute(settings.data)


def absolute(path: Any) -> str:
    """An absolute path; places such as s3://... stay as they are."""
    return str(path) if "://" in str(path) else str(Path(str(path)).expanduser().resolve())


def datamodules_of(recipes: DictConfig, shared: DictConfig) -> DictConfig:
    """The `datamodule` of other recipes, for a recipe that puts their data together; nothing else is taken from them.

    In settings: `${datamodules_of:${domains},${shared}}`.

    Args:
        recipes: the domains by name, `recipe` and whatever else one would write on its command line.
        shared: the same for all of them, which comes last.

    Raises:
        UserError: one names no recipe, or settings that it does not have.
    """
    datamodules = {}
    for name in map(str, recipes):
        if not (OmegaConf.is_dict(recipes[name]) and "recipe" in recipes[name]):
            raise UserError(f"domains.{name}: must be settings of a recipe, such as {{recipe:speech-folder,data:PATH}}")
        try:
            datamodules[name] = load_config([*overrides_of(recipes[name]), *overrides_of(shared)]).settings.datamodule
        except UserError as error:
            raise UserError(f"domains.{name}: {error}") from error
    return OmegaConf.create(datamodules)


def overrides_of(settings: DictConfig, prefix: str = "") -> Iterator[str]:
    """Settings as they are written on a command line."""
    for key in map(str, settings):
        if OmegaConf.is_dict(settings[key]):
            yield from overrides_of(settings[key], f"{prefix}{key}.")
        else:
            value = OmegaConf.to_container(settings[key]) if OmegaConf.is_list(settings[key]) else settings[key]
            yield f"{prefix}{key}={value if key == 'recipe' else json.dumps(value, ensure_ascii=False)}"


for resolver in (datamodules_of, data_variable):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
OmegaConf.register_new_resolver("run_name", run_name_of, replace=True)


def parse(overrides: Sequence[str]) -> list[Override]:
    """Read overrides `key=value`.

    Raises:
        UserError: one is none.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(f"{first_line(error)}; settings are written key=value") from error


def as_typed(override: str) -> str:
    """An override as Hydra reads it: in quotes where its value is a path that Hydra would take for something else."""
    key, _, value = override.partition("=")
    if not value:
        return override
    if key in LISTS and value[0] not in "['\"":
        return f"{key}=[{','.join(QuotedString(name, Quote.single).with_quotes() for name in value.split(','))}]"
    if key.lstrip("+") not in TAKEN_AS_TYPED or value == "null":
        return override
    if value.startswith("~"):  # which shells leave where it stands behind key=
        value = str(Path(value).expanduser())
    try:
        read = OverridesParser.create().parse_override(f"{key}={value}").value()
        if read == value or (isinstance(read, str) and value[0] in "'\""):  # in quotes already
            return f"{key}={value}"
    except HydraException:
        pass
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def explain(command: str, overrides: list[Override], error: Exception) -> UserError:
    """Say which override names an option or a key that does not exist, and the nearest that does."""
    chosen, others = [], []
    for override in overrides:
        name, value = override.key_or_group, override.value()
        options = sorted(path.stem for path in (CONF / name).glob("*.yaml"))
        if not (CONF / name).is_dir() or name.startswith("hydra"):
            others.append(override)
        elif value is None or value in options or name not in groups_of(command):
            chosen.append(override.input_line or "")
        else:
            return UserError(f"{override.input_line}: there is no such {name}{nearest(str(value), options)}")
    try:
        known = list(keys(composed(command, chosen)))
    except MISTAKES as worse:  # nor does it without the other overrides
        return UserError(all_lines(worse))
    for override in others:
        name = override.key_or_group
        if name not in known and not override.is_add():
            group = name.partition(".")[0]
            added = f" To add a key that {group} takes besides: +{name}=VALUE" if "." in name and group in known else ""
            return UserError(f"{override.input_line}: there is no such key{nearest(name, known)}{added}")
    return UserError(all_lines(error))


def groups_of(command: str) -> list[str]:
    """Groups that a command's config chooses from."""
    return list(composed(command, []).hydra.runtime.choices)


def nearest(name: str, options: list[str]) -> str:
    """End of a message: the nearest option, or all of them."""
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    # `lr` for `optimizer.lr` is nearer than any spelling.
    close = [option for option in options if option.split(".")[-1] == name.split(".")[-1]][:1] or close
    if close:
        return f"; did you mean {close[0]}?"
    if not options:
        return "; there are none"
    return f"; there are: {', '.join(options)}" if len(options) < 30 else "; see --cfg job"


def keys(settings: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a config, unresolved."""
    if OmegaConf.is_dict(settings):
        for name in settings:
            yield f"{prefix}{name}"
            if not OmegaConf.is_missing(settings, name) and not OmegaConf.is_interpolation(settings, name):
                yield from keys(settings[name], f"{prefix}{name}.")


def first_line(error: Exception) -> str:
    """The first line of a message that has something in it."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def all_lines(error: Exception) -> str:
    """A message in one line: YAML's says late which file it is."""
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
