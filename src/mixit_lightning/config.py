"""From a command line to a resolved config: Hydra composes, this file finds recipes and explains mistakes."""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .errors import UserError
from .reading import read_yaml
from .run import look_up, read_config, run_name

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: `conf/` and `recipes/` stand there."""

PATHS = ("rooms", "labelled_data", "warm_start")
"""Settings that are files or folders besides the data root; absolute, wherever they were given from."""

PLACES = ("data", *PATHS)
"""Where things are, which differs between machines."""

TAKEN_AS_TYPED = frozenset(
    (
        *PLACES,
        *("runs", "checkpoint", "separate_into", "input", "output", "path", "index", "datamodule.index"),
        *("datamodule.cache", "logger.save_dir", "hydra.run.dir"),
        *("wsj0", "lists", "librispeech", "wham", "metadata", "noise", "test_noise"),
        *("unlabelled", "backgrounds", "foregrounds"),
    )
)
"""Settings that are paths, those of recipes included: Hydra's grammar does not apply to what was typed."""

NOT_PART_OF_A_RUN = (
    "checkpoint",
    "runs",
    "logger",
    "launcher",
    "trainer.enable_progress_bar",
    "trainer.compile",
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


MISTAKES = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    OSError,
    RecursionError,
    AssertionError,
)
"""What Hydra and OmegaConf raise over files and words that make no sense; the first two are meant to be read."""

VALUES = {"runs": str, "selection": str, "needs_data": bool}
GROUPS = (
    "separator",
    "objective",
    "optimizer",
    "schedule",
    "trainer",
    "callbacks",
    "logger",
    "launcher",
    "scoring",
    "datamodule",
)
"""Settings that every run needs, and those of them that are groups."""

RUN_FOLDER = "hydra.run.dir"
"""Setting of Hydra's, for the folder of a run."""

PROPOSED = "proposed"
"""Value of a setting that a recipe's `proposals` is asked for."""


@dataclass(frozen=True)
class Config:
    """A composed config and the run folder that belongs to it."""

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
        if isinstance(cause, (ValueError, TypeError, ModuleNotFoundError)):
            raise UserError(f"{key}: {first_line(cause)}") from error
        raise


def recipe_names() -> list[str]:
    """All recipes: the folders of `recipes/` that hold settings."""
    return sorted(path.parent.name for path in (ROOT / "recipes").glob("*/settings.yaml"))


def load_config(arguments: Iterable[str], *, makes_data: bool = False) -> Config:
    """Compose `recipe=NAME key=value ...`.

    Args:
        arguments: the words.
        makes_data: whether the data root is still to be made.

    Raises:
        UserError: a recipe, key or value that does not exist, with the nearest that does; no data root where the
            recipe needs one.
    """
    check_checkout()
    overrides = parse(arguments)
    recipe = take_recipe(overrides)
    check_read(overrides, recipe)
    own_folder = [str(override.value()) for override in overrides if override.key_or_group == RUN_FOLDER]
    texts = [override.input_line or "" for override in overrides]
    settings = compose_settings(recipe, texts, overrides)
    chosen = settings.hydra.runtime.choices
    OmegaConf.set_struct(settings, False)
    del settings.hydra
    check_kinds(settings)
    settings.recipe = recipe
    settings.data = data_root(settings, recipe, makes_data)
    if not (isinstance(settings.seed, int) and 0 <= settings.seed < 2**32):
        raise UserError(f"seed={settings.seed}: must be a whole number from 0 to 4294967295")
    check_values(settings)
    for key in PATHS:
        if settings.get(key) is not None:
            settings[key] = str(Path(str(settings[key])).expanduser().resolve())
    name = run_name(chosen.objective, recipe, chosen.separator, defining(overrides, settings))
    settings.run = name
    folder = Path(own_folder[-1]).expanduser() if own_folder else Path(settings.runs) / recipe / name
    # So that `_target_: speech_folder.SpeechFolder` is found, and recipes that change another one's settings find its.
    modules = [str(ROOT / "recipes" / recipe) for recipe in recipe_names()]
    sys.path[:0] = [path for path in modules if path not in sys.path]
    take_proposals(settings, folder)
    try:
        OmegaConf.resolve(settings)
    except OmegaConfBaseException as error:
        # A resolver of ours explains itself.
        reason = first_line(error).removeprefix("UserError raised while resolving interpolation: ")
        raise UserError(f"{unresolved(settings)}: {reason}" if reason == first_line(error) else reason) from error
    return Config(settings, folder)


def check_read(overrides: list[Override], recipe: str) -> None:
    """Refuse settings that nothing would read.

    Raises:
        UserError: one is Hydra's own, or was added beside the groups.
    """
    for override in overrides:
        key = override.key_or_group
        if re.split(r"[./]", key)[0] == "hydra" and key != RUN_FOLDER:
            raise UserError(
                f"{override.input_line}: is not used here; runs=FOLDER says where runs go, {RUN_FOLDER}=FOLDER where "
                "this one goes"
            )
        groups = [ROOT / "conf" / key, ROOT / "recipes" / recipe / key]
        if override.is_add() and "." not in key and not any(group.is_dir() for group in groups):
            raise UserError(
                f"{override.input_line}: nothing reads {key}; what can be added belongs to a group, such as "
                "+trainer.max_time=00:12:00:00"
            )


def unresolved(settings: DictConfig) -> str:
    """The first key that cannot be resolved."""
    for key in keys(settings):
        try:
            value = OmegaConf.select(settings, key)
        except OmegaConfBaseException:
            return key
        if isinstance(value, dict | list):  # which only a resolver gives, and no setting can hold
            return key
    return "settings"


def check_kinds(settings: DictConfig) -> None:
    """Refuse a config that lacks what every run needs, or has something else in its place.

    Raises:
        UserError: with the key.
    """
    for key in (*VALUES, *GROUPS, "data", "seed"):
        if key not in settings:
            raise UserError(f"{key}: is missing; every run needs it")
    for key, kind in VALUES.items():
        if not isinstance(settings[key], kind):
            raise UserError(f"{key}={settings[key]}: is not what it should be, a {kind.__name__}")
    for key in GROUPS:
        if not OmegaConf.is_missing(settings, key) and not OmegaConf.is_dict(settings[key]):
            raise UserError(f"{key}={settings[key]}: must be settings, key by key")


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
            if earlier and not (isinstance(value, int | float | str) and "${" not in str(value)):
                raise UserError(f"{path}: {key} is no value that was proposed; move the folder away")
            OmegaConf.update(settings, key, value)
    settings.pop("proposals", None)


def plainly(settings: DictConfig, key: str) -> Any:
    """The value of a key, if it stands there itself."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(settings, parent) if parent else settings
    return None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]


def check_checkout() -> None:
    """Refuse to run without the files of the checkout.

    Raises:
        UserError: they are not there.
    """
    if not (ROOT / "conf" / "config.yaml").is_file():
        raise UserError(f"{ROOT}: no conf/config.yaml there; install from a checkout with `pip install -e .`")


def load_described(name: str, arguments: Iterable[str]) -> DictConfig:
    """Compose conf/NAME.yaml, which describes what one command makes, and `key=value ...`.

    Raises:
        UserError: a key that does not exist, with the nearest that does, or one without a value.
    """
    check_checkout()
    overrides = parse(arguments)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        try:
            settings = compose(name, overrides=[override.input_line or "" for override in overrides])
        except MISTAKES as error:
            raise explain("", overrides, list(keys(compose(name))), error) from error
    check_values(settings)
    return OmegaConf.create({name: settings})


def check_values(settings: DictConfig) -> None:
    """Refuse a config in which something has no value.

    Raises:
        UserError: with the key.
    """
    for key in map(str, settings):
        if OmegaConf.is_missing(settings, key):
            raise UserError(f"{key}: has no value; give {key}=VALUE")


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
            datamodules[name] = load_config([*words_of(recipes[name]), *words_of(shared)]).settings.datamodule
        except UserError as error:
            raise UserError(f"domains.{name}: {error}") from error
    return OmegaConf.create(datamodules)


def words_of(settings: DictConfig, prefix: str = "") -> Iterator[str]:
    """Settings as they are written on a command line."""
    for key in map(str, settings):
        if OmegaConf.is_dict(settings[key]):
            yield from words_of(settings[key], f"{prefix}{key}.")
        else:
            value = OmegaConf.to_container(settings[key]) if OmegaConf.is_list(settings[key]) else settings[key]
            yield f"{prefix}{key}={json.dumps(value, ensure_ascii=False)}"


OmegaConf.register_new_resolver("datamodules_of", datamodules_of, replace=True)


def parse(arguments: Iterable[str]) -> list[Override]:
    """Read `key=value` words."""
    words = list(map(as_typed, arguments))
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(f"{first_line(error)}; settings are written key=value") from error


def as_typed(word: str) -> str:
    """A word in quotes of Hydra's where its value is a path that Hydra would take for something else."""
    key, _, value = word.partition("=")
    if key.lstrip("+") not in TAKEN_AS_TYPED or value == "null":
        return word
    try:
        read = OverridesParser.create().parse_override(word).value()
        if read == value or (isinstance(read, str) and value[0] in "'\""):  # in quotes already
            return word
    except HydraException:
        pass
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def take_recipe(overrides: list[Override]) -> str:
    """Take `recipe=NAME` out of the overrides; the default recipe needs no data."""
    named = [override for override in overrides if override.key_or_group == "recipe"]
    for override in named:
        overrides.remove(override)
    recipe = str(named[-1].value()) if named else "synthetic"
    if recipe not in recipe_names():
        raise UserError(f"recipe={recipe} does not exist{nearest(recipe, recipe_names())}")
    return recipe


def compose_settings(recipe: str, texts: list[str], overrides: list[Override]) -> DictConfig:
    """Let Hydra compose; where it cannot, say which word is wrong."""
    recipes = ROOT / "recipes"
    base = [f"hydra.searchpath=['file://{recipes / recipe}','file://{recipes}']"]
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("config", overrides=[*base, *texts], return_hydra_config=True)
    except MISTAKES as error:
        check_files(recipe)
        try:
            with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                known = list(keys(compose("config", overrides=base)))
        except MISTAKES:  # nor does it without any words
            raise UserError(f"{recipes / recipe / 'settings.yaml'}: {first_line(error)}") from error
        raise explain(recipe, overrides, known, error) from error


def check_files(recipe: str) -> None:
    """Refuse files of settings that are none; for where composing them has failed.

    Raises:
        UserError: with the file.
    """
    for path in files_of_settings(ROOT, recipe):
        content = read_yaml(path)
        if content is not None and not (isinstance(content, dict) and all(isinstance(key, str) for key in content)):
            raise UserError(f"{path}: must hold settings, key by key")


def files_of_settings(root: Path, recipe: str = "*") -> list[Path]:
    """Files of `conf/` and of recipes; not those that were copied from runs."""
    files = [*root.glob("conf/**/*.yaml"), *root.glob(f"recipes/{recipe}/**/*.yaml")]
    return [path for path in files if "results" not in path.relative_to(root).parts]


def explain(recipe: str, overrides: list[Override], known: list[str], error: Exception) -> UserError:
    """Say which override names a group option or a key that does not exist."""
    for override in overrides:
        name, value = override.key_or_group, override.value()
        if name == "sweep":  # a folder of conf/ that is no group
            return UserError(f"{override.input_line}: there is no such key; `mixit sweep` takes it")
        groups = [ROOT / "conf" / name, ROOT / "recipes" / recipe / name]
        options = sorted(path.stem for group in groups for path in group.glob("*.yaml"))
        if any(group.is_dir() for group in groups):
            if value not in options:
                return UserError(f"{override.input_line}: there is no such {name}{nearest(str(value), options)}")
        elif override.key_or_group not in known and not override.is_add():
            group = name.partition(".")[0]
            added = (
                f" To add a key that {group} takes besides: +{name}={value}" if "." in name and group in GROUPS else ""
            )
            return UserError(f"{override.input_line}: there is no such key{nearest(name, known)}{added}")
    return UserError(first_line(error))


def nearest(word: str, options: list[str]) -> str:
    """End of a message: the nearest option, or all of them."""
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    # `lr` for `optimizer.lr` is nearer than any spelling.
    close = [option for option in options if option.split(".")[-1] == word.split(".")[-1]][:1] or close
    if close:
        return f"; did you mean {close[0]}?"
    if not options:
        return "; there are none"
    return f"; there are: {', '.join(options)}" if len(options) < 30 else "; see conf/ and the recipe's settings.yaml"


def keys(settings: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a config, unresolved."""
    if OmegaConf.is_dict(settings):
        for name in settings:
            yield f"{prefix}{name}"
            if not OmegaConf.is_missing(settings, name) and not OmegaConf.is_interpolation(settings, name):
                yield from keys(settings[name], f"{prefix}{name}.")


def data_variable(recipe: str) -> str:
    """The environment variable that says where a recipe's data are."""
    return f"{recipe.upper().replace('-', '_')}_DATA"


def data_root(settings: DictConfig, recipe: str, makes_data: bool) -> str | None:
    """Absolute data root from `data=` or the recipe's environment variable; places such as s3://... stay as they are.

    Raises:
        UserError: the recipe needs one and there is none, or it is not a folder.
    """
    variable = data_variable(recipe)
    given = settings.data if settings.data is not None else os.environ.get(variable)
    if not settings.needs_data:
        return None
    if given is None:
        raise UserError(f"recipe {recipe} needs recordings: give data=PATH or set {variable}; its README says which")
    if "://" in str(given):
        return str(given)
    path = Path(str(given)).expanduser().resolve()
    if not path.is_dir() and not makes_data:
        raise UserError(f"data={given}: no such folder")
    return str(path)


def defining(overrides: list[Override], settings: DictConfig) -> list[str]:
    """The overrides that make a run another one, and its files and folders."""
    texts = [
        f"{override.key_or_group}={override.get_value_element_as_str()}"
        for override in overrides
        if override.key_or_group not in ("data", "objective", "separator", "trainer", RUN_FOLDER, *PATHS)
        and not any(f"{override.key_or_group}.".startswith(f"{key}.") for key in NOT_PART_OF_A_RUN)
    ]
    return [*texts, *(f"{key}={settings[key]}" for key in ("data", *PATHS) if settings.get(key))]


def first_line(error: Exception) -> str:
    """The first line of a message that has something in it."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
