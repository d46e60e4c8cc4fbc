"""Movement of a table in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.motion.local_fit import fit_locally, require_length
from feat_pose_plugin.motion.neutral import MEDIAN, relative_pose
from feat_pose_plugin.motion.series import GROUP_COLUMNS, read_series
from feat_pose_plugin.motion.smoothing import BRIDGED_COLUMN, smoothed
from feat_pose_plugin.motion.summary import SECONDS, summarise
from feat_pose_plugin.motion.velocity import velocities
from feat_pose_plugin.pose.quality import ERROR_COLUMN, FLAGS_COLUMN
from feat_pose_plugin.tables.pose_tables import POSE_COLUMNS
from feat_pose_plugin.tables.stream import naming, read_table, stream_table

if TYPE_CHECKING:
    import pandas as pd


class Movement(NamedTuple):
    """The columns that are new or change, the convention of the pose, and a row for each person."""

    columns: pd.DataFrame
    convention: str
    summary: pd.DataFrame | None


def move_table(
    source: Path, target: Path, by: Sequence[str] | None, **options: Any
) -> tuple[int, Movement]:
    """Smooth the pose of a table, add angular velocity, and write it; the options of :func:`_move`.

    Only the columns of pose, frame, person and quality are held in memory, some 100 bytes a row;
    all others pass through.
    """
    persons = GROUP_COLUMNS if by is None else by
    needed = {*POSE_COLUMNS, "frame", FLAGS_COLUMN, ERROR_COLUMN, *persons}
    table = read_table(source, needed.intersection)
    with naming(source):
        movement = _move(table, by, **options)
    with writing(target), write_whole(target) as part:
        rows = stream_table(
            source,
            part,
            lambda rows: movement.columns.loc[rows.index],
            reads=lambda names: [name for name in names if name in movement.columns],
        )
    return rows, movement


def _move(
    table: pd.DataFrame,
    by: Sequence[str] | None,
    *,
    fps: float,
    seconds: float,
    longest_gap: float,
    relative: bool,
    convention: str | None,
    use_flagged: bool,
    with_summary: bool,
) -> Movement:
    require_length(longest_gap)
    series = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    fit = fit_locally(series, fps, seconds)
    summary = None
    if with_summary:
        usual = fit if seconds == SECONDS else fit_locally(series, fps, SECONDS)
        summary = summarise(table, series, usual, by=by)
    added = velocities(table, series, fit)
    if seconds:
        table = smoothed(table, series, fit, longest_gap * fps)
        added[BRIDGED_COLUMN] = table[BRIDGED_COLUMN]
    if relative:
        table = relative_pose(table, neutral=MEDIAN, by=by, convention=convention, use_flagged=True)
    pose = [label for label in table.columns if str(label).strip() in POSE_COLUMNS]
    columns = table[pose].rename(columns=lambda label: str(label).strip()).join(added)
    columns.attrs = table.attrs
    return Movement(columns, series.convention.name, summary)
