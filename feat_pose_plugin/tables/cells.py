"""Cells of a CSV: their text as numbers, and values as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from feat_pose_plugin.pose.columns import MISSING

KINDS = (pa.int64(), pa.float64(), pa.string())
"""What a column of text can be in Parquet, narrowest first."""

_MISSING = pa.array(sorted(MISSING))
_CODE = r"^\s*[+-]?0[0-9xX]"  # 007 is a name, not the number 7
_DECIMAL_COMMA = r"^(\s*[+-]?\d*),(\d\S*\s*)$"


class CsvForm(NamedTuple):
    """How a CSV is written down: what is between two cells, and the decimal mark of its numbers."""

    delimiter: str = ","
    decimal: str = "."


def to_numbers(
    text: pa.ChunkedArray, decimal: str, kinds: Sequence[pa.DataType] = KINDS[:2]
) -> pa.ChunkedArray:
    """Text as the first of the kinds that all cells are, missing ones null; else as it is."""
    if decimal == ",":
        text = pc.replace_substring_regex(text, _DECIMAL_COMMA, r"\1.\2")
    numbers = _cast(text, kinds)  # most columns need no copy without spaces and marks
    if numbers is None:
        trimmed = pc.utf8_trim_whitespace(text)
        numbers = _cast(pc.if_else(pc.is_in(trimmed, _MISSING), None, trimmed), kinds)
    if numbers is None:
        return text.cast(pa.binary()).cast(pa.string())  # refused where it is not UTF-8
    return numbers


def find_kind(text: pa.ChunkedArray, decimal: str) -> pa.DataType:
    """What a column of text is in Parquet."""
    kind = to_numbers(text, decimal).type
    return pa.string() if pc.any(pc.match_substring_regex(text, _CODE)).as_py() else kind


def _cast(text: pa.ChunkedArray, kinds: Sequence[pa.DataType]) -> pa.ChunkedArray | None:
    first = text[0].as_py() or "" if len(text) else ""
    for kind in kinds:
        if kind == pa.int64() and "." in first:  # to fail takes long
            continue
        try:
            text.slice(0, 100).cast(kind)  # to fail at every cell takes longer
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return None


def to_text(columns: list[pa.ChunkedArray], form: CsvForm) -> bytes:
    """Rows of a CSV: cells quoted where they must be, empty where they are null."""
    *cells, last = (_to_cells(column, form) for column in columns)
    ended = pc.binary_join_element_wise(last, b"\n", b"")
    lines = pc.binary_join_element_wise(*cells, ended, form.delimiter.encode())
    return b"".join(chunk.buffers()[2] for chunk in lines.chunks)


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
