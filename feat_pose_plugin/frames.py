"""Which row of a table is about which frame of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def find_column(table: pd.DataFrame, name: str) -> pd.Series[Any] | None:
    """A column by its name, spaces around it ignored; None if there is none."""
    for label in table.columns:
        if str(label).strip() == name:
            column: pd.Series[Any] = table[label]
            return column
    return None


def frame_numbers(table: pd.DataFrame) -> NDArray[np.float64] | None:
    """The column ``frame``, counted from 0 as py-feat counts.

    Returns:
        ``[n]``; None where there is no such column, or something in it that is no number.
    """
    import pandas as pd

    frame = find_column(table, "frame")
    if frame is None:
        return None
    numbers = pd.to_numeric(frame, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers if np.isfinite(numbers).all() else None


def usual_step(frames: NDArray[np.float64]) -> float:
    """From one frame of a table to its next: 1, or py-feat's ``skip_frames``.

    Args:
        frames: ``[n]`` numbers, in any order, with repetitions.
    """
    steps = np.diff(np.unique(frames))
    return float(np.median(steps)) if len(steps) else 1.0
