"""Tables in, tables out: what is kept, what is added, what is refused."""

from __future__ import annotations

import csv
import tempfile
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    convert_pose,
    estimate_pose,
    get_pose_backend,
)
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import LandmarkError, TableError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables import csv_file, parquet_file, pose_tables
from feat_pose_plugin.tables.stream import stream_table

POSE = FEAT_FACEPOSE_COLUMNS_6D
TABLES = {path.name: path for path in find_demo_tables()}
NAMES = [*TABLES]
ANGLES = ["Pitch", "Roll", "Yaw"]


def estimate_table(
    source: Path, target: Path, *, frame_size: FrameSize | None = None, **options: str
) -> tuple[int, int]:
    backend = get_pose_backend("pose_mlp_synth")
    estimator = PoseEstimator(backend=backend, **options)  # type: ignore[arg-type]
    with writing(target), write_whole(target) as part:
        made = pose_tables.estimate_table(source, part, estimator, frame_size=frame_size)
    return made.rows, made.faces


def read_text(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV, each cell as the text it is."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = csv.reader(file)
    return header, rows


def write_text(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def real_faces(rows: int) -> list[list[str]]:
    """The 136 landmark cells of real frames, as text."""
    header, table = read_text(TABLES["001.csv"])
    places = [header.index(name) for name in landmark_columns()]
    return [[row[place] for place in places] for row in table[:rows]]


def read_all(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def write_all(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False, row_group_size=9)
    return path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of a few rows goes through in several batches."""
    monkeypatch.setattr(csv_file, "_BLOCK", 5000)  # three or four rows
    monkeypatch.setattr(parquet_file, "_BATCH_ROWS", 7)


@pytest.mark.parametrize("name", NAMES)
def test_real_csv_keeps_every_row_column_and_cell(name: str, tmp_path: Path) -> None:
    source, target = TABLES[name], tmp_path / name
    rows, faces = estimate_table(source, target)
    before, cells_before = read_text(source)
    after, cells_after = read_text(target)
    assert after == before + [column for column in POSE if column not in before]
    assert rows == len(cells_after) == len(cells_before)
    kept = [i for i, column in enumerate(before) if column not in POSE]
    for old, new in zip(cells_before, cells_after, strict=True):
        assert [new[i] for i in kept] == [old[i] for i in kept]
    assert faces == rows
    angles = [row[after.index(angle)] for row in cells_after for angle in ANGLES]
    assert all(len(cell) <= len("-1.2345678e-05") for cell in angles)  # float32, not its double
    assert np.isfinite(np.array(angles, float)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_pose_in_the_file_is_what_estimate_pose_says(
    name: str, suffix: str, tmp_path: Path
) -> None:
    """With the frame size as an option, and in columns of the table."""
    target = (tmp_path / name).with_suffix(suffix)
    options = {"convention": "300w-lp", "landmark_model": "3d"}
    table = pd.read_csv(TABLES[name]).copy()  # in one piece
    expected = estimate_pose(table, frame_size=(480, 640), **options)
    assert expected["Z"].notna().all()
    sized = write_all(table.assign(FrameHeight=480, FrameWidth=640), tmp_path / f"sized{suffix}")
    for source, size in ((TABLES[name], (480, 640)), (sized, None)):
        estimate_table(source, target, frame_size=size, **options)
        pose = read_all(target)[POSE]
        np.testing.assert_allclose(pose, expected[POSE], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_converted_table_is_what_convert_pose_says(suffix: str, tmp_path: Path) -> None:
    pose = pd.DataFrame(np.linspace(-0.5, 0.5, 18).reshape(3, 6), columns=POSE)
    source = write_all(pose.assign(note="x"), tmp_path / f"in{suffix}")
    target = tmp_path / f"out{suffix}"
    assert pose_tables.convert_table(source, target, "feat", "openface", inter_ocular_mm=90.0) == 3
    expected = convert_pose(pose, "feat", "openface", inter_ocular_mm=90.0)
    pd.testing.assert_frame_equal(read_all(target), expected.assign(note="x"), check_dtype=False)


def test_openface_yaw_and_roll_follow_its_own_pose(tmp_path: Path) -> None:
    """The rotation vector of OpenFace's own rotations correlates at only 0.91 with ``pose_Rz``."""
    target = tmp_path / "out.csv"
    for convention, least, most in (("openface", 0.95, 1), ("feat", -1, -0.7)):
        estimate_table(TABLES["OpenFace_Test.csv"], target, convention=convention)
        table = pd.read_csv(target, skipinitialspace=True)
        assert np.corrcoef(table["Yaw"], table["pose_Ry"])[0, 1] > 0.95
        assert least < np.corrcoef(table["Roll"], table["pose_Rz"])[0, 1] < most


def test_pose_columns_are_replaced_in_their_places(tmp_path: Path) -> None:
    face = real_faces(2)
    header = ["Yaw", *landmark_columns(), " Pitch", "note"]
    source = write_text(tmp_path / "in.csv", header, [["9", *cells, "9", "a"] for cells in face])
    estimate_table(source, tmp_path / "out.csv")
    after, rows = read_text(tmp_path / "out.csv")
    assert after == [*header, "Roll", "X", "Y", "Z"]
    expected = estimate_pose(pd.read_csv(source))
    for row, pose in zip(rows, expected.itertuples(), strict=True):
        assert np.float32(row[0]) == np.float32(pose.Yaw)
        assert np.float32(row[header.index(" Pitch")]) == np.float32(pose.Pitch)
        assert row[header.index("note")] == "a"


def test_a_second_run_over_its_own_output_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "t.csv"
    estimate_table(TABLES["002.csv"], target)
    first = target.read_bytes()
    estimate_table(target, target)
    assert target.read_bytes() == first


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_other_cells_of_a_csv_come_back_as_the_text_they_were(data: st.DataObject) -> None:
    # NUL is no text; a lone surrogate is no UTF-8.
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    codes = st.sampled_from(
        ["007", "1.10", "NA", "nan", "", " 5", "1e3", "True", "0x1f", "1" * 25, "\r", "\n", '"']
    )
    faces = real_faces(data.draw(st.integers(1, 3)))
    others = [data.draw(st.lists(text | codes, min_size=2, max_size=2)) for _ in faces]
    rows = [[left, *cells, right] for (left, right), cells in zip(others, faces, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        source = write_text(Path(folder, "in.csv"), ["id", *landmark_columns(), "note"], rows)
        target = Path(folder, "out.csv")
        assert estimate_table(source, target) == (len(rows), len(rows))
        _, before = read_text(source)
        _, after = read_text(target)
    assert [row[:138] for row in after] == before == rows


def test_columns_with_one_name_are_both_kept(tmp_path: Path) -> None:
    rows = [["1", *cells, "2"] for cells in real_faces(1)]
    source = write_text(tmp_path / "in.csv", ["note", *landmark_columns(), "note"], rows)
    estimate_table(source, tmp_path / "out.csv")
    header, after = read_text(tmp_path / "out.csv")
    assert (header[0], header[137]) == ("note", "note")
    assert (after[0][0], after[0][137]) == ("1", "2")


@pytest.mark.parametrize("empty", ["", "NA", "nan", "NaN"])
def test_a_row_without_a_face_has_empty_cells_and_no_effect(empty: str, tmp_path: Path) -> None:
    faces = real_faces(3)
    alone = estimate_pose(pd.DataFrame(np.array(faces, float), columns=landmark_columns()))
    faces[1] = [empty] * 136
    source = write_text(tmp_path / "in.csv", landmark_columns(), faces)
    assert estimate_table(source, tmp_path / "out.csv") == (3, 2)
    _, rows = read_text(tmp_path / "out.csv")
    assert rows[1] == [empty] * 136 + [""] * 6
    for row in (0, 2):
        pose = np.array(rows[row][136:139], np.float32)
        # Batches of three and two rows are summed in another order.
        np.testing.assert_allclose(pose, alone.loc[row, ANGLES].to_numpy("f4"), atol=1e-5)


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_a_table_with_no_rows_gets_its_columns(source: str, target: str, tmp_path: Path) -> None:
    columns = ["id", *landmark_columns()]
    write_all(pd.DataFrame(columns=columns, dtype="float32"), tmp_path / source)
    assert estimate_table(tmp_path / source, tmp_path / target) == (0, 0)
    after = read_all(tmp_path / target)
    assert (len(after), after.columns.tolist()) == (0, [*columns, *POSE])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("last", [True, False])
def test_every_cell_of_a_csv_stays(
    mark: str, end: str, last: bool, tmp_path: Path, small_batches: None
) -> None:
    notes = ["plain", '"a, ""b"" c"', '"two\r\nlines"', " spaced ", "007", '5" disk', "\xe4", ""]
    header = ",".join(['"id, or so"', *landmark_columns(), "note"])
    faces = real_faces(len(notes))
    lines = [",".join(["1.10", *face, note]) for face, note in zip(faces, notes, strict=True)]
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes((mark + end.join([header, *lines]) + (end if last else "")).encode())
    assert estimate_table(source, target) == (len(notes), len(notes))
    after, rows = read_text(target)
    assert after == ["id, or so", *landmark_columns(), "note", *POSE]
    said = ["plain", 'a, "b" c', "two\r\nlines", *notes[3:]]
    cells = [["1.10", *face, note] for face, note in zip(faces, said, strict=True)]
    assert [row[:-6] for row in rows] == cells


def test_a_column_of_a_csv_keeps_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    (face,) = real_faces(1)
    lines = [",".join([*landmark_columns(), "name"]).encode(), ",".join(face).encode() + b",Zo\xeb"]
    (tmp_path / "in.csv").write_bytes(b"\n".join(lines) + b"\n")
    assert estimate_table(tmp_path / "in.csv", tmp_path / "out.csv") == (1, 1)
    assert (tmp_path / "out.csv").read_bytes().splitlines()[1].startswith(lines[1] + b",")


def parquet_of_every_type(rows: int = 40) -> pa.Table:
    numbers = range(rows)
    table = pa.table(
        {
            "count": pa.array([n if n % 3 else None for n in numbers], pa.int16()),
            "small": pa.array(numbers, pa.uint8()),
            "half": pa.array(np.arange(rows, dtype=np.float16)),
            "nan": pa.array([float("nan") if n % 2 else -0.0 for n in numbers]),
            "none": pa.nulls(rows),
            "ok": pa.array([True, None] * (rows // 2)),
            "price": pa.array([Decimal("1.10")] * rows, pa.decimal128(10, 2)),
            "when": pa.array([n * 10**15 for n in numbers], pa.timestamp("us", tz="UTC")),
            "moment": pa.array([n * 10**9 + 1 for n in numbers], pa.timestamp("ns")),
            "day": pa.array(numbers, pa.date32()),
            "hour": pa.array(numbers, pa.time64("us")),
            "length": pa.array(numbers, pa.duration("ms")),
            "text": ["12" if n % 2 else "" for n in numbers],
            "long": pa.array(["x" * n for n in numbers], pa.large_string()),
            "bytes": pa.array([bytes([n]) for n in numbers]),
            "hash": pa.array([bytes([n] * 4) for n in numbers], pa.binary(4)),
            # Another dictionary in each row group.
            "subject": pa.array([f"00{n // 7}" if n % 5 else None for n in numbers]),
            "grade": pa.DictionaryArray.from_arrays(
                pa.array([n % 3 for n in numbers], pa.int8()), ["a", "b", "c"], ordered=True
            ),
            "boxes": pa.array([[1.5] * (n % 3) if n % 4 else None for n in numbers]),
            "pair": pa.array([[n, 1] for n in numbers], pa.list_(pa.int16(), 2)),
            "faces": pa.array([[{"id": n, "name": "a"}] for n in numbers]),
            "tags": pa.array([[("k", n)] for n in numbers], pa.map_(pa.string(), pa.int32())),
        },
        metadata={"study": "one"},
    )
    place = table.column_names.index("subject")
    table = table.set_column(place, "subject", table["subject"].dictionary_encode())
    unit = pa.field("x_0", pa.float64(), nullable=False, metadata={"unit": "px"})
    faces = np.array(real_faces(rows), np.float64)
    for place, name in enumerate(landmark_columns()):
        table = table.append_column(unit.with_name(name), pa.array(faces[:, place]))
    return table


def same_values(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    """Equal, NaN to NaN and whatever the dictionaries."""
    if pa.types.is_dictionary(left.type):
        left, right = (side.cast(left.type.value_type) for side in (left, right))
    if pa.types.is_float64(left.type):
        left, right = (side.combine_chunks().view(pa.int64()) for side in (left, right))
    return bool(left.equals(right))


def test_parquet_keeps_types_values_and_metadata(tmp_path: Path, small_batches: None) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(parquet_of_every_type(), source, row_group_size=10)
    assert estimate_table(source, target) == (40, 40)
    before, after = pq.read_table(source), pq.read_table(target)
    assert after.column_names == [*before.column_names, *POSE]
    metadata = after.schema.metadata
    assert metadata.pop(b"PANDAS_ATTRS")  # the tag of the pose
    kept = after.select(before.column_names).replace_schema_metadata(metadata)
    assert kept.schema.equals(before.schema, check_metadata=True)
    for name in before.column_names:
        assert same_values(kept[name], before[name]), name
    assert all(after.schema.field(name).type == pa.float32() for name in POSE)
    assert after["X"].null_count == 40  # not known, and not a number that is NaN


def test_parquet_keeps_the_index_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.array(real_faces(2), float), columns=landmark_columns())
    frame.index = pd.Index(["a", "b"], name="clip")
    frame.attrs = {"study": "one"}
    frame.to_parquet(tmp_path / "in.parquet")
    estimate_table(tmp_path / "in.parquet", tmp_path / "out.parquet")
    after = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(after[landmark_columns()], frame)
    assert after.attrs["study"] == "one"
    assert after.attrs["feat_pose"]["convention"] == "feat"
    estimate_table(tmp_path / "in.parquet", tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["clip"].tolist() == ["a", "b"]


def test_from_csv_to_parquet_numbers_become_numbers_and_codes_stay_text(tmp_path: Path) -> None:
    header = ["id", "n", "score", "word", *landmark_columns()]
    others = [["007", "1", " 0.5", "a"], ["12", "NA", "2", "NA"]]
    faces = real_faces(2)
    rows = [[*left, *cells] for left, cells in zip(others, faces, strict=True)]
    source = write_text(tmp_path / "in.csv", header, rows)
    estimate_table(source, tmp_path / "out.parquet")
    after = pq.read_table(tmp_path / "out.parquet")
    assert after["id"].to_pylist() == ["007", "12"]
    assert after["n"].to_pylist() == [1, None]
    assert after["score"].to_pylist() == [0.5, 2.0]
    assert after["word"].to_pylist() == ["a", "NA"]
    assert after["x_0"].to_pylist() == [float(cells[0]) for cells in faces]


def test_from_csv_to_parquet_a_column_is_what_all_of_its_cells_are(
    tmp_path: Path, small_batches: None
) -> None:
    firsts = {"whole": "1", "part": "1", "word": "1", "code": "1", "none": ""}
    lasts = {"whole": "2", "part": "0.5", "word": "x", "code": "02", "none": "NA"}
    rows = [[*firsts.values(), *face] for face in real_faces(30)]
    rows[-1][:5] = lasts.values()
    source = write_text(tmp_path / "in.csv", [*firsts, *landmark_columns()], rows)
    assert estimate_table(source, tmp_path / "out.parquet") == (30, 30)
    after = pq.read_table(tmp_path / "out.parquet")
    assert [after[name][29].as_py() for name in firsts] == [2, 0.5, "x", "02", None]
    assert [after[name][0].as_py() for name in firsts] == [1, 1.0, "1", "1", None]
    kinds = [after.schema.field(name).type for name in firsts]
    assert kinds == [pa.int64(), pa.float64(), pa.string(), pa.string(), pa.int64()]


def test_from_parquet_to_csv_values_stay(tmp_path: Path, small_batches: None) -> None:
    before = parquet_of_every_type().append_column(
        "note", [['a, "b"', "two\nlines", "\r", "", None] * 8]
    )
    pq.write_table(before, tmp_path / "in.parquet", row_group_size=10)
    estimate_table(tmp_path / "in.parquet", tmp_path / "out.csv")
    header, rows = read_text(tmp_path / "out.csv")
    assert header == [*before.column_names, *POSE]
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    for name in ("count", "note", "subject", "text", "price", "day"):
        values = before[name].to_pylist()
        assert [row[name] for row in cells] == ["" if v is None else str(v) for v in values]
    assert [float(row["x_0"]) for row in cells] == before["x_0"].to_pylist()
    assert cells[1]["boxes"] == "[1.5]"
    assert cells[1]["when"].startswith("2001-09-09 01:46:40")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_among_the_numbers_names_file_row_and_column(
    suffix: str, tmp_path: Path, small_batches: None
) -> None:
    faces = real_faces(30)
    faces[0] = [""] * 136
    faces[1][3] = " NA"  # not a number, and no text either
    faces[22][70] = "12o.5"
    source = tmp_path / f"in{suffix}"
    write_all(pd.DataFrame(faces, columns=landmark_columns()), source)
    with pytest.raises(LandmarkError) as raised:
        estimate_table(source, tmp_path / "out.csv")
    for part in (str(source), "row 22 of column 'y_2'", "'12o.5'"):
        assert part in str(raised.value)
    assert [*tmp_path.iterdir()] == [source]


@pytest.mark.parametrize("damage", ["none of the kind", "cut off", "in the middle"])
def test_a_damaged_parquet_is_refused(damage: str, tmp_path: Path, small_batches: None) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(parquet_of_every_type(), source, row_group_size=10, compression="gzip")
    content = source.read_bytes()
    half = len(content) // 2
    damaged = {
        "none of the kind": b"PAR1 nothing of the kind",
        "cut off": content[:-100],
        "in the middle": content[:half] + bytes(2000) + content[half + 2000 :],
    }
    source.write_bytes(damaged[damage])
    with pytest.raises(TableError, match=f"{source} cannot be read as Parquet"):
        estimate_table(source, tmp_path / "out.parquet")
    assert [*tmp_path.iterdir()] == [source]


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_rows_of_many_batches_stay_in_order(
    source: str, target: str, tmp_path: Path, small_batches: None
) -> None:
    faces = pd.DataFrame(np.array(real_faces(40), float), columns=landmark_columns())
    faces.insert(0, "id", range(40))
    faces.loc[[0, 13, 39], "x_5"] = np.nan
    write_all(faces, tmp_path / source)
    assert estimate_table(tmp_path / source, tmp_path / target) == (40, 37)
    after = read_all(tmp_path / target)
    assert after["id"].tolist() == faces["id"].tolist()
    # Batches of another size are summed in another order.
    np.testing.assert_allclose(after[ANGLES], estimate_pose(faces)[ANGLES], atol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_function_may_put_other_columns_in_the_place_of_those_it_reads(
    suffix: str, tmp_path: Path, small_batches: None
) -> None:
    table = pd.DataFrame({"a": range(900), " old ": 0.5, "b": "x, y", "new": 1, "older": 2})
    if suffix == ".parquet":
        table.attrs = {"unit": "rad"}
    source, target = write_all(table, tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    seen, told = [], []

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        assert frame.attrs == table.attrs
        seen.append(frame)
        old = frame[" old "] + frame.index
        late = old.astype(str).astype(object).where(frame.index >= 500, None)  # none in the first
        answer = pd.DataFrame({"new": old, "newer": late})
        answer.attrs = {"unit": "deg"}
        return answer

    rows = stream_table(
        source,
        target,
        function,
        reads=lambda names: [name for name in names if name.startswith("old")],
        keep_read=False,
        progress=lambda *step: told.append(step),
    )
    frame = pd.concat(seen)
    assert len(seen) > 2
    assert frame.columns.tolist() == [" old ", "older"]
    assert frame.index.tolist() == list(range(900))
    after = read_all(target)
    assert after.columns.tolist() == ["a", "newer", "b", "new"]
    assert after["a"].tolist() == list(range(900))
    assert (after["b"] == "x, y").all()
    assert after["new"].tolist() == (0.5 + np.arange(900)).tolist()
    assert after["newer"].isna().tolist() == [n < 500 for n in range(900)]
    assert after.attrs == ({} if suffix == ".csv" else {"unit": "deg"})
    assert rows == sum(rows for rows, _ in told) == 900
    size = source.stat().st_size
    assert sum(part for _, part in told) == pytest.approx(size, abs=len(",".join(table)) + 2)


def test_long_rows_go_through_a_few_at_a_time(tmp_path: Path) -> None:
    table = pa.table({"a": range(40), "picture": [bytes(4 << 20)] * 40})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=False)
    batches = []

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        batches.append(len(frame))
        return frame.assign(b=1)

    stream_table(
        tmp_path / "in.parquet", tmp_path / "out.parquet", function, reads=lambda names: ["a"]
    )
    assert sum(batches) == 40
    assert max(batches) <= 16  # 64 MiB


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_error_of_the_function_names_the_table_and_leaves_nothing(
    suffix: str, tmp_path: Path, small_batches: None
) -> None:
    source = tmp_path / f"in{suffix}"
    faces = pd.DataFrame(np.array(real_faces(30), float), columns=landmark_columns())
    write_all(faces, source)

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        if frame.index[-1] > 20:
            raise LandmarkError("no nose")
        return estimate_pose(frame)

    threads = threading.active_count()
    with (
        pytest.raises(LandmarkError, match=f"^{source}: no nose$"),
        write_whole(tmp_path / f"out{suffix}") as part,
    ):
        stream_table(source, part, function, reads=list)
    assert [*tmp_path.iterdir()] == [source]
    assert threading.active_count() == threads
