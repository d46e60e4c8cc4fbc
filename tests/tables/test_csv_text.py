"""CSV as text: its rows and cells are those that Arrow reads, and no byte is lost."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feat_pose_plugin.tables import csv_text
from feat_pose_plugin.tables.csv_text import open_csv_text, parse_cells, quote_cells, split_cells

# Few characters, so that quotes, commas and line ends meet in every way.
TEXT = st.text(st.sampled_from('ab,,"""\n\r ä'), max_size=24)
BLOCKS = st.sampled_from([1, 2, 3, 5, 1000])


def read(path: Path, text: str, block: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What comes before the first row, and all lines."""
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "_BLOCK", block)
        with open_csv_text(path) as opened:
            lines = [line for lines in opened.blocks for line in lines]
            return opened.start, [opened.header, *lines]


def arrow_rows(text: bytes, width: int) -> list[tuple[str, ...]] | None:
    """The rows as Arrow reads them, None if it does not."""
    try:
        table = parse_cells([(text, b"")], width, dict.fromkeys(range(width), pa.string()))
    except pa.ArrowInvalid:
        return None
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@given(text=TEXT, block=BLOCKS)
def test_rows_and_cells_are_those_that_arrow_reads(
    text: str, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    try:
        start, lines = read(path, text, block)
    except ValueError:  # Arrow closes the last quote itself, to which nothing can be appended
        return
    assert start + b"".join(map(b"".join, lines)) == text.encode()
    widths = {len(split_cells(row)) for row, _ in lines}
    expected = arrow_rows(text.encode(), max(widths))
    if len(widths) > 1:
        assert expected is None
        return
    single = [arrow_rows(row, max(widths)) for row, _ in lines]
    assert [row for rows in single for row in rows or []] == expected


@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=4), block=BLOCKS)
def test_rows_that_python_writes_are_told_apart(
    rows: list[list[str]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    _, lines = read(path, path.read_bytes().decode(), block)
    assert {end for _, end in lines} == {b"\r\n"}
    assert [arrow_rows(row, 3) for row, _ in lines] == [[tuple(row)] for row in rows]


@given(texts=st.lists(TEXT, min_size=1, max_size=5))
def test_quoted_cells_are_read_back(texts: list[str]) -> None:
    cells = quote_cells(pa.array(texts))
    row = ",".join(["x", *cells.to_pylist()])
    assert arrow_rows(row.encode(), len(texts) + 1) == [("x", *texts)]


def test_a_missing_text_is_an_empty_cell_and_plain_text_has_no_quotes() -> None:
    assert quote_cells(pa.array([None, "", "a b", "a,b"])).to_pylist() == ["", "", "a b", '"a,b"']


def test_what_comes_before_the_header_is_kept(tmp_path: Path) -> None:
    start, lines = read(tmp_path / "a.csv", "\ufeff\n\r\na,b\n\n1,2", 1000)
    assert start == b"\xef\xbb\xbf\n\r\n"
    assert lines == [(b"a,b", b"\n\n"), (b"1,2", b"")]


@pytest.mark.parametrize("text", ["", "\ufeff", "\n\n"])
def test_a_file_without_a_row_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is empty"):
        read(tmp_path / "a.csv", text, 1000)


@pytest.mark.parametrize("text", ['a,b\n1,"2\n', '"a', 'a,b\n1,"2""'])
@pytest.mark.parametrize("block", [2, 1000])
def test_a_quote_that_is_not_closed_is_refused(text: str, block: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a quote is not closed"):
        read(tmp_path / "a.csv", text, block)


def test_a_quote_that_is_not_closed_does_not_read_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_text, "_LONGEST_ROW", 500)
    text = "a,b\n" + 'x,"y\n' + "1,2\n" * 1000
    with pytest.raises(ValueError, match="longer than 500 bytes; is a quote not closed"):
        read(tmp_path / "a.csv", text, 100)


@pytest.mark.parametrize("first", [b"", b"a,b\n"])
def test_a_byte_order_mark_inside_of_a_file_is_part_of_a_cell(first: bytes) -> None:
    """As where two files were put together."""
    text = first + b"\xef\xbb\xbf1,2\n"
    rows = arrow_rows(text, 2)
    assert rows is not None
    assert rows[-1] == ("\ufeff1", "2")
