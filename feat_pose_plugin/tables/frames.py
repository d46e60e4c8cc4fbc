"""Which row of a table is about which frame of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feat_pose_plugin.pose.columns import find_column, to_doubles

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_LAST_FRAME = 1 << 40  # what is larger is a time, or damaged


def frame_numbers(table: pd.DataFrame) -> NDArray[np.float64] | None:
    """The column ``frame``, counted from 0 as py-feat counts.

    Returns:
        ``[n]``; None where there is no such column, or something in it that numbers no frame.
    """
    frame = find_column(table, "frame")
    if frame is None:
        return None
    try:
        numbers = to_doubles(frame)
    except ValueError:
        return None
    return numbers if (np.abs(numbers) <= _LAST_FRAME).all() else None


def usual_step(frames: NDArray[np.float64]) -> float:
    """From one frame of a table to its next: 1, or py-feat's ``skip_frames``.

    Args:
        frames: ``[n]`` numbers, in any order, with repetitions.
    """
    steps = np.diff(np.unique(frames))
    return float(np.median(steps)) if len(steps) else 1.0
