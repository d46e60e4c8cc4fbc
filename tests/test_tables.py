"""Tables in, tables out: what is kept, what is added, what is refused."""

from __future__ import annotations

import csv
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose, get_pose_backend, tables
from feat_pose_plugin.backend import FrameSize
from feat_pose_plugin.demo import find_demo_tables
from feat_pose_plugin.errors import LandmarkError, TableError
from feat_pose_plugin.estimate import PoseEstimator
from feat_pose_plugin.landmarks import landmark_columns
from feat_pose_plugin.tables import Estimated, plan_outputs, read_table, write_table

POSE = FEAT_FACEPOSE_COLUMNS_6D
TABLES = {path.name: path for path in find_demo_tables()}
NAMES = [*TABLES]
ANGLES = ["Pitch", "Roll", "Yaw"]


def estimate_table(
    source: Path, target: Path, *, frame_size: FrameSize | None = None, **options: str
) -> Estimated:
    backend = get_pose_backend("pose_mlp_synth")
    estimator = PoseEstimator(backend=backend, **options)  # type: ignore[arg-type]
    return tables.estimate_table(source, target, estimator, frame_size=frame_size)


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
    target = (tmp_path / name).with_suffix(suffix)
    options = {"convention": "300w-lp", "landmark_type": "3d", "frame_size": (480, 640)}
    estimate_table(TABLES[name], target, **options)
    written = pd.read_csv(target) if suffix == ".csv" else pd.read_parquet(target)
    expected = estimate_pose(pd.read_csv(TABLES[name]), **options)
    # Text of float32 in its shortest form comes back as the same float32.
    np.testing.assert_array_equal(written[POSE].to_numpy("f4"), expected[POSE].to_numpy("f4"))


def test_lines_end_as_they_do_elsewhere(tmp_path: Path) -> None:
    estimate_table(TABLES["001.csv"], tmp_path / "out.csv")
    assert b"\r" not in (tmp_path / "out.csv").read_bytes()


def test_openface_yaw_and_roll_follow_its_own_pose(tmp_path: Path) -> None:
    """In OpenFace's own convention, Euler angles.

    The head in this video rolls by less than one degree while it yaws by four and is pitched by 20.
    A rotation vector has half as much again of that yaw in its roll: that of OpenFace's own
    rotations correlates at only 0.91 with ``pose_Rz``.
    """
    target = tmp_path / "out.csv"
    estimate_table(TABLES["OpenFace_Test.csv"], target, convention="openface")
    table = pd.read_csv(target, skipinitialspace=True)
    assert np.corrcoef(table["Yaw"], table["pose_Ry"])[0, 1] > 0.95
    assert np.corrcoef(table["Roll"], table["pose_Rz"])[0, 1] > 0.95
    estimate_table(TABLES["OpenFace_Test.csv"], tmp_path / "feat.csv")
    feat = pd.read_csv(tmp_path / "feat.csv", skipinitialspace=True)
    assert np.corrcoef(feat["Yaw"], table["pose_Ry"])[0, 1] > 0.95
    assert np.corrcoef(feat["Roll"], table["pose_Rz"])[0, 1] < -0.8


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


def test_cells_of_many_lines_stay_whole_in_a_long_table(tmp_path: Path) -> None:
    # Longer than one block of the reader (1 MiB), and every block ends inside some note.
    (face,) = real_faces(1)
    rows = [[*face, f"{number}\n" * 1000] for number in range(600)]
    source = write_text(tmp_path / "in.csv", [*landmark_columns(), "note"], rows)
    assert estimate_table(source, tmp_path / "out.csv") == (600, 600)
    _, after = read_text(tmp_path / "out.csv")
    assert [row[136] for row in after] == [row[136] for row in rows]


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


def test_a_table_with_no_rows_gets_its_columns(tmp_path: Path) -> None:
    source = write_text(tmp_path / "in.csv", ["id", *landmark_columns()], [])
    assert estimate_table(source, tmp_path / "out.csv") == (0, 0)
    assert read_text(tmp_path / "out.csv") == (["id", *landmark_columns(), *POSE], [])


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    lines = [",".join(["id", *landmark_columns()]), ",".join(["7", *real_faces(1)[0]])]
    source = tmp_path / "in.csv"
    source.write_bytes("\r\n".join(["\ufeff" + lines[0], lines[1], ""]).encode())
    estimate_table(source, tmp_path / "out.csv")
    header, rows = read_text(tmp_path / "out.csv")
    assert (header[0], rows[0][0]) == ("id", "7")


def parquet_of_every_type() -> pa.Table:
    faces = np.array(real_faces(2), np.float64)
    others = pa.table(
        {
            "count": pa.array([1, None], pa.int16()),
            "when": pa.array([0, 10**15], pa.timestamp("us", tz="UTC")),
            "subject": pa.array(["007", None]).dictionary_encode(),
            "boxes": pa.array([[1.5, 2.5], []], pa.list_(pa.float32())),
            "ok": pa.array([True, None]),
            "text": ["12", ""],
        },
        metadata={"study": "one"},
    )
    for place, name in enumerate(landmark_columns()):
        others = others.append_column(name, pa.array(faces[:, place]))
    return others


def test_parquet_keeps_types_values_and_metadata(tmp_path: Path) -> None:
    pq.write_table(parquet_of_every_type(), tmp_path / "in.parquet")
    assert estimate_table(tmp_path / "in.parquet", tmp_path / "out.parquet") == (2, 2)
    table = pq.read_table(tmp_path / "in.parquet")
    after = pq.read_table(tmp_path / "out.parquet")
    kept = after.select(table.column_names)
    metadata = kept.schema.metadata
    assert metadata.pop(b"PANDAS_ATTRS")  # the tag of the pose
    kept = kept.replace_schema_metadata(metadata)
    assert kept.equals(table, check_metadata=True)
    assert after.column_names == [*table.column_names, *POSE]
    assert all(after.schema.field(name).type == pa.float32() for name in POSE)
    assert after["X"].null_count == 2  # not known, and not a number that is NaN


def test_parquet_keeps_the_index_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.array(real_faces(2), float), columns=landmark_columns())
    frame.index = pd.Index(["a", "b"], name="clip")
    frame.to_parquet(tmp_path / "in.parquet")
    estimate_table(tmp_path / "in.parquet", tmp_path / "out.parquet")
    after = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(after[landmark_columns()], frame)
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


def test_from_parquet_to_csv_values_stay(tmp_path: Path) -> None:
    pq.write_table(parquet_of_every_type(), tmp_path / "in.parquet")
    estimate_table(tmp_path / "in.parquet", tmp_path / "out.csv")
    header, rows = read_text(tmp_path / "out.csv")
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["count"] for row in cells] == ["1", ""]
    assert [row["subject"] for row in cells] == ["007", ""]
    assert [row["text"] for row in cells] == ["12", ""]
    assert [float(row["x_0"]) for row in cells] == [float(face[0]) for face in real_faces(2)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_among_the_numbers_names_file_row_and_column(suffix: str, tmp_path: Path) -> None:
    faces = real_faces(4)
    faces[0] = [""] * 136
    faces[2][70] = "12o.5"
    source = tmp_path / f"in{suffix}"
    if suffix == ".csv":
        write_text(source, landmark_columns(), faces)
    else:
        columns = [list(column) for column in zip(*faces, strict=True)]
        pq.write_table(pa.table(dict(zip(landmark_columns(), columns, strict=True))), source)
    with pytest.raises(LandmarkError) as raised:
        estimate_table(source, tmp_path / "out.csv")
    for part in (str(source), "row 2", "'y_2'", "'12o.5'"):
        assert part in str(raised.value)
    assert [*tmp_path.iterdir()] == [source]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b"a,b\n\xff\xfe,2\n",
        b'a,b\n"1,2\n',
        b"PAR1 nothing of the kind",
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_damaged_tables_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"in{suffix}"
    source.write_bytes(content)
    # One line with one name is a sound CSV, though without landmarks.
    with pytest.raises((TableError, LandmarkError), match=str(source)):
        estimate_table(source, tmp_path / "out.csv")
    assert [*tmp_path.iterdir()] == [source]


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(parquet_of_every_type(), source)
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        read_table(source)


@pytest.mark.parametrize("name", ["OpenFace_Test.csv", "002.csv"])
def test_part_of_the_landmarks_is_refused(name: str, tmp_path: Path) -> None:
    header, rows = read_text(TABLES[name])
    place = [column.strip() for column in header].index("y_40")
    for row in (header, *rows):
        del row[place]
    source = write_text(tmp_path / "in.csv", header, rows)
    with pytest.raises(LandmarkError, match=r"only part of the landmarks.*'y_40'"):
        estimate_table(source, tmp_path / "out.csv")


def test_plan_gives_each_input_its_output(tmp_path: Path) -> None:
    sources = [TABLES["001.csv"], TABLES["002.csv"]]
    assert plan_outputs(sources, tmp_path) == [
        (sources[0], tmp_path / "001.csv"),
        (sources[1], tmp_path / "002.csv"),
    ]
    assert plan_outputs(sources[:1], tmp_path / "o.parquet") == [
        (sources[0], tmp_path / "o.parquet")
    ]


def test_plan_refuses_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    good = TABLES["001.csv"]
    taken = tmp_path / "taken.csv"
    taken.write_text("precious")
    (tmp_path / "001.csv").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "001.csv").write_bytes(good.read_bytes())
    image = good.with_name("single_face.jpg")
    cases = [
        ([tmp_path / "no.csv"], tmp_path / "o.csv", "no.csv does not exist"),
        ([tmp_path / "001.csv"], tmp_path / "o.csv", "001.csv is no file"),
        ([image], tmp_path / "o.csv", "single_face.jpg must end in"),
        ([good], tmp_path / "o.txt", "o.txt must end in"),
        ([good], tmp_path / "no" / "o.csv", "folder of the output .* does not exist"),
        ([good, TABLES["002.csv"]], tmp_path / "o.csv", "2 tables need an existing folder"),
        ([good, tmp_path / "a" / "001.csv"], tmp_path / "a", "is the input|exists"),
        ([good], taken, "taken.csv exists.*--force"),
        ([taken], taken, "is the input itself"),
        ([good], tmp_path, "exists and is no file"),
    ]
    for sources, output, message in cases:
        with pytest.raises(TableError, match=message):
            plan_outputs(sources, output)
    # What --force may not do either.
    for sources, output, message in [*cases[:6], cases[9]]:
        with pytest.raises(TableError, match=message):
            plan_outputs(sources, output, force=True)
    with pytest.raises(TableError, match="would both become"):
        plan_outputs([good, tmp_path / "a" / "001.csv"], tmp_path / "a", force=True)
    assert plan_outputs([good], taken, force=True) == [(good, taken)]
    assert plan_outputs([taken], taken, force=True) == [(taken, taken)]


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A real file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_leaves_the_old_output_and_nothing_else(suffix: str, small_disk: Path) -> None:
    target = small_disk / f"out{suffix}"
    target.write_text("precious")
    with pytest.raises(TableError, match="No space left"):
        estimate_table(TABLES["OpenFace_Test.csv"], target)  # 330 KiB, and hard to compress
    assert target.read_text() == "precious"
    assert [*small_disk.iterdir()] == [target]


def test_writing_into_a_missing_folder_is_a_table_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="could not be written"):
        write_table(pa.table({"a": [1]}), tmp_path / "no" / "out.csv")
