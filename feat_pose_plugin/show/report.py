"""One page about the pose of one table: what it is, how it is spread, where to doubt it."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from feat_pose_plugin import __version__
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.convert import convention_of
from feat_pose_plugin.pose.quality import FLAGS_COLUMN, RESIDUAL_COLUMN, SEPARATOR
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.show.overlay import draw_poses, require_frames, video_frames
from feat_pose_plugin.show.plots import (
    ANGLE_LABELS,
    plot_distributions,
    plot_orientation,
    plot_time_lines,
)
from feat_pose_plugin.show.poses import (
    DRAWN_COLUMNS,
    flagged_rows,
    in_feat,
    read_posed,
)
from feat_pose_plugin.show.video import read_frames
from feat_pose_plugin.tables.frames import frame_numbers, persons, rows_about
from feat_pose_plugin.tables.journal import sha256_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ANGLES = [*ANGLE_LABELS]
_QUANTILES = [0.05, 0.5, 0.95]
_MOST_FILES = 4  # whose time lines are drawn
_MOST_PERSONS = 50
_WORST = 12
_THUMBNAIL = 480  # pixels, the longer side
_DOTS_PER_INCH = 160


def write_report(
    table: Path,
    output: Path,
    *,
    convention: str | None = None,
    fps: float | None = None,
    video: Path | None = None,
    first: int | None = None,
) -> None:
    """Write a page about a table with pose columns.

    It says what was estimated with which weights, counts rows with and without a pose and those
    with ``PoseFlags``, shows how the angles of each person are spread and how they run, and lists
    the rows that are most in doubt (largest ``PoseResidual``, or else flagged). Angles are shown in
    convention ``feat``, in degrees.

    Args:
        table: CSV or Parquet. Without a video only those columns are read that are shown.
        output: The HTML file, which needs no other and no network. Replaced if it exists; appears
            whole or not at all.
        convention: What the pose columns are in, if neither the table nor ``feat-pose.jsonl``
            beside it says it; see :mod:`feat_pose_plugin.show.poses`.
        fps: Frames per second, for time lines in seconds.
        video: What the table is about, for pictures of the rows in doubt.
        first: The number of the video's first frame in the table; see
            :func:`~feat_pose_plugin.show.overlay.video_frames`.

    Raises:
        TableError: The table or ``feat-pose.jsonl`` cannot be read, or the page cannot be written.
        ConventionError: See :func:`~feat_pose_plugin.show.poses.in_feat`.
        PictureError: The video cannot be read, or the table is not about it.
        FeatPoseError: With a video, as :func:`~feat_pose_plugin.show.overlay.draw_poses`.
    """
    rows, made = read_posed(table, list if video else DRAWN_COLUMNS.intersection)
    rows = rows.reset_index(drop=True)
    said = read_tag(rows)
    here = convention_of(rows, convention)
    check_tag(said, here.name, str(table))
    tag = said or PoseTag(here.name)
    write_tag(rows, tag)
    degrees = in_feat(rows, here.name, str(table))[_ANGLES] * (180 / math.pi)
    seen = degrees.notna().all(axis=1)
    flags = find_column(rows, FLAGS_COLUMN)
    reasons = pd.Series(dtype=str) if flags is None else flags[flagged_rows(rows)].astype(str)
    files = find_column(rows, "input")
    names = [] if files is None or files.nunique() < 2 else [*files.dropna().unique()]
    parts = {str(name): rows[files == name] for name in names[:_MOST_FILES]} or {"": rows}
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = page.get_template("report.html").render(
        version=__version__,
        table=table,
        sha256=sha256_of(table),
        tag=tag,
        assumed=said is None and convention is None,
        convention=here,
        made=made,
        counts={
            "rows": len(rows),
            "with a pose": int(seen.sum()),
            "without a pose": int((~seen).sum()),
            "flagged": None if flags is None else len(reasons),
        },
        reasons=Counter(reasons.str.split(SEPARATOR).explode()),
        persons=_describe(rows, degrees),
        distributions=_picture(plot_distributions(rows)),
        orientation=_picture(plot_orientation(rows)),
        time_lines=[(name, _picture(plot_time_lines(of, fps=fps))) for name, of in parts.items()],
        files=names,
        has_residual=find_column(rows, RESIDUAL_COLUMN) is not None,
        doubts=_find_doubts(rows, degrees, video, first),
        video=video,
    )
    with writing(output), write_whole(output) as part:
        part.write_text(text, encoding="utf-8")


def _describe(rows: pd.DataFrame, degrees: pd.DataFrame) -> list[dict[str, Any]]:
    """Of all rows, then of each person: how many, and how each angle is spread."""
    groups, flagged = persons(rows), flagged_rows(rows)
    everyone = {} if len(groups) == 1 else {"": np.arange(len(rows))}
    return [
        {
            "name": name,
            "rows": len(of),
            "poses": int(degrees.iloc[of].notna().all(axis=1).sum()),
            "flagged": int(flagged[of].sum()),
            "angles": degrees.iloc[of].describe(percentiles=_QUANTILES).to_dict(),
        }
        for name, of in [*everyone.items(), *groups.items()][: _MOST_PERSONS + 1]
    ]


def _find_doubts(
    rows: pd.DataFrame, degrees: pd.DataFrame, video: Path | None, first: int | None
) -> list[dict[str, Any]]:
    """The rows most in doubt, the worst first."""
    about = rows if video is None else rows_about(video, rows)
    residual = find_column(about, RESIDUAL_COLUMN)
    if residual is None:
        worst = about.index[flagged_rows(about)][:_WORST]
    else:
        worst = pd.to_numeric(residual, errors="coerce").dropna().nlargest(_WORST).index
    numbers = frame_numbers(rows)
    files, flags = find_column(rows, "input"), find_column(rows, FLAGS_COLUMN)
    pictures = {} if video is None else _thumbnails(video, about, worst, first)
    return [
        {
            "file": None if files is None else files[row],
            "frame": None if numbers is None else numbers[row],
            "row": row,
            "angles": degrees.loc[row].to_dict(),
            "residual": None if residual is None else float(residual[row]),
            "flags": "" if flags is None or pd.isna(flags[row]) else str(flags[row]),
            "thumbnail": pictures.get(row),
        }
        for row in worst
    ]


def _thumbnails(
    video: Path, rows: pd.DataFrame, worst: pd.Index[int], first: int | None
) -> dict[int, str]:
    """Small pictures of the frames of some rows, their heads drawn, by row."""
    frames = pd.Series(video_frames(rows, first), rows.index)
    wanted = frames[worst].dropna()
    pictures: dict[int, str] = {}
    number = -1
    for number, frame in enumerate(read_frames(video)):
        if number in wanted.array:
            picture = Image.fromarray(draw_poses(frame.picture, rows[frames == number]))
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            data = io.BytesIO()
            picture.save(data, format="jpeg")
            pictures |= dict.fromkeys(wanted.index[wanted == number], _data_uri("jpeg", data))
        if len(pictures) == len(wanted):
            return pictures
    require_frames(video, wanted.to_numpy(np.float64), number + 1)
    return pictures


def _picture(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DOTS_PER_INCH)
    return _data_uri("png", data)


def _data_uri(form: str, data: io.BytesIO) -> str:
    return f"data:image/{form};base64,{base64.b64encode(data.getvalue()).decode()}"
