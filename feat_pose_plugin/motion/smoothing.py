"""Smoothing of pose over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from feat_pose_plugin.motion.local_fit import LocalFit, fit_locally, half_window
from feat_pose_plugin.motion.series import PoseSeries, read_series, require_length, require_rate
from feat_pose_plugin.pose.tag import PoseTag

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

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
    require_rate(fps)
    for length in (seconds, longest_gap):
        require_length(length)
    series, tag = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    fit = fit_locally(series, half_window(seconds, fps))
    return smoothed(table, series, tag, fit, longest_gap * fps)


def smoothed(
    table: pd.DataFrame, series: PoseSeries, tag: PoseTag, fit: LocalFit, longest: float
) -> pd.DataFrame:
    """The table with its smoothed pose, gaps of up to so many frames bridged."""
    turn, translation, bridged = bridge(series, fit, longest)
    result = series.write(table, turn, translation, series.known | bridged, tag)
    marks = np.zeros(len(table), bool)
    marks[series.rows] = bridged
    result[BRIDGED_COLUMN] = marks
    return result


def bridge(
    series: PoseSeries, fit: LocalFit, longest: float
) -> tuple[Rotation, NDArray[np.float64], NDArray[np.bool_]]:
    """Fill short gaps, along the shortest turn and in a straight line.

    Args:
        series: The samples.
        fit: Their smoothed pose.
        longest: Frames of the longest gap that is bridged.

    Returns:
        ``[n]`` rotations, ``[n, 3]`` translations, and ``[n]`` which samples are bridged.
    """
    before, after = series.neighbours()
    length = series.frame[after] - series.frame[before] - 1
    bridged = ~series.known & (before >= 0) & (after >= 0) & (length <= longest)
    gap, first, last = np.flatnonzero(bridged), before[bridged], after[bridged]
    quaternion, translation = fit.turn.as_quat(), fit.translation.copy()
    if len(gap):
        passed = series.frame[gap] - series.frame[first]
        share = (passed / (series.frame[last] - series.frame[first]))[:, None]
        way = (fit.turn[first].inv() * fit.turn[last]).as_rotvec()
        quaternion[gap] = (fit.turn[first] * Rotation.from_rotvec(share * way)).as_quat()
        ends = fit.translation[first], fit.translation[last]
        translation[gap] = (1 - share) * ends[0] + share * ends[1]
    return Rotation.from_quat(quaternion), translation, bridged
