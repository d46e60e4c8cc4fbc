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
from pyarrow import csv as arrow

from feat_pose_plugin.tables.cells import CsvForm, to_text

_BLOCK = 8 << 20  # bytes; some thousand rows of landmarks
_LONGEST_ROW = 64 << 20  # bytes; a quote that is not closed makes one row of the rest of a file
_LONGEST_HEADER = 1 << 20  # bytes
_MOST_COLUMNS = 1 << 16  # each takes some hundred bytes of memory

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
class CsvFile:
    """A CSV file whose header has been read; its rows begin at a byte of its text."""

    path: Path
    form: CsvForm
    names: list[str]
    encoding: str
    rows_at: int

    def batches(self, places: Sequence[int]) -> Iterator[tuple[pa.Table, float]]:
        """The columns at these places, one batch at least, each with the bytes read for it.

        A batch is the rows that are whole in a block of the file. Bytes that are not UTF-8 stay in
        their cells, in a file that is not UTF-16.
        """
        whole = re.compile(_ROWS % re.escape(self.form.delimiter).encode(), re.VERBOSE)
        decoder = codecs.getincrementaldecoder(self.encoding)()
        rows, text, end, told, is_last = 0, b"", 0, 0, False
        with _opened(self.path) as (raw, file):
            file.seek(self.rows_at)
            following = file.read(_BLOCK)
            while not is_last:
                block, following = following, file.read(_BLOCK)
                is_last = not following
                is_utf_8 = self.encoding == "utf-8"
                text = text[end:] + (block if is_utf_8 else decoder.decode(block).encode())
                text += b"\n" if is_last else b""
                if b'"' in text:
                    end = whole.match(text).end()  # type: ignore[union-attr]
                else:
                    end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
                table = self._parse(text[:end], rows)
                rows += len(table)
                if len(text) - end > (0 if is_last else _LONGEST_ROW):
                    raise ValueError(
                        f"row {rows} has a quote that is not closed, or is longer than "
                        f"{_LONGEST_ROW} bytes"
                    )
                names = [self.names[place] for place in places]
                yield table.select(places).rename_columns(names), float(raw.tell() - told)
                told = raw.tell()

    def _parse(self, text: bytes, first_row: int) -> pa.Table:
        """Whole rows; columns are called by their numbers, for two may have one name."""
        schema = pa.schema([(str(place), pa.string()) for place in range(len(self.names))])
        if re.fullmatch(rb"[\r\n]*+", text):
            return schema.empty_table()
        text = codecs.BOM_UTF8 + text  # Arrow takes one off; another is of a cell
        # Without threads: one that lets go of the text while Python ends aborts the process.
        reading = arrow.ReadOptions(
            column_names=schema.names, block_size=len(text) + 1, use_threads=False
        )
        parsing = arrow.ParseOptions(delimiter=self.form.delimiter, newlines_in_values=True)
        cells = arrow.ConvertOptions(
            column_types=schema, strings_can_be_null=False, check_utf8=False
        )
        try:
            return arrow.read_csv(pa.BufferReader(text), reading, parsing, cells)
        except pa.ArrowInvalid as error:
            found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
            if found is None:
                raise
            row = first_row + int(found[1]) - 1
            raise ValueError(f"row {row} has {found[3]} cells, the header {found[2]}") from error


def open_csv(path: Path) -> CsvFile:
    """Read how a CSV file with a header line is written down.

    Read as they are: commas, semicolons or tabs between cells; points or commas as decimal marks;
    UTF-8 or UTF-16, with or without a byte order mark; gzip; a first line ``sep=;``.
    """
    with _opened(path) as (_, file):
        start = file.read(_LONGEST_HEADER)
    encoding = _find_encoding(start)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    if not text.strip("\r\n"):
        raise ValueError("it is empty")
    said = re.match(r'"?sep=(.)"?(\r\n|\r|\n)', text)
    delimiters = said[1] if said else ",;\t"
    headers = [(*_read_header(text, said.end() if said else 0, each), each) for each in delimiters]
    names, rows_at, delimiter = max(headers, key=lambda header: len(header[0]))
    if not names or len(names) > _MOST_COLUMNS:
        raise ValueError(
            f"its header is longer than {_LONGEST_HEADER} bytes, has more than {_MOST_COLUMNS} "
            "columns, or has a quote that is not closed"
        )
    before = mark + text[:rows_at]
    if "\ufffd" in before:
        raise ValueError("its header is neither UTF-8 nor UTF-16")
    form = CsvForm(delimiter, _find_decimal(text[rows_at:], delimiter))
    return CsvFile(path, form, names, encoding, len(before.encode(encoding)))


def write_csv(tables: Iterator[pa.Table], path: Path, form: CsvForm) -> None:
    """Write tables of one schema, at least one, under their header."""
    with path.open("wb") as file:
        for number, table in enumerate(tables):
            if number == 0:
                header = [pa.chunked_array([[name]]) for name in table.column_names]
                file.write(to_text(header, form))
            if len(table):
                file.write(to_text(table.combine_chunks().columns, form))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A file, and its text, which may be zipped."""
    with path.open("rb") as raw:
        zipped = raw.peek(2)[:2] == b"\x1f\x8b"
        yield raw, cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw


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
