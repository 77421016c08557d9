"""What `recipes/<name>/table.yaml` says: the rows of a paper's table, how each is run, and what was published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ..config import ROOT, recipe_names
from ..errors import UserError
from ..reading import read_yaml
from ..records import check_entries

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
"""Becomes the name of a folder."""

Text = Annotated[str, StringConstraints(min_length=1)]


def check_setting(word: str) -> str:
    """Refuse what is no setting, and what a row says elsewhere."""
    key, equals, _ = word.partition("=")
    if not equals or key in ("recipe", "seed", "data", "runs", "checkpoint"):
        raise ValueError("settings are key=value, and recipe, seed and places are none of them")
    return word


Setting = Annotated[str, AfterValidator(check_setting)]
"""As written on the command line."""


class Part(BaseModel):
    """Anything in a table.yaml: keys that do not exist are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(Part):
    """What a paper says, or that it could not be verified."""

    value: float | None
    """In the unit of the metric, dB for most; None where the digits could not be verified."""
    source: Text
    """Paper and table, or page."""
    rule: Text | None = None
    """How outputs and checkpoint were selected, without which a figure means nothing."""
    says: Text | None = None
    """What the source says instead of a figure, such as `over 13`."""
    elsewhere: Text | None = None
    """What keeps it from being subtracted: other data than this recipe's test set, or another way of selecting."""

    @model_validator(mode="after")
    def check_rule(self) -> "Published":
        """A figure has a selection rule."""
        if self.value is not None and self.rule is None:
            raise ValueError("a published value needs its selection rule: rule")
        return self


class Figure(Part):
    """One metric of a row."""

    metric: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    """A key of `metrics` in results.json, or `si_snr`, the sum of `si_snri` and `input_si_snr`."""
    domain: Text | None = None
    """Of a recipe that tests in several; None is the one its results are about."""
    published: Published | None = None


class Row(Part):
    """One run, or one for every seed."""

    name: Name
    what: Text
    settings: list[Setting] = []
    """As written on the command line, after those of the table."""
    needs: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]] = []
    """Files and folders besides data= that it must be given, such as `rooms`."""
    starts_from: Name | None = None
    """The row whose best checkpoint of the same seed is its warm start."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    figures: Annotated[list[Figure], Field(min_length=1)]
    cannot: Text | None = None
    """Why it cannot be run here, where it is listed for its published figure only."""


class Table(Part):
    """Rows that belong together."""

    title: Text
    about: Text | None = None
    settings: list[Setting] = []
    """Of all rows."""
    examples: int | None = None
    """Test mixtures that a run must have been measured on; None takes any number."""
    rows: Annotated[list[Row], Field(min_length=1)]

    def settings_of(self, row: Row) -> list[str]:
        """The words of a row, without recipe, seed and places."""
        return [*self.settings, *row.settings]

    @model_validator(mode="after")
    def check_starts(self) -> "Table":
        """Rows start from rows that there are."""
        for number, row in enumerate(self.rows):
            if row.starts_from is not None and row.starts_from not in [other.name for other in self.rows[:number]]:
                raise ValueError(f"row {row.name} starts from {row.starts_from}, which is no row before it")
        return self


class PaperTables(Part):
    """All of a table.yaml."""

    tables: Annotated[list[Table], Field(min_length=1)]

    @model_validator(mode="after")
    def check_names(self) -> "PaperTables":
        """Names tell rows apart."""
        names = [row.name for table in self.tables for row in table.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rows are called {twice[0]}")
        return self


def table_path(recipe: str) -> Path:
    """Where a recipe's table is."""
    return ROOT / "recipes" / recipe / "table.yaml"


def read_tables(recipe: str) -> list[Table]:
    """The tables of a recipe.

    Raises:
        UserError: there is no such recipe or no table.yaml, or something in it is wrong; the message names the key.
    """
    if recipe not in recipe_names():
        raise UserError(f"recipe={recipe} does not exist; there are: {', '.join(recipe_names())}")
    path = table_path(recipe)
    if not path.is_file():
        raise UserError(f"{path}: no such file; recipe {recipe} has no table")
    return check_entries(read_yaml(path), PaperTables, path, "correct it").tables


def read_rows(recipe: str, names: Sequence[str] | None = None) -> list[tuple[Table, Row]]:
    """Rows of a recipe by name, each with its table; None is all.

    Raises:
        UserError: there is no such row, or as `read_tables`.
    """
    rows = {row.name: (table, row) for table in read_tables(recipe) for row in table.rows}
    if unknown := [name for name in names or () if name not in rows]:
        raise UserError(f"rows={unknown[0]}: there is no such row; there are: {', '.join(rows)}")
    return [rows[name] for name in names or rows]
