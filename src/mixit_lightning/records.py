"""What a run folder holds, read with errors that name the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from .errors import UserError
from .reading import read_json

if TYPE_CHECKING:  # slow to import and most commands never need it
    import pandas as pd

Kind = TypeVar("Kind")
Number = Annotated[FiniteFloat, Field(strict=True)]
Metrics = dict[str, float | str | None]


class Part(BaseModel):
    """Anything in a results.json, which may say more."""

    model_config = ConfigDict(extra="allow", strict=True)


class Training(Part):
    """What training said of itself."""

    steps: int | None = None
    seconds: Number | None = None
    commit: str | None = None
    hardware: dict[str, Any] | None = None


class Domain(Part):
    """What was measured in another domain."""

    metrics: Metrics
    num_examples: int


class Results(Part):
    """Of a `results.json`, what pages and tables rely on."""

    recipe: str | None
    run: str | None
    objective: str | None
    separator: str | None
    metrics: Metrics
    selection_rule: str | None
    num_examples: int | None
    seed: int | None = None
    steps: int | None = None
    domain: str | None = None
    other_domains: dict[str, Domain] = {}
    checkpoint: str | None = None
    commit: str | None = None
    hardware: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    wall_time: dict[str, Number | None] | None = None
    trained_with: Training | None = None


CURVE_COLUMNS = ("step", "seconds", "metric", "value")


def read_results(path: Path) -> dict[str, Any]:
    """Content of `results.json`, checked for what pages and tables cannot do without.

    Raises:
        UserError: there is no such file, it lacks an entry, or one is not what it should be.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: evaluate the run first (`mixit evaluate`)")
    results = read_json(path, "evaluate the run again")
    check_entries(results, Results, path)
    return dict(results)


def read_training(path: Path) -> dict[str, Any]:
    """Content of `training.json`; nothing where there is no such file.

    Raises:
        UserError: it is not what training leaves.
    """
    if not path.is_file():
        return {}
    record = read_json(path, "train the run again")
    check_entries(record, Training, path)
    return dict(record)


def check_entries(content: Any, kind: type[Kind], path: Path, cure: str = "evaluate the run again") -> Kind:
    """The content of a file as a pydantic type.

    Raises:
        UserError: an entry is not what it should be.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))[:100]
        raise UserError(
            f"{path}: {key or 'all of it'}: {first['msg'].removeprefix('Value error, ')}; {cure}"
        ) from error


def read_table(path: Path, columns: tuple[str, ...], text: tuple[str, ...]) -> "pd.DataFrame | None":
    """A CSV file with the given columns, all numeric except for those in `text`; None where there is no such file.

    Raises:
        UserError: it is not such a table.
    """
    import pandas as pd

    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=True)
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        for column in table.columns.difference(list(text)):
            table[column] = pd.to_numeric(table[column])
    except ValueError as error:  # pandas' own parser errors are ValueErrors too
        raise UserError(f"{path} cannot be read as a table of {', '.join(columns)}: {error}") from error
    return table
