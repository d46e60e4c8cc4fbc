"""CSV in every form that tools and spreadsheets write: its cells, or one line that says why not."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feat_pose_plugin import estimate_pose, get_pose_backend
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import FeatPoseError
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables import csv_file
from feat_pose_plugin.tables.cells import CsvForm, to_text
from feat_pose_plugin.tables.csv_file import open_csv
from feat_pose_plugin.tables.stream import read_table

# Few characters, so that quotes, commas and line ends meet in every way.
TEXT = st.text(st.sampled_from('ab,;,"""\n\r ä'), max_size=24)
BLOCKS = st.sampled_from([1, 2, 3, 5, 1000])


def read(path: Path, content: bytes, block: int = 1000) -> list[list[str]]:
    """The header and all rows."""
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_file, "_BLOCK", block)
        file = open_csv(path)
        tables = [table for table, _ in file.batches(range(len(file.names)))]
    columns = [column.to_pylist() for column in pa.concat_tables(tables).columns]
    return [file.names, *map(list, zip(*columns, strict=True))]


@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=4), block=BLOCKS)
def test_rows_that_python_writes_are_read(
    rows: list[list[str]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x", "y", "z"], *rows])
    assert read(path, path.read_bytes(), block) == [["x", "y", "z"], *rows]


@given(
    rows=st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=4),
    form=st.sampled_from([CsvForm(), CsvForm(";", ","), CsvForm("\t")]),
)
def test_rows_that_are_written_are_read_back(
    rows: list[list[str]], form: CsvForm, tmp_path_factory: pytest.TempPathFactory
) -> None:
    columns = [pa.chunked_array([list(cells)]) for cells in zip(*rows, strict=True)]
    text = f"x{form.delimiter}y\n".encode() + to_text(columns, form)
    assert read(tmp_path_factory.getbasetemp() / "back.csv", text)[1:] == rows


def test_a_missing_text_is_an_empty_cell_and_plain_text_has_no_quotes() -> None:
    columns = [pa.chunked_array([[None, "", "a b", "a,b", '"']]), pa.chunked_array([[0.5] * 5])]
    assert to_text(columns, CsvForm()) == b',0.5\n,0.5\na b,0.5\n"a,b",0.5\n"""",0.5\n'
    assert to_text(columns, CsvForm(";", ",")) == b';0,5\n;0,5\na b;0,5\na,b;0,5\n"""";0,5\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"\n\n", "it is empty"),
        (b'"a', "a quote that is not closed"),
        (b'a,b\n1,"2\n', "row 0 has a quote that is not closed"),
        (b'a,b\n1,2\n1,"2""', "row 1 has a quote that is not closed"),
        (b"a,b\n1,2\n\n3\n", "row 1 has 1 cells, the header 2"),
        (b"a,b\n1,2\n3,4\n5,6,7", "row 2 has 3 cells, the header 2"),
        (b"\xff\xe4,b\n1,2\n", "header is neither UTF-8 nor UTF-16"),
        (b"a,b\n6\x96\0,2\n", "cannot be read as CSV: 'utf-8' codec can't decode"),
        (b"a,b\nx,2\n6\x96\0,2\n", "cannot be read as CSV: Invalid UTF8"),
        (b"," * 70_000, "more than 65536 columns"),
        (b"x" * (1 << 20), "longer than 1048576 bytes"),
        (gzip.compress(b"a,b\n1,2\n")[:-9], "ended before"),
    ],
)
@pytest.mark.parametrize("block", [6, 1 << 20])
def test_what_cannot_be_read_is_refused_with_its_row(
    content: bytes, message: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    monkeypatch.setattr(csv_file, "_BLOCK", block)
    with pytest.raises(FeatPoseError, match=message) as raised:
        read_table(path)
    assert len(str(raised.value)) < 400


def test_a_quote_that_is_not_closed_does_not_read_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "_LONGEST_ROW", 500)
    text = b"a,b\n" + b'x,"y\n' + b"1,2\n" * 1000
    with pytest.raises(ValueError, match=r"row 0 has a quote .* longer than 500 bytes"):
        read(tmp_path / "a.csv", text, 100)


@pytest.mark.parametrize("row", [0, 1])
def test_a_byte_order_mark_inside_a_file_is_part_of_a_cell(row: int, tmp_path: Path) -> None:
    """As where two files were put together."""
    lines = ["a,b\n", "1,2\n", "1,2\n"]
    lines[row + 1] = "\ufeff" + lines[row + 1]
    assert read(tmp_path / "a.csv", "".join(lines).encode())[row + 1][0] == "\ufeff1"


def pose_of(content: bytes, tmp_path: Path) -> tuple[bytes, pd.DataFrame]:
    """What is written for a table, and the pose in it."""
    from feat_pose_plugin.tables.pose_tables import estimate_table

    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    estimate_table(source, target, PoseEstimator(backend=get_pose_backend("pose_mlp_synth")))
    return target.read_bytes(), read_table(target)


def test_tables_of_spreadsheets_are_read_and_keep_their_form(tmp_path: Path) -> None:
    table = pd.read_csv(find_demo_tables()[0])[landmark_columns()][:3].round(2).copy()
    ids = ["007", "a, b.mp4", "ä;1"]
    table.insert(0, "id", ids)
    angles = ["Pitch", "Roll", "Yaw"]
    expected = estimate_pose(table)[angles].to_numpy()
    text, comma = table.to_csv(index=False), table.to_csv(index=False, sep=";", decimal=",")
    forms = {
        "semicolon": (table.to_csv(index=False, sep=";").encode(), ";"),
        "decimal comma": (comma.encode(), ";"),
        "tab, decimal comma": (table.to_csv(index=False, sep="\t", decimal=",").encode(), "\t"),
        "sep=, line": (("sep=,\r\n" + text).encode(), ","),
        "sep=; line": (("sep=;\n" + comma).encode("utf-8-sig"), ";"),
        "UTF-16": (text.encode("utf-16"), ","),
        "UTF-16, big endian, no mark": (text.encode("utf-16-be"), ","),
        "UTF-16 of a spreadsheet": (comma.replace(";", "\t").encode("utf-16"), "\t"),
        "byte order mark": (text.encode("utf-8-sig"), ","),
        "gzip": (gzip.compress(text.encode()), ","),
    }
    for name, (content, delimiter) in forms.items():
        written, after = pose_of(content, tmp_path)
        assert written.startswith(delimiter.join(["id", "x_0"]).encode()), name
        np.testing.assert_allclose(after[angles], expected, atol=1e-5, err_msg=name)
        assert [*after["id"][:2]] == ids[:2], name
        if "decimal comma" in name:
            assert f"007{delimiter}{table['x_0'][0]}".replace(".", ",") in written.decode(), name


@pytest.mark.parametrize("content", ["text", "thousands", "header again"])
def test_what_is_no_number_in_a_table_of_a_spreadsheet_is_refused(
    content: str, tmp_path: Path
) -> None:
    table = pd.read_csv(find_demo_tables()[0])[landmark_columns()][:3].round(2).astype(str)
    if content == "text":
        table.loc[1, "x_5"] = "12,5"  # among points
    elif content == "thousands":
        table = table.replace(r"\.", ",", regex=True)
        table.loc[1, "x_5"] = "1.234,5"
    text = table.to_csv(index=False, sep=";")
    text += text if content == "header again" else ""
    row, column = (3, "x_0") if content == "header again" else (1, "x_5")
    with pytest.raises(FeatPoseError, match=f"row {row} of column '{column}' holds") as raised:
        pose_of(text.encode(), tmp_path)
    assert len(str(raised.value)) < 400
