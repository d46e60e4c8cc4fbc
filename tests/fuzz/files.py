"""Tables in files: CSV of any bytes, and damaged or oddly typed Parquet."""

from __future__ import annotations

import io
import warnings
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.choices import Choices, damage, expand
from fuzz.common import scratch
from pyarrow import csv

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.errors import FeatPoseError
from feat_pose_plugin.show.poses import in_feat
from feat_pose_plugin.tables.frames import frame_numbers
from feat_pose_plugin.tables.pose_tables import convert_table
from feat_pose_plugin.tables.stream import read_table

POSE = FEAT_FACEPOSE_COLUMNS_6D
KNOWN = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
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
WORDS = {
    0x85: b"\xef\xbb\xbf",
    0x87: b'"' + b'""' * 50 + b'"',
    0x88: b"\r\n",
    0x89: b"x" * 300,
    0x8A: b"," * 70_000,
    0x8E: ",".join(POSE).encode(),
    0x8F: b"FrameHeight,FrameWidth",
    0x90: b"1,2,3,4,5,6",
    0x91: b"frame,",
    0x92: b"pose_Rx,pose_Ry,pose_Rz",
    0x93: b"q_w,q_x,q_y,q_z",
    0x94: b'"1","2", 3 , 4,"5",6',
    0x95: b"1,2,3,4,5",  # a cell short
}


def csv_file(data: bytes) -> None:
    target = ".parquet" if data and data[0] % 4 == 0 else ".csv"
    content = expand(data[1:], WORDS)
    written = _converted(content, ".csv", target)
    if written is None or b";" in content or b"\t" in content:  # which Arrow does not guess
        return
    before, after = _arrow_csv(content), _read(written, target)
    assert before is not None, "what Arrow refuses was read"
    assert after is not None, "the output cannot be read"
    assert len(after) == len(before), f"{len(after)} rows of {len(before)}"
    plain = [name.strip() for name in before.column_names]
    others = [place for place, name in enumerate(plain) if name not in POSE]
    if target == ".csv":
        assert after.column_names == before.column_names
        assert after.select(others).equals(before.select(others)), "other cells are not the same"
    clean = (_angles(before) == KNOWN[:3]).all(axis=1)
    assert (_angles(after)[clean] == KNOWN[:3]).all(), "another pose"


def parquet(data: bytes) -> None:
    choices = Choices(data)
    content = choices.pick(_pose_files())
    damaged = damage(content, choices)
    suffix = choices.pick([".parquet", ".parquet", ".csv"])
    is_sound = damaged == content and content in _pose_files()[:4]
    written = _converted(damaged, ".parquet", suffix)
    if written is None:
        assert not is_sound, "a sound file is refused"
        return
    after = _read(written, suffix)
    assert after is not None, "the output cannot be read"
    rows = pq.ParquetFile(io.BytesIO(damaged)).metadata.num_rows
    assert len(after) == rows, "a row is lost"
    if is_sound:
        expected = [KNOWN[:3], [np.nan] * 3, KNOWN[:3]]
        np.testing.assert_array_equal(_angles(after), expected)


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
        clean = (_angles(before) == KNOWN[:3]).all(axis=1)
        assert (pose.to_numpy()[clean, :3] == [-1, -3, 2]).all(), "another pose"


def _converted(content: bytes, suffix: str, target_suffix: str) -> bytes | None:
    """What is written; None if the table is refused. Nothing else is left."""
    for path in scratch().iterdir():
        path.unlink()
    source, target = scratch() / f"in{suffix}", scratch() / f"out{target_suffix}"
    source.write_bytes(content)
    try:
        with warnings.catch_warnings(action="error"):
            convert_table(source, target, "img2pose", "feat-0.7")
    except FeatPoseError:
        assert {*scratch().iterdir()} == {source}, "something is left behind"
        return None
    assert {*scratch().iterdir()} == {source, target}
    return target.read_bytes()


def _read(content: bytes, suffix: str) -> pa.Table | None:
    if suffix == ".csv":
        return _arrow_csv(content)
    return pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)


def _arrow_csv(content: bytes) -> pa.Table | None:
    """As Arrow reads it in one piece, all of it text."""
    try:
        table = csv.read_csv(
            io.BytesIO(content + b"\n"),  # Arrow takes one line without an end for none
            read_options=csv.ReadOptions(
                autogenerate_column_names=True, block_size=len(content) + 1
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={f"f{place}": pa.binary() for place in range(400)}
            ),
        )
    except pa.ArrowInvalid:
        return None
    header = [name.as_py() for (name,) in table.slice(0, 1).columns]
    names = [n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in header]
    return table.slice(1).rename_columns(names)


def _angles(table: pa.Table) -> np.ndarray:
    places = {own.strip(): place for place, own in enumerate(table.column_names)}
    columns = [table.column(places[name]).to_pylist() for name in POSE[:3]]
    return np.array([[_number(cell) for cell in column] for column in columns]).T.reshape(-1, 3)


def _number(cell: object) -> float:
    try:
        return float(cell.decode().strip() if isinstance(cell, bytes) else cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


@cache
def _pose_files() -> list[bytes]:
    """A pose, and a column beside it; the first four are sound."""
    columns = {name: pa.array([v, None, v]) for name, v in zip(POSE, KNOWN, strict=True)}
    noted = {**columns, "note": pa.array(["a", "b,c", None])}
    files = [_parquet(noted, compression=each) for each in ("none", "zstd", "gzip")]
    files.append(_parquet(columns, use_dictionary=False, write_page_checksum=True))
    files += [_parquet({**columns, n: odd}) for odd in ODD for n in ("X", "note", "frame")]
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    attrs = (b"[1]", b"{", b'{"a": NaN}', b'{"feat_pose": 3}', deep, b"\xff")
    pandas = (b"{", b"[]", b'{"index_columns": [3], "columns": []}', b"\xff")
    metadata = [{b"PANDAS_ATTRS": text} for text in attrs] + [{b"pandas": text} for text in pandas]
    return files + [_parquet(columns, metadata=each) for each in metadata]


def _parquet(
    columns: dict[str, pa.Array], *, metadata: dict[bytes, bytes] | None = None, **options: object
) -> bytes:
    table = pa.table(columns).replace_schema_metadata(metadata)
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()
