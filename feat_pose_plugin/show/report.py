"""One page about the pose of one table: what it is, how it is spread, where to doubt it."""

from __future__ import annotations

import base64
import io
import math
import shlex
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import ConventionError, PictureError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.quality import (
    FLAGS_COLUMN,
    RESIDUAL_COLUMN,
    SEPARATOR,
    is_flagged,
)
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.show.overlay import draw_poses, rows_about
from feat_pose_plugin.show.plots import (
    ANGLE_LABELS,
    DRAWN_COLUMNS,
    in_feat,
    plot_distributions,
    plot_orientation,
    plot_time_lines,
)
from feat_pose_plugin.show.video import read_frames
from feat_pose_plugin.tables.frames import frame_numbers
from feat_pose_plugin.tables.manifest import MANIFEST, Entry, Manifest, sha256_of
from feat_pose_plugin.tables.stream import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_ANGLES = [*ANGLE_LABELS]
_OPTIONS = (
    *("convention", "landmark_model", "rotation_frame", "translation"),
    *("focal_length", "principal_point", "inter_ocular_mm"),
)
_MADE_BY = {"version", "model", "weights", "quality", "frame_size", *_OPTIONS}
_DEGREES = 180 / math.pi
_MOST_FILES = 4  # whose time lines are drawn
_WORST = 12
_THUMBNAIL = 480  # pixels, the longer side
_DOTS_PER_INCH = 160


class _Doubt(NamedTuple):
    """A row to look at: where it is, its angles in degrees, and why."""

    file: str | None
    frame: int | None
    row: int
    angles: dict[str, float]
    residual: float | None
    flags: str
    thumbnail: str | None


def write_report(
    table: Path, output: Path, *, convention: str | None = None, video: Path | None = None
) -> None:
    """Write a page about a table with pose columns.

    It says what was estimated with which weights, counts rows with and without a pose and those
    with ``PoseFlags``, shows how the angles are spread and how they run, lists the rows that are
    most in doubt (largest ``PoseResidual``, or else flagged), and has the commands to repeat it.
    What a table does not say of itself, the manifest beside it does (``feat-pose.json``), if the
    table is as it is listed there. Angles are shown in convention ``feat``, in degrees.

    Args:
        table: CSV or Parquet. Without a video only those columns are read that are shown.
        output: The HTML file, which needs no other and no network. Replaced if it exists; appears
            whole or not at all.
        convention: What the pose columns are in; by default what the table or the manifest says.
        video: What the table is about, for pictures of the rows in doubt.

    Raises:
        TableError: The table or its manifest cannot be read, or the page cannot be written.
        ConventionError: Nobody says which convention the pose is in, or two say different ones; or
            there is no pose in it.
        PictureError: The video cannot be read, or the table is not about it.
        FeatPoseError: With a video, as :func:`~feat_pose_plugin.show.overlay.draw_poses`.
    """
    rows = read_table(table, list if video else DRAWN_COLUMNS.intersection)
    sha256 = sha256_of(table)
    entry, no_entry = _find_entry(table, sha256)
    tag = _settle_tag(rows, table, convention, entry)
    pose = in_feat(rows, tag.convention, str(table))
    page = Environment(
        loader=PackageLoader("feat_pose_plugin.show", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = page.get_template("report.html").render(
        version=__version__,
        table=table,
        sha256=sha256,
        tag=tag,
        convention=find_convention(tag.convention),
        entry=entry,
        no_entry=no_entry,
        counts=_count(rows, pose),
        reasons=_count_reasons(rows),
        angles=_describe(pose),
        distributions=_picture(plot_distributions(pose)),
        orientation=_picture(plot_orientation(pose)),
        time_lines=_draw_time_lines(rows),
        files=_count_files(rows),
        has_residual=find_column(rows, RESIDUAL_COLUMN) is not None,
        doubts=_find_doubts(rows, pose, video),
        video=video,
        commands=_commands(table, output, convention, video, entry),
    )
    with writing(output), write_whole(output) as part:
        part.write_text(text, encoding="utf-8")


def _find_entry(table: Path, sha256: str) -> tuple[Entry | None, str]:
    """What the manifest says of the table as it is; and if nothing, why."""
    entry = Manifest(table.absolute().parent).entries.get(table.name)
    if entry is None:
        return None, f"no {MANIFEST} beside the table lists it"
    if entry.output_sha256 != sha256:
        return None, f"the table is not as {MANIFEST} beside it lists it"
    if not entry.made_by.keys() >= _MADE_BY:
        return None, f"{MANIFEST} beside the table was written by another version"
    return entry, ""


def _settle_tag(
    rows: pd.DataFrame, table: Path, convention: str | None, entry: Entry | None
) -> PoseTag:
    """What the pose columns are in, by what the table, the manifest and the caller say."""
    tag = read_tag(rows.attrs)
    if tag is None and entry is not None:
        made_by = entry.made_by
        unit = find_convention(made_by["convention"]).translation_unit
        is_mm = unit == "img2pose" and made_by["inter_ocular_mm"] is not None
        tag = PoseTag(made_by["convention"], made_by["rotation_frame"], "mm" if is_mm else unit)
    if convention is not None:
        check_tag(tag, convention, str(table))
        tag = tag or PoseTag(find_convention(convention).name)
    if tag is None:
        raise ConventionError(
            f"nothing says which convention the pose columns of {table} are in. Pass convention, "
            "on the command line --convention: feat for what this package and py-feat 2 write, "
            "openface for OpenFace's tables."
        )
    write_tag(rows, tag)
    return tag


def _count(rows: pd.DataFrame, pose: pd.DataFrame) -> dict[str, int | None]:
    """Rows of each kind; None where nothing says how many."""
    faces = int(pose[_ANGLES].notna().all(axis=1).sum())
    flags = find_column(rows, FLAGS_COLUMN)
    return {
        "rows": len(rows),
        "with a pose": faces,
        "without a pose": len(rows) - faces,
        "flagged": None if flags is None else int(is_flagged(flags).sum()),
    }


def _count_reasons(rows: pd.DataFrame) -> Counter[str]:
    """How many rows are flagged for each reason."""
    reasons: Counter[str] = Counter()
    flags = find_column(rows, FLAGS_COLUMN)
    if flags is not None:
        for text, count in flags[is_flagged(flags)].value_counts().items():
            for reason in str(text).split(SEPARATOR):
                reasons[reason] += int(count)
    return reasons


def _describe(pose: pd.DataFrame) -> dict[str, dict[Hashable, float]]:
    """Of each angle, in degrees, its mean, spread and quantiles; NaN where no row has a pose."""
    degrees = pose[_ANGLES] * _DEGREES
    described = degrees.describe(percentiles=[0.05, 0.5, 0.95])
    return {angle: dict(described[angle].drop("count").items()) for angle in _ANGLES}


def _files(rows: pd.DataFrame) -> pd.Series[Any] | None:
    """The column of the files that a table is about, if it is about several."""
    files = find_column(rows, "input")
    return None if files is None or files.nunique() < 2 else files


def _count_files(rows: pd.DataFrame) -> int:
    files = _files(rows)
    return 1 if files is None else files.nunique()


def _draw_time_lines(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """A title and a picture for each of the first files."""
    files = _files(rows)
    if files is None:
        return [("", _picture(plot_time_lines(rows)))]
    return [
        (str(file), _picture(plot_time_lines(rows[files == file])))
        for file in files.dropna().unique()[:_MOST_FILES]
    ]


def _find_doubts(rows: pd.DataFrame, pose: pd.DataFrame, video: Path | None) -> list[_Doubt]:
    """The rows most in doubt, the worst first."""
    rows = rows.reset_index(drop=True)
    about = rows if video is None else rows_about(video, rows)
    worst = _worst_first(about)[:_WORST]
    frames = frame_numbers(rows)
    files, residual, flags = (
        find_column(rows, name) for name in ("input", RESIDUAL_COLUMN, FLAGS_COLUMN)
    )
    degrees = np.rad2deg(pose[_ANGLES].iloc[worst].to_numpy()).tolist()
    numbers = np.arange(len(rows)) if frames is None else frames.astype(int)
    pictures = {} if video is None else _thumbnails(video, about, numbers, worst)
    return [
        _Doubt(
            file=None if files is None else str(files[row]),
            frame=None if frames is None else int(numbers[row]),
            row=row,
            angles=dict(zip(_ANGLES, of_row, strict=True)),
            residual=None if residual is None else float(residual[row]),
            flags="" if flags is None or pd.isna(flags[row]) else str(flags[row]),
            thumbnail=pictures.get(int(numbers[row])),
        )
        for row, of_row in zip(worst, degrees, strict=True)
    ]


def _worst_first(rows: pd.DataFrame) -> list[int]:
    """Labels of rows: by their residual, or those that are flagged."""
    residual, flags = (find_column(rows, name) for name in (RESIDUAL_COLUMN, FLAGS_COLUMN))
    if residual is not None:
        worst = pd.to_numeric(residual, errors="coerce").dropna().nlargest(_WORST).index
    elif flags is not None:
        worst = rows.index[is_flagged(flags)]
    else:
        worst = rows.index[:0]
    return [int(row) for row in worst]


def _thumbnails(
    video: Path, rows: pd.DataFrame, numbers: NDArray[np.int_], worst: list[int]
) -> dict[int, str]:
    """Small pictures of frames, their heads drawn, by the number of the frame."""
    wanted = {int(numbers[row]) for row in worst}
    pictures = {}
    for number, frame in enumerate(read_frames(video)):
        if number in wanted:
            of_frame = rows[numbers[rows.index] == number]
            picture = Image.fromarray(draw_poses(frame, of_frame))
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            data = io.BytesIO()
            picture.save(data, format="jpeg")
            pictures[number] = _data_uri("jpeg", data)
        if len(pictures) == len(wanted):
            return pictures
    raise PictureError(
        f"the table has a frame {max(wanted)}, counted from 0, and {video} has fewer frames. Is it "
        "the table of another video?"
    )


def _picture(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DOTS_PER_INCH)
    return _data_uri("png", data)


def _data_uri(form: str, data: io.BytesIO) -> str:
    return f"data:image/{form};base64,{base64.b64encode(data.getvalue()).decode()}"


def _commands(
    table: Path, output: Path, convention: str | None, video: Path | None, entry: Entry | None
) -> list[str]:
    """What to type to have the table, as far as is known, and this page again."""
    commands = []
    if entry is not None:
        made_by = entry.made_by
        estimate: list[object] = ["estimate", entry.input, "-o", table.parent]
        estimate += ["--model", made_by["model"]]
        for option in _OPTIONS:
            value = made_by[option]
            if value is not None:
                values = value if isinstance(value, list) else [value]
                estimate += [f"--{option.replace('_', '-')}", *values]
        if made_by["frame_size"]:
            height, width = made_by["frame_size"]
            estimate += ["--height", height, "--width", width]
        estimate += ["--quality"] if made_by["quality"] else []
        commands.append(estimate)
    report: list[object] = ["report", table, "-o", output]
    report += ["--convention", convention] if convention else []
    report += ["--video", video] if video else []
    commands.append(report)
    return [shlex.join(map(str, ["feat-pose", *command])) for command in commands]
