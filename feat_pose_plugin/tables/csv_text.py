"""CSV as the text it is: rows and cells are told apart, and stay what they are.

Quoting as Arrow reads it: a quote opens a cell only where the cell begins, two quotes inside are
one, and what follows the closing quote is text again. Lines end in LF, CR LF or CR, and an empty
line is no row.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

_BLOCK = 8 << 20  # bytes; some thousand rows of landmarks
_MOST_COMMAS = 1 << 16  # in a header; each column takes some hundred bytes of memory
_LONGEST_ROW = 64 << 20  # bytes; a quote that is not closed makes one row of the rest of a file

_QUOTED = rb'" [^"]*+ (?: "" [^"]*+ )*+ "'
_LINE = re.compile(
    rb"""(?! \Z )
    ( (?: [^"\r\n]++                           # text
        | (?<! [^,\r\n] ) (?: %b | " [\s\S]*+ ) # a quoted cell, or the rest of the file
        | "                                    # a quote inside of a cell
      )*+ )
    ( [\r\n]++ | \Z )
    """
    % _QUOTED,
    re.VERBOSE,
)
_CELL = re.compile(rb"(?: \A | , ) ( (?: %b )?+ [^,]*+ )" % _QUOTED, re.VERBOSE)
_OPEN_CELL = re.compile(rb'(?! %b ) "' % _QUOTED, re.VERBOSE)

Line = tuple[bytes, bytes]
"""A row and the end of its line, empty lines after it included; the last row may have no end."""


@dataclass(frozen=True)
class CsvText:
    """A CSV file that is being read.

    Attributes:
        start: What comes before the header: a byte order mark, empty lines, or nothing.
        header: The line of names.
        names: The names.
        blocks: The lines after it, some thousand at a time; to be read once.
    """

    start: bytes
    header: Line
    names: list[str]
    blocks: Iterator[list[Line]]


@contextmanager
def open_csv_text(path: Path) -> Iterator[CsvText]:
    """Open a CSV file: commas, a header line, UTF-8 with or without a byte order mark.

    Args:
        path: The file.

    Yields:
        Its names, and its lines, to be read inside of the block.

    Raises:
        ValueError: The file is empty, a row is too long, or a quote is not closed; from reading
            its lines, too.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        mark = file.read(len(codecs.BOM_UTF8))
        if mark != codecs.BOM_UTF8:
            file.seek(0)
            mark = b""
        blocks = _read_blocks(file)
        lines = next(blocks, [])
        start = mark + (lines.pop(0)[1] if lines and not lines[0][0] else b"")
        if not lines:
            raise ValueError("it is empty")
        header, *lines = lines
        if header[0].count(b",") > _MOST_COMMAS:
            raise ValueError(f"its header has more than {_MOST_COMMAS} commas")
        width = len(split_cells(header[0]))
        names = parse_cells([header], width, dict.fromkeys(range(width), pa.string()))
        yield CsvText(
            start=start,
            header=header,
            names=[name.as_py() for (name,) in names.columns],
            blocks=chain([lines], blocks),
        )


def parse_cells(lines: list[Line], width: int, types: Mapping[int, pa.DataType]) -> pa.Table:
    """The cells of some columns, as Arrow reads them.

    Args:
        lines: What is read.
        width: How many cells each row must have.
        types: The columns wanted, counted from 0, and their types.

    Returns:
        The columns in the order of ``types``, named by their numbers, a row for each line; none if
        no column is wanted.

    Raises:
        pyarrow.ArrowInvalid: A row has more or less cells, or a cell is not of its type.
    """
    if not lines or not types:
        return pa.schema([(str(place), kind) for place, kind in types.items()]).empty_table()
    text = b"".join(chain.from_iterable(lines))
    if text.startswith(codecs.BOM_UTF8):  # of a cell, and Arrow takes one off
        text = codecs.BOM_UTF8 + text
    return csv.read_csv(
        pa.BufferReader(text),
        # Without threads: one that lets go of the text later, when Python ends, aborts the process.
        read_options=csv.ReadOptions(
            column_names=[str(place) for place in range(width)],
            block_size=len(text) + 1,
            use_threads=False,
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=[str(place) for place in types],
            column_types={str(place): kind for place, kind in types.items()},
        ),
    )


def split_cells(row: bytes) -> list[bytes]:
    """The cells of a row as they are written, quotes included."""
    return _CELL.findall(row) if b'"' in row else row.split(b",")


def quote_cells(texts: pa.Array) -> pa.Array:
    """Texts as cells: quoted where they must be, empty where they are null."""
    doubled = pc.replace_substring(texts, '"', '""')
    quoted = pc.binary_join_element_wise('"', doubled, '"', "")
    must = pc.match_substring_regex(texts, '[",\r\n]')
    return pc.fill_null(pc.if_else(must, quoted, texts), "")


def _read_blocks(file: BinaryIO) -> Iterator[list[Line]]:
    text = file.read(_BLOCK)
    while text:
        following = file.read(_BLOCK)
        lines: list[Line] = _LINE.findall(text)
        text = following
        if following:
            text = b"".join(lines.pop()) + following  # it may be cut
        elif any(_OPEN_CELL.match(cell) for cell in split_cells(lines[-1][0])):
            raise ValueError("a quote is not closed")
        if len(text) > _LONGEST_ROW:
            raise ValueError(f"a row is longer than {_LONGEST_ROW} bytes; is a quote not closed?")
        if lines:
            yield lines
