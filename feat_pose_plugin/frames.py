"""Which row of a table is about which frame of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.landmarks import may_hold_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_LAST_FRAME = 1 << 40  # what is larger is a time, or damaged


def find_column(table: pd.DataFrame, name: str) -> pd.Series[Any] | None:
    """A column by its name, spaces around it ignored; None if there is none.

    Raises:
        TableError: There are several.
    """
    places = [place for place, label in enumerate(table.columns) if str(label).strip() == name]
    if len(places) > 1:
        raise TableError(f"the table has {len(places)} columns {name!r}, not one. Drop the others.")
    return table.iloc[:, places[0]] if places else None


def frame_numbers(table: pd.DataFrame) -> NDArray[np.float64] | None:
    """The column ``frame``, counted from 0 as py-feat counts.

    Returns:
        ``[n]``; None where there is no such column, or something in it that numbers no frame.
    """
    frame = find_column(table, "frame")
    if frame is None or not may_hold_numbers(frame.dtype):
        return None
    try:
        numbers = frame.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return numbers if (np.abs(numbers) <= _LAST_FRAME).all() else None


def usual_step(frames: NDArray[np.float64]) -> float:
    """From one frame of a table to its next: 1, or py-feat's ``skip_frames``.

    Args:
        frames: ``[n]`` numbers, in any order, with repetitions.
    """
    steps = np.diff(np.unique(frames))
    return float(np.median(steps)) if len(steps) else 1.0
