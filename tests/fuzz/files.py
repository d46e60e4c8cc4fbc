"""Tables in files: CSV of any bytes, and damaged or oddly typed Parquet."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.choices import Choices, damage, expand
from fuzz.common import FACE, TOLERANCE, estimate_file, known_pose, scratch
from pyarrow import csv

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.errors import FeatPoseError, PoseWarning
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.show.poses import in_feat
from feat_pose_plugin.tables.frames import frame_numbers
from feat_pose_plugin.tables.pose_tables import convert_table
from feat_pose_plugin.tables.stream import read_table

NAMES = landmark_columns()
ANGLES = FEAT_FACEPOSE_COLUMNS_6D[:3]
NUMBERS = FACE.numpy().T.reshape(136)
CLEAN = ",".join(f"{number:.0f}" for number in NUMBERS).encode()
HEADER = ",".join(NAMES).encode()

ODD = [
    pa.array([None] * 3, pa.null()),
    pa.array([[1.0], [], None]),
    pa.array([{"a": 1}, None, {"a": 2}]),
    pa.array([0, 1, 10**15], pa.timestamp("s")),
    pa.array([0, 1, 2], pa.date32()),
    pa.array([0, 1, 2], pa.time64("ns")),
    pa.array([0, 1, 2], pa.duration("s")),
    pa.array([1, 2, 3], pa.decimal128(20, 3)),
    pa.array([b"1", b"\xff", None]),
    pa.array(["1", "2", "x"], pa.large_string()),
    pa.array(["1", "2", "3"]).dictionary_encode(),
    pa.array([True, False, None]),
    pa.array([2**64 - 1, 1, None], pa.uint64()),
    pa.array([1.5, None, 2.0], pa.float16()),
    pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    pa.array(["1", "2", "3"], pa.string_view()),
]
_TEXT = {f"f{place}": pa.binary() for place in range(400)}

WORDS = {
    0x80: HEADER,
    0x81: CLEAN,
    0x82: CLEAN.rpartition(b",")[0],  # a cell short
    0x83: b'"' + CLEAN.replace(b",", b'","') + b'"',
    0x84: b"," * 135,
    0x85: b"\xef\xbb\xbf",
    0x86: CLEAN.replace(b",", b" , "),
    0x87: b'"' + b'""' * 50 + b'"',
    0x88: b"\r\n",
    0x89: b"x" * 300,
    0x8A: b"," * 70_000,
    0x8B: HEADER.upper(),
    0x8C: CLEAN[:200],
    0x8D: b"," + CLEAN.split(b",", 1)[1],
    0x8E: ",".join(FEAT_FACEPOSE_COLUMNS_6D).encode(),
    0x8F: b"FrameHeight,FrameWidth",
    0x90: b"1,2,3,4,5,6",
    0x91: b"frame,",
    0x92: b"pose_Rx,pose_Ry,pose_Rz",
    0x93: b"q_w,q_x,q_y,q_z",
}


def csv_file(data: bytes) -> None:
    kind = data[0] % 8 if data else 0
    target = ".parquet" if kind in (0, 2) else ".csv"
    content = expand(data[1:], WORDS)
    # Converting takes the same reader and writer, at a fifth of the cost.
    written = _change(content, ".csv", target, estimate_file if kind < 2 else _convert)
    if written is None:
        return
    before = _arrow_csv(content)
    after = _arrow_csv(written) if target == ".csv" else _read(written)
    assert after is not None, "the output cannot be read"
    assert before is not None, "what Arrow refuses was read"
    assert len(after) == len(before), f"{len(after)} rows of {len(before)}"
    if kind >= 2:
        assert after.column_names == before.column_names or target == ".parquet"
        return
    pose = _columns(after, ANGLES)
    plain = [name.strip() for name in before.column_names]
    kept = [place for place, name in enumerate(plain) if name not in FEAT_FACEPOSE_COLUMNS_6D]
    if target == ".csv" and len(kept) == len(plain):
        same = after.select(range(len(plain)))
        assert same.equals(before), "other columns are not what they were"
    points = [_numbers(before.column(plain.index(name))) for name in NAMES]
    _check_rows(np.stack(points, axis=1) if points[0].size else np.empty((0, 136)), pose)


def parquet(data: bytes) -> None:
    choices = Choices(data)
    if choices.byte() % 8:  # the same reader and writer, at a fifth of the cost
        work, content = _convert, choices.pick(_pose_files())
    else:
        work, content = estimate_file, choices.pick(_landmark_files())
    damaged = damage(content, choices)
    suffix = choices.pick([".parquet", ".parquet", ".csv"])
    written = _change(damaged, ".parquet", suffix, work)
    if written is None:
        assert damaged != content or content not in _sound_files(), "a sound file is refused"
        return
    before = pq.ParquetFile(io.BytesIO(damaged))
    after = _arrow_csv(written) if suffix == ".csv" else _read(written)
    assert after is not None, "the output cannot be read"
    assert len(after) == before.metadata.num_rows, "a row is lost"
    if damaged != content or content not in _sound_files():
        return
    pose = _columns(after, ANGLES)
    expected = known_pose().copy() if work is estimate_file else np.array([1.0, 2.0, 3.0])
    assert np.isnan(pose[1]).all(), "a pose of a row without a face"
    assert (np.abs(pose[[0, 2]] - expected) <= TOLERANCE).all(), "another pose"


def drawn(data: bytes) -> None:
    """Tables that are read as a whole, of pose that is drawn."""
    choices = Choices(data)
    convention = choices.pick(["feat-0.7", "openface", "quaternion"])
    if choices.byte() % 2:
        path, content = scratch() / "in.csv", expand(choices.rest(), WORDS)
    else:
        path = scratch() / "in.parquet"
        content = damage(choices.pick(_pose_files()), choices)
    path.write_bytes(content)
    try:
        with warnings.catch_warnings(action="error"):
            table = read_table(path)
            pose = in_feat(table, convention)
            frame_numbers(table)
    except FeatPoseError:
        return
    if path.suffix == ".parquet":
        assert len(pose) == pq.ParquetFile(path).metadata.num_rows, "a row is lost"
        return
    before = _arrow_csv(content)
    assert before is not None, "what Arrow refuses was read"
    assert len(pose) == len(before), f"{len(pose)} rows of {len(before)}"
    if convention == "feat-0.7":
        said = _columns(before, FEAT_FACEPOSE_COLUMNS_6D[:3])
        clean = (said == [1, 2, 3]).all(axis=1)
        assert (pose.to_numpy()[clean, :3] == [-1, -3, 2]).all(), "another pose"


def _convert(source: Path, target: Path) -> None:
    convert_table(source, target, "img2pose", "feat-0.7")


def _read(content: bytes) -> pa.Table:
    return pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)


def _change(
    content: bytes, suffix: str, target_suffix: str, work: Callable[[Path, Path], None]
) -> bytes | None:
    """What is written; None if the table is refused. Nothing else is left."""
    source, target = scratch() / f"in{suffix}", scratch() / f"out{target_suffix}"
    source.write_bytes(content)
    try:
        with warnings.catch_warnings(action="error"):
            warnings.simplefilter("ignore", PoseWarning)
            work(source, target)
    except FeatPoseError:
        assert _left() == {source}, "something is left behind"
        return None
    assert _left() == {source, target}
    written = target.read_bytes()
    target.unlink()
    return written


def _left() -> set[Path]:
    sources = {scratch() / "in.csv", scratch() / "in.parquet"}
    found = set(scratch().iterdir())
    return {path for path in found if path not in sources} | {max(found & sources, key=_age)}


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _arrow_csv(content: bytes) -> pa.Table | None:
    """As Arrow reads it in one piece, all of it text."""
    try:
        table = csv.read_csv(
            io.BytesIO(content + b"\n"),  # Arrow takes one line without an end for none
            read_options=csv.ReadOptions(
                autogenerate_column_names=True, block_size=len(content) + 1
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=_TEXT),
        )
    except pa.ArrowInvalid:
        return None
    names = [_text(name.as_py()) for (name,) in table.slice(0, 1).columns]
    return table.slice(1).rename_columns(names)


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _columns(table: pa.Table, names: list[str]) -> np.ndarray:
    places = {own.strip(): place for place, own in enumerate(table.column_names)}
    found = [table.column(places[name]) for name in names]
    return np.stack([_numbers(column) for column in found], axis=1)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.array([_number(cell) for cell in column.to_pylist()], np.float64)


def _number(cell: object) -> float:
    try:
        text = cell.decode().strip() if isinstance(cell, bytes) else cell
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _check_rows(points: np.ndarray, pose: np.ndarray) -> None:
    clean = (points == NUMBERS).all(axis=1)
    missing = np.isnan(pose)
    assert (missing.all(axis=1) == missing.any(axis=1)).all(), "half a pose"
    assert missing[np.isnan(points).any(axis=1)].all(), "a pose of a row without a face"
    assert (np.abs(pose[clean] - known_pose()) <= TOLERANCE).all(), "another pose"


@cache
def _landmark_files() -> list[bytes]:
    faces = np.tile(NUMBERS, (3, 1))
    faces[1, 5] = np.nan
    columns: dict[str, pa.Array] = {
        name: pa.array(values, from_pandas=True)
        for name, values in zip(NAMES, faces.T, strict=True)
    }
    notes = pa.array(["a", "b,c", None])
    files = [_parquet({**columns, "note": notes}, compression=c) for c in ("none", "zstd", "gzip")]
    files.append(_parquet(columns, use_dictionary=False, write_page_checksum=True))
    for column in ODD:
        for name in ("x_0", "FrameWidth", "Pitch", "note"):
            sized = {"FrameHeight": pa.array([480.0] * 3)} if name == "FrameWidth" else {}
            files.append(_parquet({**columns, **sized, name: column}))
    return [*files, *_with_metadata(columns)]


@cache
def _pose_files() -> list[bytes]:
    """Small ones: a pose, and a column beside it."""
    columns = {
        name: pa.array([value, None, value])
        for name, value in zip(
            FEAT_FACEPOSE_COLUMNS_6D, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], strict=True
        )
    }
    notes = pa.array(["a", "b,c", None])
    files = [_parquet({**columns, "note": notes}, compression=c) for c in ("none", "zstd", "gzip")]
    files.append(_parquet(columns, use_dictionary=False, write_page_checksum=True))
    odd = ("X", "note", "frame")
    files += [_parquet({**columns, name: column}) for column in ODD for name in odd]
    return [*files, *_with_metadata(columns)]


@cache
def _sound_files() -> set[bytes]:
    return {*_landmark_files()[:4], *_pose_files()[:4]}


def _with_metadata(columns: dict[str, pa.Array]) -> list[bytes]:
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    attrs = (b"[1]", b"{", b'{"a": NaN}', b'{"feat_pose": 3}', deep, b"\xff")
    pandas = (b"{", b"[]", b'{"index_columns": [3], "columns": []}', b"\xff")
    metadata = [{b"PANDAS_ATTRS": text} for text in attrs] + [{b"pandas": text} for text in pandas]
    return [_parquet(columns, metadata=each) for each in metadata]


def _parquet(
    columns: dict[str, pa.Array], *, metadata: dict[bytes, bytes] | None = None, **options: object
) -> bytes:
    table = pa.table(columns).replace_schema_metadata(metadata)
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()
