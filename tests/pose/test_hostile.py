"""Input from strangers: a right answer or an error of ours, and nothing else.

The checks of ``tests/fuzz`` on a few inputs each, and by name what they have found.
"""

from __future__ import annotations

import decimal
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import table_of
from fuzz.common import FACE, estimate_file, known_pose, scratch
from fuzz.targets import SEEDS, TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose, estimate_pose
from feat_pose_plugin.errors import (
    ConventionError,
    FeatPoseError,
    FrameSizeError,
    LandmarkError,
    TableError,
    WeightsError,
)
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.show.heads import BOX_COLUMNS
from feat_pose_plugin.show.overlay import draw_poses
from feat_pose_plugin.show.plots import plot_time_lines
from feat_pose_plugin.show.poses import in_feat
from feat_pose_plugin.tables.frames import frame_numbers
from feat_pose_plugin.tables.journal import JOURNAL, Journal
from feat_pose_plugin.tables.pose_tables import convert_table
from feat_pose_plugin.tables.stream import read_table

ANGLES = FEAT_FACEPOSE_COLUMNS_6D[:3]


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    yield
    shutil.rmtree(scratch())
    scratch.cache_clear()


@pytest.mark.parametrize("target", TARGETS)
def test_any_input_ends_in_a_right_answer_or_an_error_of_ours(target: str) -> None:
    seeds = SEEDS[target]

    @settings(max_examples=80)
    @given(st.sampled_from(seeds), st.integers(0, 12), st.binary(max_size=12))
    def check(seed: bytes, place: int, other: bytes) -> None:
        TARGETS[target](seed[:place] + other + seed[place + len(other) // 2 :])

    for seed in seeds[:40]:
        TARGETS[target](seed)
    check()


# Landmarks


def table(rows: int = 2) -> pd.DataFrame:
    return table_of(FACE[None].repeat(rows, 1, 1))


def test_a_masked_coordinate_and_a_number_beyond_all_floats_are_missing() -> None:
    faces = np.ma.array(FACE.numpy()[None].repeat(2, 0).astype(int))
    faces[0, 5, 1] = np.ma.masked
    odd = table()
    odd["y_3"] = pd.Series([10**400, odd["y_3"][0]], dtype=object)
    for source in (faces, odd):
        pose = estimate_pose(source)[ANGLES].to_numpy()
        assert np.isnan(pose[0]).all()
        np.testing.assert_allclose(pose[1], known_pose(), atol=1e-5)


class WithColumns:
    columns = 5


@pytest.mark.parametrize(
    "source", [WithColumns(), pd.DataFrame, pa.table({"x_0": [1.0]}), [[1]], {}]
)
def test_what_is_no_table_is_refused_by_its_type(source: object) -> None:
    with pytest.raises(LandmarkError, match=r"or a result of MediaPipe, got \w+\."):
        estimate_pose(source)  # type: ignore[call-overload]


@pytest.mark.parametrize("cell", [[1.0], {}, decimal.Decimal("sNaN"), 1j, "\ud800", "12o"])
def test_a_cell_that_is_no_number_is_refused(cell: object) -> None:
    odd = table()
    odd["y_3"] = pd.Series([odd["y_3"][0], cell], dtype=object)
    with pytest.raises(LandmarkError, match="row 1 of column 'y_3'"):
        estimate_pose(odd)


def test_frame_sizes_of_a_table_may_be_beyond_float32() -> None:
    sizes = {" FrameHeight": 480.0, "FrameWidth ": [640.0, 1e300]}
    pose = estimate_pose(table().assign(**sizes))
    assert pose["Z"].notna().tolist() == [True, False]


# Tables


def pose_file(path: Path, **metadata: str) -> Path:
    columns = pa.table({name: [0.1, 0.2, 0.3] for name in ANGLES})
    names = {key.encode(): value.encode() for key, value in metadata.items()}
    pq.write_table(columns.replace_schema_metadata(names), path, compression="none")
    return path


def test_parquet_with_any_byte_of_its_footer_changed_keeps_its_rows_or_is_refused(
    tmp_path: Path,
) -> None:
    content = pose_file(tmp_path / "in.parquet").read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(footer, len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "in.parquet").write_bytes(changed)
        target = tmp_path / "out.parquet"
        try:
            rows = convert_table(tmp_path / "in.parquet", target, "feat", "img2pose")
        except FeatPoseError:
            assert not target.exists()
            continue
        assert rows == len(pq.ParquetFile(target).read(use_threads=False))
        target.unlink()


@pytest.mark.parametrize("row", [0, 1])
def test_a_second_byte_order_mark_is_no_number(row: int, tmp_path: Path) -> None:
    lines = [",".join(ANGLES).encode(), b"0.1,0.2,0.3", b"0.1,0.2,0.3"]
    lines[row + 1] = b"\xef\xbb\xbf" + lines[row + 1]
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    with pytest.raises(FeatPoseError, match=r"'.ufeff0.*which is not a number"):
        convert_table(tmp_path / "in.csv", tmp_path / "out.csv", "feat", "img2pose")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_damage_to_a_page_of_our_own_is_noticed(tmp_path: Path) -> None:
    written = tmp_path / "pose.parquet"
    values = np.linspace(-1, 1, 1000)
    pq.write_table(pa.table(dict.fromkeys(ANGLES, values)), tmp_path / "in.parquet")
    convert_table(tmp_path / "in.parquet", written, "feat", "img2pose")
    content = bytearray(written.read_bytes())
    content[len(content) // 3] ^= 1
    written.write_bytes(content)
    with pytest.raises(TableError, match=f"{written} cannot be read as Parquet"):
        convert_table(written, tmp_path / "again.parquet", "img2pose", "feat")


@pytest.mark.parametrize(
    ("attrs", "error"),
    [
        ("[1]", TableError),
        ("{", TableError),
        ('{"a": 1, "a": 2}', TableError),
        ('{"a":' * 10_000, TableError),
        ('{"feat_pose": 3}', ConventionError),
        ('{"feat_pose": ["feat"]}', ConventionError),
        ('{"feat_pose": {}}', ConventionError),
        ('{"feat_pose": {"convention": []}}', ConventionError),
        ('{"feat_pose": {"convention": "feat", "translation_unit": "mile"}}', ConventionError),
    ],
)
def test_attrs_of_a_parquet_file_that_are_none_are_refused(
    attrs: str, error: type[FeatPoseError], tmp_path: Path
) -> None:
    source = pose_file(tmp_path / "in.parquet", PANDAS_ATTRS=attrs)
    with pytest.raises(error, match=str(source)):
        convert_table(source, tmp_path / "out.parquet", "feat", "img2pose")
    assert [*tmp_path.iterdir()] == [source]


POSE = ",".join(FEAT_FACEPOSE_COLUMNS_6D)
ROW = "0.1,0.2,0.3,1,2,3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{POSE}\nabc,0.2,0.3,1,2,3\n", "column 'Pitch' holds '.*', which is not a number"),
        (f"{POSE}\nTrue,0.2,0.3,1,2,3\n", "column 'Pitch' holds '.*', which is not a number"),
        (f"{POSE}\n\0,0.2,0.3,1,2,3\n", "column 'Pitch' holds '.*', which is not a number"),
        (f"{POSE},Pitch\n{ROW},0.4\n", "2 columns 'Pitch', not one"),
        (f"frame,{POSE},frame\n1,{ROW},2\n", "2 columns 'frame', not one"),
        (f"{POSE},Identity,Identity\n{ROW},a,b\n", "2 columns 'Identity', not one"),
        (f"{POSE}\n0.1,0.2\n", "row 0 has 2 cells, the header 6"),
        (f"{POSE}\n{ROW}\n{ROW},9\n", "row 1 has 7 cells, the header 6"),
        (f'{POSE}\n"{ROW}\n', "row 0 has a quote that is not closed"),
        ("", "it is empty"),
        ("a,b\n1,2\n", "the table has no pose in convention 'feat'"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(FeatPoseError, match=message):
        plot_time_lines(read_table(path))
    if "frame" not in text and "Identity" not in text:
        with pytest.raises(FeatPoseError, match=message):
            convert_table(path, tmp_path / "out.csv", "feat", "img2pose")
    assert [*tmp_path.iterdir()] == [path]


def test_what_is_missing_in_a_table_of_objects_is_drawn_as_missing() -> None:
    pose = pd.DataFrame([[0.1] * 6] * 4, columns=FEAT_FACEPOSE_COLUMNS_6D)
    pose["Pitch"] = pd.Series([0.1, None, pd.NA, pd.NaT], dtype=object)
    assert in_feat(pose)["Pitch"].isna().tolist() == [False, True, True, True]


TIMES = pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"]))
NO_NUMBERS = [
    *(TIMES, TIMES - TIMES[0], TIMES.astype("category"), TIMES.dt.to_period("D")),
    *(pd.Series([True, False], dtype=dtype) for dtype in ("bool", "boolean", "complex64")),
]


@pytest.mark.parametrize("column", NO_NUMBERS)
def test_times_and_truth_values_are_read_as_no_number(column: pd.Series) -> None:
    with pytest.raises(LandmarkError, match=r"column 'x_0' is of .*, not of numbers"):
        estimate_pose(table().assign(x_0=column))
    sized = table().assign(FrameHeight=480, FrameWidth=column)
    with pytest.raises(FrameSizeError, match=r"column 'FrameWidth' is of .*, not of numbers"):
        estimate_pose(sized)
    sized.insert(0, "FrameWidth", 1.0, allow_duplicates=True)
    with pytest.raises(FrameSizeError, match="2 columns 'FrameWidth'"):
        estimate_pose(sized)
    pose = pd.DataFrame([[0.1] * 6] * 2, columns=FEAT_FACEPOSE_COLUMNS_6D)
    with pytest.raises(ConventionError, match=r"column 'Yaw' is of .*, not of numbers"):
        convert_pose(pose.assign(Yaw=column), "feat", "img2pose")
    assert frame_numbers(pose.assign(frame=column)) is None


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ("FrameHeight,FrameWidth,FrameWidth", "480,640,640", "2 columns 'FrameWidth', not one"),
        (",".join(BOX_COLUMNS), "1,2,a,4", "row 0 of column 'FaceRectWidth' holds 'a'"),
        ("FaceRectX," + ",".join(BOX_COLUMNS), "1,1,2,3,4", "2 columns 'FaceRectX', not one"),
        ("x_0", "1", "only part of the landmarks"),
    ],
)
def test_a_table_that_does_not_say_where_heads_are_is_refused(
    columns: str, row: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{POSE},{columns}\n{ROW},{row}\n")
    with pytest.raises(FeatPoseError, match=message):
        draw_poses(np.zeros((480, 640, 3), np.uint8), read_table(path))


def test_a_pose_beyond_all_floats_is_no_pose() -> None:
    pose = pd.DataFrame([[0.1] * 6] * 2, columns=FEAT_FACEPOSE_COLUMNS_6D, dtype=object)
    pose.loc[0, "Yaw"] = 10**400
    found = convert_pose(pose, "feat", "300w-lp")
    assert found["Roll"].isna().tolist() == [True, False]


@pytest.mark.parametrize("cell", [1e300, np.inf, np.nan, None, 10**400, 1j, "x", pd.Timestamp(0)])
def test_what_numbers_no_frame_numbers_none(cell: object) -> None:
    frames = pd.DataFrame({"frame": pd.Series([1, cell], dtype=object)})
    np.testing.assert_array_equal(frame_numbers(frames), [1, np.nan])
    assert frame_numbers(frames[1:]) is None
    assert frame_numbers(pd.DataFrame({"frame": ["3", 4]})).tolist() == [3, 4]


def test_a_process_that_ends_soon_after_it_read_a_csv_ends_as_it_should(tmp_path: Path) -> None:
    """A thread of Arrow that still held the text would abort it, every second time."""
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1,2\n")
    code = f"""
from pathlib import Path
from feat_pose_plugin.tables.stream import read_table
print(read_table(Path({str(path)!r}), lambda names: []).shape)
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_csv_with_a_million_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"," * 1_000_000)
    with pytest.raises(TableError, match="more than 65536 columns"):
        estimate_file(tmp_path / "in.csv", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("start", "work"),
    [
        (b'"', 'estimate_file(Path("in.csv"), Path("out.csv"))'),
        pytest.param(
            ",".join(landmark_columns()).encode() + b"\n",
            'estimate_file(Path("in.csv"), Path("out.csv"))',
            marks=pytest.mark.slow,
        ),
        (POSE.encode() + b"\n", 'read_table(Path("in.csv"))'),
    ],
)
def test_a_line_of_a_gigabyte_is_refused_in_bounded_memory(
    start: bytes, work: str, tmp_path: Path
) -> None:
    with (tmp_path / "in.csv").open("wb") as file:
        file.write(start)
        file.truncate(1 << 30)  # of NUL bytes, which take no place on the disk
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from fuzz.common import estimate_file, estimator
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.tables.stream import read_table
estimator()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {work}
except TableError as error:
    assert "longer than" in str(error), error
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 500  # megabytes
    assert len([*tmp_path.iterdir()]) == 1


# Checkpoints


@pytest.mark.parametrize("card", ['{"a": 1, "a": 1}', '{"a":' * 10_000])
def test_a_card_that_says_two_things_or_is_too_deep(card: str, make_checkpoint) -> None:
    path = make_checkpoint(hidden=(4, 3))
    path.with_suffix(".json").write_text(card)
    with pytest.raises(WeightsError, match=f"{path.stem}.json cannot be read as JSON"):
        read_checkpoint(path)


def test_a_checkpoint_of_any_size_is_not_read_whole(make_checkpoint) -> None:
    path = make_checkpoint(hidden=(4, 3))
    os.truncate(path, 1 << 40)
    with pytest.raises(WeightsError, match="it is larger than"):
        read_checkpoint(path)


def test_a_pipe_is_no_checkpoint_and_holds_nobody_up(make_checkpoint) -> None:
    path = make_checkpoint(hidden=(4, 3))
    path.unlink()
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", 'echo x > "$0"', path]) as writer:  # waits for a reader
        with pytest.raises(WeightsError, match="is no file"):
            read_checkpoint(path)
        writer.kill()


# Other JSON


def line(**changes: object) -> str:
    plain = {"output": "a.csv", "output_sha256": "b", "input": "c", "input_sha256": "d"}
    return json.dumps({**plain, "rows": 1, "faces": 1, "made_by": {}, **changes}) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        "[" * 10_000 + "\n",
        '{"output": "a", "output": "b"}\n',
        "[]\n",
        "{}\n",
        line(rows="1"),
        line(other=1),
        line(output=[]),
        "\ufeff" + line(),
        line() + "\n" + line(),
    ],
)
def test_a_journal_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises(TableError, match=JOURNAL):
        Journal(tmp_path)


def test_a_path_in_a_journal_is_never_followed(tmp_path: Path) -> None:
    """Neither for reading nor for writing, as Python itself sees it."""
    folder, victim = tmp_path / "out", tmp_path / "victim.csv"
    folder.mkdir()
    victim.write_text("mine")
    listed = [line(output=path, input=path) for path in ("../victim.csv", str(victim))]
    (folder / JOURNAL).write_text("".join(listed))
    code = f"""
import sys
from pathlib import Path
from feat_pose_plugin.tables.journal import Entry, Journal
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
folder = Path({str(folder)!r})
journal = Journal(folder)
journal.add(Entry("../victim.csv", "b", "c", "d", 1, 1, {{}}))
assert journal.find(folder / "victim.csv") is None
assert journal.find_done(folder / "in.csv", folder / "victim.csv", {{}}) is None
print(any("feat-pose" in path for path in opened), any("victim" in path for path in opened))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True False\n"
    assert victim.read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == [JOURNAL]


def test_a_journal_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / JOURNAL).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TableError, match=f"{JOURNAL} is not a journal .* larger than"):
        Journal(tmp_path)
