"""What a run folder holds, read with errors that name the file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:  # slow to import and most commands never need it
    import pandas as pd

REQUIRED_RESULTS = ("recipe", "run", "objective", "separator", "metrics", "selection_rule", "num_examples")
CURVE_COLUMNS = ("step", "seconds", "metric", "value")
EXAMPLE_COLUMNS = ("name", "input_si_snr", "momi")


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise UserError(f"{path} is not valid JSON ({error}): evaluate the run again") from error


def read_results(path: Path) -> dict[str, Any]:
    """Content of `results.json`, checked for the entries the page cannot do without.

    Raises:
        UserError: there is no such file, or it lacks some.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: evaluate the run before writing its report")
    results = read_json(path)
    if not isinstance(results, dict) or not isinstance(results.get("metrics"), dict):
        raise UserError(f"{path} must be an object with an object 'metrics': evaluate the run again")
    missing = [key for key in REQUIRED_RESULTS if key not in results]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: evaluate the run again")
    return results


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
