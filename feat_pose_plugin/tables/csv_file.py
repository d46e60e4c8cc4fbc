"""CSV files: how they are written down is found out, and every cell stays the text it is."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow

from feat_pose_plugin.pose.columns import MISSING

_BLOCK = 8 << 20  # bytes; some thousand rows of landmarks
_LONGEST_ROW = 64 << 20  # bytes; a quote that is not closed makes one row of the rest of a file
_LONGEST_HEADER = 1 << 20  # bytes
_MISSING = pa.array(sorted(MISSING))
_MOST_COLUMNS = 1 << 16  # each takes some hundred bytes of memory
_CODE = r"^\s*[+-]?0[0-9xX]"  # 007 is a name, not the number 7

KINDS = (pa.int64(), pa.float64(), pa.string())
"""What a column can be in Parquet, narrowest first."""

# Whole rows. As Arrow reads quotes: one opens a cell only where the cell begins, and two inside of
# it are one.
_ROWS = rb"""
    (?:
        (?: [^"\r\n]++                                          # text
          | (?<! [^%b\r\n] ) " [^"]*+ (?: "" [^"]*+ )*+ (?: " | \Z )  # a quoted cell
          | "                                                   # a quote inside of a cell
        )*+ [\r\n]++
    )*+
"""


@dataclass(frozen=True)
class CsvForm:
    """How a CSV is written down.

    Attributes:
        delimiter: What is between two cells: a comma, a semicolon or a tab.
        decimal: The decimal mark of its numbers, a point or a comma.
    """

    delimiter: str = ","
    decimal: str = "."


@dataclass(frozen=True)
class CsvFile:
    """A CSV file that is being read.

    Attributes:
        form: How it is written down.
        names: Its header.
        batches: Its rows, at least one batch; each cell as its bytes, in UTF-8 unless the file is
            in an encoding that is neither UTF-8 nor UTF-16. To be read once. With each batch, how
            many bytes of the file have been read.
    """

    form: CsvForm
    names: list[str]
    batches: Iterator[tuple[pa.Table, int]]


@contextmanager
def open_csv(path: Path) -> Iterator[CsvFile]:
    """Open a CSV file with a header line.

    Read as they are: commas, semicolons or tabs between cells; points or commas as decimal marks;
    UTF-8 or UTF-16, with or without a byte order mark; gzip; a first line ``sep=;``.

    Args:
        path: The file.

    Yields:
        Its form, its names, and its rows, to be read inside the block.

    Raises:
        ValueError: The file is empty, its header is too long, a row has more or fewer cells than
            the header, or a quote is not closed. From reading the rows, too.
        OSError: The file cannot be read.
    """
    with path.open("rb") as raw:
        zipped = raw.peek(2)[:2] == b"\x1f\x8b"
        file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw
        start = file.read(_LONGEST_HEADER)
        file.seek(0)
        encoding = _find_encoding(start)
        text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(mark)
        if not text.strip("\r\n"):
            raise ValueError("it is empty")
        said = re.match(r'"?sep=(.)"?(\r\n|\r|\n)', text)
        delimiters = said[1] if said else ",;\t"
        headers = [_read_header(text, said.end() if said else 0, each) for each in delimiters]
        names, rows_at = max(headers, key=lambda header: len(header[0]))
        if not names or len(names) > _MOST_COLUMNS:
            raise ValueError(
                f"its header is longer than {_LONGEST_HEADER} bytes, has more than {_MOST_COLUMNS} "
                "columns, or has a quote that is not closed"
            )
        before = text[:rows_at]
        if "\ufffd" in before:
            raise ValueError("its header is neither UTF-8 nor UTF-16")
        delimiter = delimiters[headers.index((names, rows_at))]
        file.seek(len(mark.encode(encoding)) + len(before.encode(encoding)))
        form = CsvForm(delimiter, _find_decimal(text[rows_at:], delimiter))
        batches = _read_batches(file, encoding, len(names), delimiter)
        yield CsvFile(form, names, ((batch, raw.tell()) for batch in batches))


def to_text(columns: list[pa.ChunkedArray], form: CsvForm) -> bytes:
    """Rows of a CSV: quoted where they must be, empty where they are null."""
    cells = [_to_cells(column, form) for column in columns]
    lines = pc.binary_join_element_wise(*cells, form.delimiter.encode())
    return b"\n".join([*lines.to_pylist(), b""])


def to_numbers(
    text: pa.ChunkedArray, decimal: str, kinds: Sequence[pa.DataType] = KINDS[:2]
) -> pa.ChunkedArray:
    """The bytes of text as numbers, missing ones null; as text if a cell says something else.

    Args:
        text: The cells.
        decimal: The decimal mark.
        kinds: What they may be; the first that all of them are is taken.
    """
    text = text.cast(pa.string())
    if decimal == ",":
        text = pc.replace_substring_regex(text, r"^(\s*[+-]?\d*),(\d\S*\s*)$", r"\1.\2")
    numbers = _cast(text, kinds)  # most columns need no copy without spaces and marks
    if numbers is None:
        trimmed = pc.utf8_trim_whitespace(text)
        numbers = _cast(pc.if_else(pc.is_in(trimmed, _MISSING), None, trimmed), kinds)
    return text if numbers is None else numbers


def find_kind(text: pa.ChunkedArray, decimal: str) -> pa.DataType:
    """What the bytes of text are in Parquet."""
    if pc.any(pc.match_substring_regex(text.cast(pa.string()), _CODE)).as_py():
        return pa.string()
    return to_numbers(text, decimal).type


def _cast(text: pa.ChunkedArray, kinds: Sequence[pa.DataType]) -> pa.ChunkedArray | None:
    for kind in kinds:
        try:
            text.slice(0, 100).cast(kind)  # to fail at every cell takes long
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None


def _find_encoding(start: bytes) -> str:
    if start[:2] == codecs.BOM_UTF16_LE or start[1:2] == b"\0":
        return "utf-16-le"
    if start[:2] == codecs.BOM_UTF16_BE or start[:1] == b"\0":
        return "utf-16-be"
    return "utf-8"


def _read_header(text: str, place: int, delimiter: str) -> tuple[list[str], int]:
    """The names, and where the rows begin; no names where the header has no end."""
    stream = io.StringIO(text, newline="")
    stream.seek(place)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    try:
        names = next(filter(None, reader), [])
    except csv.Error:
        names = []
    rows_at = stream.tell()
    if rows_at == len(text) and len(text) >= _LONGEST_HEADER // 2:
        names = []
    return names, rows_at


def _find_decimal(rows: str, delimiter: str) -> str:
    """A comma where numbers have commas and none has a point."""
    number = r'(?<![^;\t\r\n" ])-?\d+%s\d+(?![^;\t\r\n" ])'
    has_commas = delimiter != "," and re.search(number % ",", rows)
    return "," if has_commas and not re.search(number % r"\.", rows) else "."


def _read_batches(file: BinaryIO, encoding: str, width: int, delimiter: str) -> Iterator[pa.Table]:
    """All rows, as many at a time as are whole in a block of the file."""
    whole = re.compile(_ROWS % re.escape(delimiter).encode(), re.VERBOSE)
    decoder = codecs.getincrementaldecoder(encoding)()
    schema = pa.schema([(str(place), pa.binary()) for place in range(width)])
    rows, text, end = 0, b"", 0
    following = file.read(_BLOCK)
    is_last = False
    while not is_last:
        block, following = following, file.read(_BLOCK)
        is_last = not following
        text = text[end:] + (block if encoding == "utf-8" else decoder.decode(block).encode())
        text += b"\n" if is_last else b""
        if b'"' in text:
            end = whole.match(text).end()  # type: ignore[union-attr]
        else:
            end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        table = _parse(text[:end], schema, delimiter, rows)
        rows += len(table)
        if len(text) - end > (0 if is_last else _LONGEST_ROW):
            raise ValueError(
                f"row {rows} has a quote that is not closed, or is longer than {_LONGEST_ROW} bytes"
            )
        yield table


def _parse(text: bytes, schema: pa.Schema, delimiter: str, first_row: int) -> pa.Table:
    """Whole rows."""
    if not text.strip(b"\r\n"):
        return schema.empty_table()
    text = codecs.BOM_UTF8 + text  # Arrow takes one off; another is of a cell
    try:
        return arrow.read_csv(
            pa.BufferReader(text),
            # Without threads: one that lets go of the text while Python ends aborts the process.
            arrow.ReadOptions(
                column_names=schema.names, block_size=len(text) + 1, use_threads=False
            ),
            arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow.ConvertOptions(column_types=schema, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if found is None:
            raise
        row = first_row + int(found[1]) - 1
        raise ValueError(f"row {row} has {found[3]} cells, the header {found[2]}") from error


def _to_cells(column: pa.ChunkedArray, form: CsvForm) -> pa.ChunkedArray:
    is_number = pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
    if not pa.types.is_binary(column.type):
        try:
            column = column.cast(pa.string())  # float32 in its shortest form
        except pa.ArrowException:  # lists, structs
            column = pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]])
        column = column.cast(pa.binary())
    if is_number and form.decimal == ",":
        column = pc.replace_substring(column, b".", b",")
    special = f'"\r\n{form.delimiter}'.encode()
    data = b"".join(b"" if (d := c.buffers()[2]) is None else d.to_pybytes() for c in column.chunks)
    if any(bytes([mark]) in data for mark in special):
        doubled = pc.replace_substring(column, b'"', b'""')
        quoted = pc.binary_join_element_wise(b'"', doubled, b'"', b"")
        must = pc.match_substring_regex(column, b"[" + special + b"]")
        column = pc.if_else(must, quoted, column)
    return pc.fill_null(column, b"")
