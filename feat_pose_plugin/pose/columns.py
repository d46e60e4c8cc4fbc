"""Columns of a table by their names, and as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from feat_pose_plugin.errors import FeatPoseError, LandmarkError, TableError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MISSING = frozenset(
    [
        *("", "None", "none", "NULL", "null"),
        *("NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>"),
        *("nan", "NaN", "NAN", "-nan", "-NaN", "nan(ind)", "-nan(ind)", "-NaN(ind)"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "1.#SNAN", "-1.#SNAN"),
    ]
)
"""What tools write where they have no number; spaces around it do not matter."""


def find_column(
    table: pd.DataFrame, name: str, error: type[FeatPoseError] = TableError
) -> pd.Series[Any] | None:
    """A column by its name, spaces around it ignored; None without it, an error of several."""
    places = [place for place, label in enumerate(table.columns) if str(label).strip() == name]
    if len(places) > 1:
        raise error(f"the table has {len(places)} columns {name!r}, not one. Drop the others.")
    return table.iloc[:, places[0]] if places else None


def may_hold_numbers(dtype: object) -> bool:
    """Whether a column of a dtype can hold numbers, as they are, as text or as objects.

    Truth values, times and complex numbers could be read as numbers too, but as which?
    """
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    return getattr(dtype, "kind", "O") in "fiuOU" and not isinstance(dtype, pd.PeriodDtype)


def to_doubles(
    column: pd.Series[Any], error: type[FeatPoseError], *, strict: bool = True
) -> NDArray[np.float64]:
    """A column as float64, NaN where it has no value; numbers as text are numbers.

    The error names the column and row of a cell that is no number, unless that is NaN (not strict).
    """
    name = str(column.name).strip()
    if not may_hold_numbers(column.dtype):
        raise error(f"column {name!r} is of {column.dtype}, not of numbers.")
    with suppress(TypeError, ValueError, ArithmeticError):
        return column.to_numpy(np.float64, na_value=np.nan)
    numbers = [_number(cell) for cell in column.astype(object)]
    if strict and None in numbers:
        row = numbers.index(None)
        raise error(
            f"{_name_row(column, row)} of column {name!r} holds {repr(column.iloc[row])[:60]}, "
            "which is not a number. Correct it, or leave the cell empty if the face was not found."
        )
    return np.array(numbers, np.float64)  # None is NaN


def read_numbers(table: pd.DataFrame, columns: Mapping[str, object]) -> NDArray[np.floating]:
    """Columns of landmarks, by what to call them in errors, as ``[B, n]`` float32 or float64."""
    import pandas as pd

    # A plain DataFrame, because selecting from a Fex builds a Fex.
    block = pd.DataFrame(table)[list(columns.values())].set_axis(list(columns), axis=1)
    if all(map(may_hold_numbers, block.dtypes)):
        with suppress(TypeError, ValueError, ArithmeticError):
            return _rows_of(block)
    return _rows_of(
        pd.DataFrame({name: to_doubles(each, LandmarkError) for name, each in block.items()})
    )


def _rows_of(block: pd.DataFrame) -> NDArray[np.floating]:
    """Row after row in memory, as the network reads them.

    A copy, because pandas may give an array that nobody may write to, and torch warns of those.
    """
    exact = np.float32 if (block.dtypes == np.float32).all() else np.float64
    return np.array(block.to_numpy(dtype=exact, na_value=np.nan), order="C")


def _name_row(column: pd.Series[Any], row: int) -> str:
    """A row as its reader counts, from 0, in a table that is read in parts from its beginning."""
    import pandas as pd

    label = column.index[row]
    plain = isinstance(column.index, pd.RangeIndex)
    return f"row {label}" if plain else f"row {row} (index {str(label)[:60]!r})"


def _number(cell: object) -> float | None:
    """NaN of a cell that is missing, None of one that is no number."""
    import pandas as pd

    if cell is None or cell is pd.NA or cell is pd.NaT:
        return math.nan
    if isinstance(cell, str) and cell.strip() in MISSING:
        return math.nan
    try:
        return float(cell)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
