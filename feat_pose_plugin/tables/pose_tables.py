"""Tables with pose columns: estimated from landmarks, or converted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feat_pose_plugin.files import place_part, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.conventions import CONVENTIONS
from feat_pose_plugin.pose.convert import convert_pose
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.frame_sizes import FRAME_SIZE_COLUMNS
from feat_pose_plugin.pose.landmarks import find_landmark_columns
from feat_pose_plugin.tables.stream import Progress, stream_part, stream_table

POSE_COLUMNS = {
    name
    for convention in CONVENTIONS.values()
    for name in (*convention.columns, *convention.table_names.values())
}
"""What the columns of a pose are called, in any convention."""


class PoseTable(NamedTuple):
    """A table that is written.

    Attributes:
        path: Where it is.
        rows: How many it has.
        faces: How many of them have a pose.
        doubts: What its landmarks look like, if they are almost surely a mistake.
    """

    path: Path
    rows: int
    faces: int
    doubts: tuple[str, ...] = ()


def estimate_table(
    source: Path,
    target: Path,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | None = None,
    progress: Progress | None = None,
) -> PoseTable:
    """Read a table, estimate the pose of each row, and write it with its pose columns.

    Pose columns that the table has are replaced in their places, the others added at the end. A row
    without a pose has empty cells (null in Parquet).

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        estimator: What estimates, and what its columns mean.
        frame_size: Height and width of the video frame in pixels; by default those of the table's
            columns ``FrameHeight`` and ``FrameWidth``, if it has them.
        progress: See :func:`~feat_pose_plugin.tables.stream.stream_table`.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        LandmarkError: The table has no landmarks, or part of them, or text among them.
        FeatPoseError: As :func:`~feat_pose_plugin.estimate_pose`.
    """
    part = estimate_part(source, target, estimator, frame_size=frame_size, progress=progress)
    with writing(target):
        place_part(part.path, target)
    return part._replace(path=target)


def estimate_part(
    source: Path,
    target: Path,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | None = None,
    progress: Progress | None = None,
) -> PoseTable:
    """As :func:`estimate_table`, but the result is left beside the target.

    Returns:
        What :func:`~feat_pose_plugin.files.place_part` puts into the target's place.
    """
    faces = 0
    doubts: dict[str, None] = {}  # each once, however many batches there are

    def estimate(landmarks: pd.DataFrame) -> pd.DataFrame:
        nonlocal faces
        pose = estimator(landmarks, frame_size=frame_size, warn=doubts.setdefault)
        faces += int(pose[estimator.columns[0]].notna().sum())
        return pose

    def reads(names: list[str]) -> list[str]:
        return [*find_landmark_columns(names)[0], *FRAME_SIZE_COLUMNS]

    part, rows = stream_part(source, target, estimate, reads=reads, progress=progress)
    return PoseTable(part, rows, faces, tuple(doubts))


def convert_table(
    source: Path,
    target: Path,
    here: str | None,
    there: str,
    *,
    inter_ocular_mm: float | None = None,
    progress: Progress | None = None,
) -> int:
    """Read a table, convert its pose to another convention, and write it.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        here: What the pose is in; None for a Parquet file that is tagged.
        there: What it is wanted in.
        inter_ocular_mm: See :func:`~feat_pose_plugin.convert_pose`.
        progress: See :func:`~feat_pose_plugin.tables.stream.stream_table`.

    Returns:
        How many rows the table has.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        ConventionError: As :func:`~feat_pose_plugin.convert_pose`.
    """
    return stream_table(
        source,
        target,
        lambda pose: convert_pose(pose, here, there, inter_ocular_mm=inter_ocular_mm),
        reads=POSE_COLUMNS.intersection,
        keep_read=False,
        progress=progress,
    )
