"""Tables with pose columns: estimated from landmarks, or converted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.conventions import CONVENTIONS
from feat_pose_plugin.pose.convert import convert_pose
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.frame_sizes import FRAME_SIZE_COLUMNS
from feat_pose_plugin.pose.landmarks import find_landmark_columns
from feat_pose_plugin.tables.stream import Progress, stream_table

POSE_COLUMNS = {
    name
    for convention in CONVENTIONS.values()
    for name in (*convention.columns, *convention.table_names.values())
}
"""What the columns of a pose are called, in any convention."""


class PoseTable(NamedTuple):
    """A table that is written, how many of its rows have a pose, and what it is warned of."""

    path: Path
    rows: int
    faces: int
    doubts: tuple[str, ...] = ()


def estimate_table(
    source: Path,
    part: Path,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | None = None,
    progress: Progress | None = None,
) -> PoseTable:
    """Estimate the pose of each row of a table; see :func:`stream_table` and ``estimate_pose``."""
    faces = 0
    doubts: dict[str, None] = {}  # each once, however many batches there are

    def estimate(landmarks: pd.DataFrame) -> pd.DataFrame:
        nonlocal faces
        pose = estimator(landmarks, frame_size=frame_size, warn=doubts.setdefault)
        faces += int(pose[estimator.columns[0]].notna().sum())
        return pose

    def reads(names: list[str]) -> list[str]:
        return [*find_landmark_columns(names)[0], *FRAME_SIZE_COLUMNS]

    rows = stream_table(source, part, estimate, reads=reads, progress=progress)
    return PoseTable(part, rows, faces, tuple(doubts))


def convert_table(
    source: Path,
    target: Path,
    here: str | None,
    there: str,
    *,
    inter_ocular_mm: float | None = None,
) -> int:
    """Convert the pose of a table, and say how many rows it has; see ``convert_pose``."""
    with writing(target), write_whole(target) as part:
        return stream_table(
            source,
            part,
            lambda pose: convert_pose(pose, here, there, inter_ocular_mm=inter_ocular_mm),
            reads=POSE_COLUMNS.intersection,
            keep_read=False,
        )
