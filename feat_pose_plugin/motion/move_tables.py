"""Movement of a table in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feat_pose_plugin.motion.neutral import relative_pose
from feat_pose_plugin.motion.series import WEIGHT_COLUMN
from feat_pose_plugin.motion.smoothing import BRIDGED_COLUMN, smooth_pose
from feat_pose_plugin.motion.velocity import angular_velocity
from feat_pose_plugin.pose.quality import FLAGS_COLUMN
from feat_pose_plugin.tables.frames import PERSON_COLUMNS
from feat_pose_plugin.tables.pose_tables import POSE_COLUMNS
from feat_pose_plugin.tables.stream import read_table, stream_table

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


def move_table(source: Path, target: Path, movement: Movement) -> int:
    """Read a table, smooth its pose, add angular velocity, and write it.

    Only the columns of pose, frame, person and quality are held in memory, some 100 bytes a row;
    all others pass through.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        movement: What is done.

    Returns:
        The number of rows.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        MotionError: As :func:`~feat_pose_plugin.motion.smooth_pose`.
        ConventionError: As :func:`~feat_pose_plugin.motion.smooth_pose`.
    """
    needed = {*POSE_COLUMNS, "frame", FLAGS_COLUMN, WEIGHT_COLUMN}
    needed |= set(("input", *PERSON_COLUMNS) if movement.by is None else movement.by)
    moved = _move(read_table(source, needed.intersection), movement)
    return stream_table(
        source,
        target,
        lambda rows: moved.loc[rows.index],
        reads=lambda names: [name for name in names if name in moved],
    )


def _move(table: pd.DataFrame, movement: Movement) -> pd.DataFrame:
    """The columns that are new or change."""
    how: dict[str, Any] = {
        "by": movement.by,
        "convention": movement.convention,
        "use_flagged": movement.use_flagged,
    }
    result = angular_velocity(table, fps=movement.fps, seconds=movement.seconds, **how)
    if movement.seconds:
        table = smooth_pose(
            table,
            fps=movement.fps,
            seconds=movement.seconds,
            longest_gap=movement.longest_gap,
            **how,
        )
        result[BRIDGED_COLUMN] = table[BRIDGED_COLUMN]
    if movement.neutral is not None:
        table = relative_pose(table, neutral=movement.neutral, **{**how, "use_flagged": True})
    pose = [label for label in table.columns if str(label).strip() in POSE_COLUMNS]
    changed = table[pose].join(result)
    changed.attrs = table.attrs
    return changed
