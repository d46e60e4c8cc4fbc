"""Landmark tables in CSV and Parquet, pose columns replaced or added.

A CSV is text, and what is not pose leaves as the text it came as: ``007`` and ``1.10`` stay what
they are. A Parquet file keeps its types, its metadata included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from feat_pose_plugin.backend import FrameSize
from feat_pose_plugin.conventions import CONVENTIONS
from feat_pose_plugin.convert import convert_pose
from feat_pose_plugin.errors import ConventionError, LandmarkError, TableError
from feat_pose_plugin.estimate import PoseEstimator
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.tag import parquet_attrs, tag_parquet

_FORMATS = {".csv": "CSV", ".parquet": "Parquet"}
_NO_VALUE = pa.array(csv.ConvertOptions().null_values)  # "", "NA", "nan", ...
_POSE_COLUMNS = {
    name
    for convention in CONVENTIONS.values()
    for name in (*convention.columns, *convention.table_names.values())
}
_CODE = r"^\s*[+-]?0[0-9xX]"  # 007 is a name, not the number 7


class Estimated(NamedTuple):
    """What became of a table: its rows, and how many of them have a pose."""

    rows: int
    faces: int


def plan_outputs(
    sources: Sequence[Path], output: Path, *, force: bool = False
) -> list[tuple[Path, Path]]:
    """Each input with its output, all of them checked before any is estimated.

    Args:
        sources: CSV or Parquet files.
        output: An existing folder, where names are kept; for a single input also a file.
        force: Whether outputs that exist may be replaced.

    Raises:
        TableError: An input does not exist, a suffix is unknown, an output folder does not exist,
            an output exists, or two inputs would become one output.
    """
    is_folder = output.is_dir()
    if len(sources) > 1 and not is_folder:
        raise TableError(
            f"{len(sources)} tables need an existing folder as output, and {output} is none. Make "
            "the folder first, or estimate one table at a time."
        )
    source_of: dict[Path, Path] = {}
    for source in sources:
        target = output / source.name if is_folder else output
        for path in (source, target):
            if path.suffix.lower() not in _FORMATS:
                raise TableError(
                    f"{path} must end in {' or '.join(_FORMATS)} to say its format; an output "
                    "folder must exist."
                )
        if not source.is_file():
            raise TableError(f"{source} {'is no file' if source.exists() else 'does not exist'}.")
        if not target.parent.is_dir():
            raise TableError(
                f"the folder of the output {target} does not exist. Make it first, or choose "
                "another output."
            )
        if target in source_of:
            raise TableError(
                f"{source_of[target]} and {source} would both become {target}. Estimate them into "
                "different folders."
            )
        if target.exists() and not target.is_file():
            raise TableError(f"the output {target} exists and is no file. Choose another output.")
        if target.exists() and not force:
            which = "is the input itself" if target.samefile(source) else "exists"
            raise TableError(
                f"the output {target} {which}. Pass --force to replace it, or choose another "
                "output."
            )
        source_of[target] = source
    return [(source, target) for target, source in source_of.items()]


def estimate_table(
    source: Path,
    target: Path,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | None = None,
) -> Estimated:
    """Read a table, estimate the pose of each row, and write it with its pose columns.

    Pose columns that the table has are replaced in their places, the others added at the end;
    rows and all other columns stay as they are. A row without a pose has empty cells (null in
    Parquet). From CSV to Parquet, columns that hold nothing but numbers become numbers.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        estimator: What estimates, and what its columns mean.
        frame_size: Height and width of the video frame in pixels; by default those of the table's
            columns ``FrameHeight`` and ``FrameWidth``, if it has them.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        LandmarkError: The table has no landmarks, or part of them, or text among them.
        FeatPoseError: As :func:`~feat_pose_plugin.estimate_pose`.
    """
    table = read_table(source)
    try:
        pose = estimator(_numeric_frame(table), frame_size=frame_size)
    except LandmarkError as error:
        raise LandmarkError(f"{source}: {error}") from error
    if _is_csv(source) and not _is_csv(target):
        table = _typed(table)
    write_table(_with_pose(table, pose), target)
    return Estimated(len(pose), int(pose["Pitch"].notna().sum()))


def convert_table(
    source: Path,
    target: Path,
    here: str | None,
    there: str,
    *,
    inter_ocular_mm: float | None = None,
) -> int:
    """Read a table, convert its pose to another convention, and write it.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        here: What the pose is in; None for a Parquet file that is tagged.
        there: What it is wanted in.
        inter_ocular_mm: See :func:`~feat_pose_plugin.convert_pose`.

    Returns:
        How many rows the table has.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        ConventionError: As :func:`~feat_pose_plugin.convert_pose`.
    """
    table = read_table(source)
    metadata = table.schema.metadata
    if _is_csv(source) and not _is_csv(target):
        table = _typed(table)
    for place, column in enumerate(table.columns):
        if table.column_names[place].strip() in _POSE_COLUMNS and pa.types.is_string(column.type):
            table = table.set_column(place, table.column_names[place], _numbers(column))
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, types_mapper=pd.ArrowDtype)
    frame.attrs = parquet_attrs(metadata)
    try:
        frame = convert_pose(frame, here, there, inter_ocular_mm=inter_ocular_mm)
    except ConventionError as error:
        raise ConventionError(f"{source}: {error}") from error
    columns = [pa.Array.from_pandas(frame.iloc[:, place]) for place in range(frame.shape[1])]
    names = list(frame.columns)
    write_table(
        pa.Table.from_arrays(columns, names, metadata=tag_parquet(metadata, frame.attrs)), target
    )
    return len(frame)


def read_table(path: Path) -> pa.Table:
    """Read a whole table.

    Args:
        path: CSV (UTF-8, comma-separated, a header line) or Parquet, by suffix.

    Returns:
        The columns of the file in their order; those of a CSV hold the text of its cells.

    Raises:
        TableError: The file cannot be read, is damaged, or has rows of different lengths.
    """
    try:
        if not _is_csv(path):
            return pq.read_table(path)
        quoting = csv.ParseOptions(newlines_in_values=True)
        with csv.open_csv(path, parse_options=quoting) as head:
            as_text = dict.fromkeys(head.schema.names, pa.string())
        return csv.read_csv(
            path,
            parse_options=quoting,
            convert_options=csv.ConvertOptions(column_types=as_text),
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        form = _FORMATS[path.suffix.lower()]
        raise TableError(
            f"{path} cannot be read as {form}: {error}. Is the file whole, and {form}?"
        ) from error


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table, whole or not at all.

    Args:
        table: Any columns.
        path: CSV or Parquet, by suffix. Replaced if it exists.

    Raises:
        TableError: The folder cannot be written, or the disk is full.
    """
    try:
        with write_whole(path) as part:
            if _is_csv(path):
                # NumPy prints float32 in its shortest form, Arrow as a double of 17 digits.
                frame = table.to_pandas(
                    ignore_metadata=True,
                    types_mapper=lambda kind: (
                        None if pa.types.is_floating(kind) else pd.ArrowDtype(kind)
                    ),
                )
                frame.to_csv(part, index=False, lineterminator=_line_end(table))
            else:
                pq.write_table(table, part)
    except OSError as error:
        raise TableError(
            f"{path} could not be written: {error.strerror or error}. Nothing was written; make "
            "room or choose another output."
        ) from error


def _line_end(table: pa.Table) -> str:
    """A line feed; where a cell holds a carriage return, RFC 4180's end, which gets it quoted."""
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    returns = (pc.any(pc.match_substring(text, "\r")).as_py() for text in texts)
    return "\r\n" if any(returns) else "\n"


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as numbers, missing ones null; text again if a cell says something else."""
    text = pc.utf8_trim_whitespace(text)
    text = pc.if_else(pc.is_in(text, _NO_VALUE), None, text)
    for kind in (pa.int64(), pa.float64()):
        try:
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return text


def _numeric_frame(table: pa.Table) -> pd.DataFrame:
    """The table for the reader of landmarks, which names the cell where text is left."""
    columns = [_numbers(c) if pa.types.is_string(c.type) else c for c in table.columns]
    numeric = pa.Table.from_arrays(columns, names=table.column_names)
    frame: pd.DataFrame = numeric.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _typed(text: pa.Table) -> pa.Table:
    """The columns of a CSV as Parquet should have them."""
    columns = []
    for column in text.columns:
        numbers = _numbers(column)
        has_codes = pc.any(pc.match_substring_regex(column, _CODE)).as_py()
        columns.append(column if has_codes or pa.types.is_string(numbers.type) else numbers)
    return pa.Table.from_arrays(columns, names=text.column_names)


def _with_pose(table: pa.Table, pose: pd.DataFrame) -> pa.Table:
    for name in pose.columns:
        values = pa.Array.from_pandas(pose[name])  # NaN becomes null
        places = [i for i, column in enumerate(table.column_names) if column.strip() == name]
        for place in places:
            table = table.set_column(place, table.column_names[place], values)
        if not places:
            table = table.append_column(name, values)
    return table.replace_schema_metadata(tag_parquet(table.schema.metadata, pose.attrs))
