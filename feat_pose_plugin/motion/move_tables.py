"""Movement of a table in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feat_pose_plugin.motion.local_fit import fit_locally, half_window
from feat_pose_plugin.motion.neutral import relative_pose
from feat_pose_plugin.motion.series import (
    GROUP_COLUMNS,
    WEIGHT_COLUMN,
    read_series,
    require_length,
    require_rate,
)
from feat_pose_plugin.motion.smoothing import BRIDGED_COLUMN, smoothed
from feat_pose_plugin.motion.velocity import velocities
from feat_pose_plugin.pose.quality import FLAGS_COLUMN
from feat_pose_plugin.tables.pose_tables import POSE_COLUMNS
from feat_pose_plugin.tables.stream import naming, read_table, stream_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What is done to each table; see the functions of :mod:`feat_pose_plugin.motion`.

    Attributes:
        fps: Frames per second of the video.
        seconds: Length of the window of smoothing; 0 leaves the pose as it is.
        longest_gap: Gaps of up to this many seconds are bridged.
        neutral: ``"median"`` for the pose from each person's median; None for the pose as it is.
        by: The columns that tell files and persons apart.
        convention: Of the pose.
        use_flagged: Whether rows with ``PoseFlags`` count.
    """

    fps: float
    seconds: float = 0.2
    longest_gap: float = 0.2
    neutral: str | None = None
    by: Sequence[str] | None = None
    convention: str | None = None
    use_flagged: bool = False


def move_table(source: Path, target: Path, movement: Movement) -> tuple[int, str]:
    """Read a table, smooth its pose, add angular velocity, and write it.

    Only the columns of pose, frame, person and quality are held in memory, some 100 bytes a row;
    all others pass through.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        movement: What is done.

    Returns:
        The number of rows, and the convention that the pose was read in.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        MotionError: As :func:`~feat_pose_plugin.motion.smooth_pose`.
        ConventionError: As :func:`~feat_pose_plugin.motion.smooth_pose`.
    """
    needed = read_needed(source, movement.by)
    with naming(source):
        moved, convention = _move(needed, movement)
    rows = stream_table(
        source,
        target,
        lambda rows: moved.loc[rows.index],
        reads=lambda names: [name for name in names if name in moved],
    )
    return rows, convention


def read_needed(source: Path, by: Sequence[str] | None) -> pd.DataFrame:
    """The columns of a table that its movement is read from: pose, frame, person and quality.

    Args:
        source: CSV or Parquet, by suffix.
        by: The columns that tell files and persons apart; see :func:`smooth_pose`.

    Raises:
        TableError: The source cannot be read.
    """
    persons = GROUP_COLUMNS if by is None else by
    needed = {*POSE_COLUMNS, "frame", FLAGS_COLUMN, WEIGHT_COLUMN, *persons}
    return read_table(source, needed.intersection)


def _move(table: pd.DataFrame, movement: Movement) -> tuple[pd.DataFrame, str]:
    """The columns that are new or change, and the convention of the pose."""
    require_rate(movement.fps)
    for length in (movement.seconds, movement.longest_gap):
        require_length(length)
    how: dict[str, Any] = {"by": movement.by, "convention": movement.convention}
    series, tag = read_series(table, use_flagged=movement.use_flagged, **how)
    fit = fit_locally(series, half_window(movement.seconds, movement.fps))
    result = velocities(table, series, fit, movement.fps)
    if movement.seconds:
        table = smoothed(table, series, tag, fit, movement.longest_gap * movement.fps)
        result[BRIDGED_COLUMN] = table[BRIDGED_COLUMN]
    if movement.neutral is not None:
        table = relative_pose(table, neutral=movement.neutral, use_flagged=True, **how)
    pose = [label for label in table.columns if str(label).strip() in POSE_COLUMNS]
    changed = table[pose].join(result)
    changed.attrs = table.attrs
    return changed, series.convention.name
