"""Smoothing of pose over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from feat_pose_plugin.motion.local_fit import LocalFit, fit_locally, require_length
from feat_pose_plugin.motion.series import PoseSeries, read_series

if TYPE_CHECKING:
    import pandas as pd

BRIDGED_COLUMN = "PoseBridged"


def smooth_pose(
    table: pd.DataFrame,
    *,
    fps: float,
    seconds: float = 0.2,
    longest_gap: float = 0.2,
    by: str | Sequence[str] | None = None,
    convention: str | None = None,
    use_flagged: bool = False,
) -> pd.DataFrame:
    """Smooth the pose of each person over time, without delay.

    A parabola is fitted to the rotations in a short window around each frame, in the tangent space
    of that frame's rotation, and its value in the middle is taken (Savitzky and Golay 1964, on
    rotations). X, Y, Z are smoothed alike. Where the table has ``PoseError``, a row counts by the
    inverse of its square.

    Args:
        table: With pose columns. The column ``frame`` says which frame a row is about; without it
            the rows of a person are consecutive frames.
        fps: Frames per second of the video.
        seconds: Length of the window. With 0.2 seconds at 30 frames a second, noise falls to 0.58,
            and a nod to and fro twice a second keeps 98 percent of its size.
        longest_gap: Gaps of up to this many seconds are bridged along the shortest turn; longer
            ones stay empty.
        by: The columns that tell files and persons apart; by default those of ``input``,
            ``Identity`` and ``face_id`` that the table has.
        convention: Of the pose; by default what the table says, and ``feat`` where it says nothing.
        use_flagged: Whether rows with ``PoseFlags`` count. By default they are gaps.

    Returns:
        A copy of the table with its pose columns smoothed, in float64, and the column
        ``PoseBridged``, True where the pose is bridged. Rows without a person or a frame, and
        those in long gaps, are NaN.

    Raises:
        MotionError: ``fps`` or a length is no positive number, a person has two rows in one frame,
            or a column of ``by`` is missing.
        ConventionError: The table has no pose in the convention.
    """
    require_length(longest_gap)
    series = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    return smoothed(table, series, fit_locally(series, fps, seconds), longest_gap * fps)


def smoothed(
    table: pd.DataFrame, series: PoseSeries, fit: LocalFit, longest: float
) -> pd.DataFrame:
    """The table with its smoothed pose, gaps of up to so many frames bridged.

    Along the shortest turn and in a straight line.
    """
    places = np.arange(len(series.rows))
    before = np.maximum.accumulate(np.where(series.known, places, 0))
    after = np.minimum.accumulate(np.where(series.known, places, places.size - 1)[::-1])[::-1]
    length = series.frame[after] - series.frame[before] - 1
    bridged = ~series.known & (length <= longest)
    for end in (before, after):
        bridged &= series.known[end] & (series.person[end] == series.person)
    gap, first, last = np.flatnonzero(bridged), before[bridged], after[bridged]
    quaternion, translation = fit.turn.as_quat(), fit.translation.copy()
    if len(gap):
        passed = series.frame[gap] - series.frame[first]
        share = (passed / (series.frame[last] - series.frame[first]))[:, None]
        way = (fit.turn[first].inv() * fit.turn[last]).as_rotvec()
        quaternion[gap] = (fit.turn[first] * Rotation.from_rotvec(share * way)).as_quat()
        ends = fit.translation[first], fit.translation[last]
        translation[gap] = (1 - share) * ends[0] + share * ends[1]
    turn = Rotation.from_quat(quaternion)
    result = series.write(table, turn, translation, series.known | bridged, series.tag)
    marks = np.zeros(len(table), bool)
    marks[series.rows] = bridged
    result[BRIDGED_COLUMN] = marks
    return result
