"""Tables in CSV and Parquet, changed some thousand rows at a time.

The cells of a CSV stay the text they are. A Parquet file keeps its types and its metadata.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from feat_pose_plugin.errors import FeatPoseError, TableError
from feat_pose_plugin.files import identity, place_part, write_part, write_whole, writing
from feat_pose_plugin.pose.tag import parquet_attrs, parquet_metadata
from feat_pose_plugin.tables.csv_file import (
    KINDS,
    CsvForm,
    find_kind,
    open_csv,
    to_numbers,
    to_text,
)

FORMATS = {".csv": "CSV", ".parquet": "Parquet"}

Function = Callable[[pd.DataFrame], pd.DataFrame]
Reads = Callable[[list[str]], Iterable[str]]
Progress = Callable[[int, float], None]

_TEXT = (pa.null(), pa.string(), pa.large_string())
_BATCH_ROWS = 1 << 15
_BATCH_BYTES = 64 << 20  # fewer rows where rows are long

_T = TypeVar("_T")
_Step = tuple[_T, int, float]  # rows on their way, how many, and of how many bytes of the source
_Batches = Iterator[_Step[pa.Table]]


def stream_table(
    source: Path,
    target: Path,
    function: Function,
    *,
    reads: Reads,
    keep_read: bool = True,
    progress: Progress | None = None,
) -> int:
    """Read a table, change some of its columns, and write it, in bounded memory.

    Columns of the answer that the table has are replaced in their places. The others are added:
    where the first column was that is left out, or else at the end. Rows and all other columns stay
    as they are, in Parquet with their types, in CSV with their text; a missing value of the answer
    is null, or an empty cell. From CSV to Parquet, columns of nothing but numbers become numbers.

    Args:
        source: CSV or Parquet, by suffix.
        target: CSV or Parquet, by suffix. Replaced if it exists; appears whole or not at all.
        function: Is given the columns it reads, some thousand rows at a time and at least once,
            indexed by their numbers in the file; returns two columns or more, row for row. Cells
            of a CSV are numbers where they can be. ``attrs`` come from a Parquet file, and those
            of the answer are put into one.
        reads: Is given the names of the table's columns, without spaces around them; returns those
            that the function reads.
        keep_read: Whether columns that are read and are not in the answer stay.
        progress: Is told how many rows have been written, and of how many bytes of the source.

    Returns:
        The number of rows.

    Raises:
        TableError: The source cannot be read or the target cannot be written.
        FeatPoseError: What ``reads`` and ``function`` raise, with the name of the source.
    """
    part, rows = stream_part(
        source, target, function, reads=reads, keep_read=keep_read, progress=progress
    )
    with writing(target):
        place_part(part, target)
    return rows


def stream_part(
    source: Path,
    target: Path,
    function: Function,
    *,
    reads: Reads,
    keep_read: bool = True,
    progress: Progress | None = None,
) -> tuple[Path, int]:
    """As :func:`stream_table`, but the result is left beside the target.

    Returns:
        What ``place_part`` puts into its place; the number of rows.
    """
    written = 0

    def reported(steps: Iterator[_Step[_T]]) -> Iterator[_T]:
        nonlocal written
        for data, rows, size in _ahead(steps):
            yield data
            written += rows  # they are, when the next are asked for
            if progress is not None:
                progress(rows, size)

    read = identity(source)
    form = _form_of(source)
    answers = _Answers(source, function, form)
    with writing(target), write_part(target) as part:
        if form and not _is_csv(target):
            tables = _read_numbers(source, form)
        else:
            tables = _read_csv(source) if form else _read_parquet(source)
        changed = _changed(tables, source, reads, answers, keep_read)
        if _is_csv(target):
            with part.open("wb") as file:
                file.writelines(reported(_as_text(changed, form or CsvForm())))
        else:
            _write_parquet(reported(changed), part)
        if identity(source) != read:
            raise TableError(
                f"{source} was changed or replaced while it was read. Nothing was written; start "
                "again when nobody writes to it."
            )
    return part, written


def read_table(path: Path, reads: Reads = list) -> pd.DataFrame:
    """Read a table into memory.

    Args:
        path: CSV or Parquet, by suffix.
        reads: Is given the names of the table's columns, without spaces around them; returns those
            that are wanted, by default all. Of the others nothing is kept.

    Returns:
        All rows, columns under their names in the file; ``attrs`` of a Parquet file. Text is
        numbers where a column holds nothing else.

    Raises:
        TableError: The file does not exist, cannot be read, or has another suffix.
    """
    form = _form_of(path)
    steps = _read_csv(path, reads) if form else _read_parquet(path, reads)
    batches = [table for table, _, _ in steps]
    with _reading(path):
        return _to_frame(pa.concat_tables(batches), form)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table, whole or not at all.

    Args:
        table: Any columns.
        path: CSV or Parquet, by suffix. Replaced if it exists.

    Raises:
        TableError: The folder cannot be written, or the disk is full.
    """
    with writing(path), write_whole(path) as part:
        if _is_csv(path):
            steps = _as_text(iter([(table, len(table), 0.0)]), CsvForm())
            part.write_bytes(b"".join(text for text, _, _ in steps))
        else:
            _write_parquet(iter([table]), part)


class _Answers:
    """What a function says to each batch, as Arrow has it: one schema from first to last."""

    def __init__(self, source: Path, function: Function, form: CsvForm | None) -> None:
        self._source = source
        self._form = form
        self._function = function
        self._schema: pa.Schema | None = None
        self._row = 0

    def __call__(self, columns: pa.Table) -> pa.Table:
        with _reading(self._source):
            frame = _to_frame(columns, self._form, self._row)
        self._row += len(frame)
        with naming(self._source):
            block = self._function(frame)
        arrays = [pa.Array.from_pandas(block[name]) for name in block]  # NaN becomes null
        if self._schema is None:
            kinds = [pa.string() if each.type in _TEXT else each.type for each in arrays]
            attrs = parquet_metadata({**frame.attrs, **block.attrs})
            self._schema = pa.schema(list(zip(block, kinds, strict=True)), attrs)
        arrays = [a.cast(kind) for a, kind in zip(arrays, self._schema.types, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self._schema)


def _to_frame(columns: pa.Table, form: CsvForm | None, first_row: int = 0) -> pd.DataFrame:
    """As pandas has it: text is numbers where it can be, rows are numbered as in the file."""
    decimal = form.decimal if form else "."
    numeric = [
        to_numbers(c, decimal) if form or c.type in _TEXT[1:] else c for c in columns.columns
    ]
    frame: pd.DataFrame = pa.Table.from_arrays(numeric, columns.column_names).to_pandas()
    frame.index = pd.RangeIndex(first_row, first_row + len(frame))
    frame.attrs = parquet_attrs(columns.schema.metadata)
    return frame


def _changed(
    tables: _Batches, source: Path, reads: Reads, answers: _Answers, keep_read: bool
) -> _Batches:
    """The batches of a table with the columns of the answers."""
    for table, rows, size in _ahead(tables):
        columns = table.select(_places_read(source, table.column_names, reads))
        answer = answers(columns)
        fields = [*table.schema, *answer.schema]
        values = [*table.columns, *answer.columns]
        arranged = _arrange(table.column_names, columns, answer, keep_read)
        schema = pa.schema(
            [fields[value].with_name(fields[name].name) for name, value in arranged],
            {**(table.schema.metadata or {}), **(answer.schema.metadata or {})} or None,
        )
        yield pa.Table.from_arrays([values[v] for _, v in arranged], schema=schema), rows, size


def _places_read(source: Path, names: list[str], reads: Reads) -> list[int]:
    plain = [name.strip() for name in names]
    with naming(source):
        wanted = set(reads(plain))
    return [place for place, name in enumerate(plain) if name in wanted]


def _arrange(
    names: list[str], read: pa.Table, answer: pa.Table, keep_read: bool
) -> list[tuple[int, int]]:
    """For each column of the target, where its name and where its values are.

    Counted through the columns of the source and on through those of the answer.
    """
    plain = [name.strip() for name in names]
    new = {name: len(names) + number for number, name in enumerate(answer.column_names)}
    left_out = set() if keep_read else {name.strip() for name in read.column_names} - set(new)
    arranged = [
        (place, new.get(name, place)) for place, name in enumerate(plain) if name not in left_out
    ]
    first_out = min((plain.index(name) for name in left_out), default=len(names))
    added = [(place, place) for name, place in new.items() if name not in plain]
    arranged[first_out:first_out] = added  # nothing is left out before it
    return arranged


def _form_of(source: Path) -> CsvForm | None:
    """How a CSV is written down; None for Parquet."""
    if source.suffix.lower() not in FORMATS:
        raise TableError(f"{source} must end in {' or '.join(FORMATS)} to say its format.")
    if not source.is_file():
        raise TableError(f"{source} {'is no file' if source.exists() else 'does not exist'}.")
    if not _is_csv(source):
        return None
    with _reading(source), open_csv(source) as file:
        return file.form


def _read_csv(source: Path, reads: Reads = list) -> _Batches:
    """The columns that are read, as the bytes they are."""
    with _reading(source), open_csv(source) as file:
        places = _places_read(source, file.names, reads)
        names = [file.names[place] for place in places]
        before = 0
        for cells, read in file.batches:
            yield cells.select(places).rename_columns(names), len(cells), float(read - before)
            before = read


def _read_numbers(source: Path, form: CsvForm) -> _Batches:
    """A CSV as Parquet has it: a column that holds nothing but numbers is of numbers."""
    kinds: list[pa.DataType] = []
    for table, _, _ in _read_csv(source):
        with _reading(source):
            found = [find_kind(column, form.decimal) for column in table.columns]
        kinds = [max(two, key=KINDS.index) for two in zip(kinds or found, found, strict=True)]
    for table, rows, size in _read_csv(source):
        values = [
            column.cast(kind) if kind == pa.string() else to_numbers(column, form.decimal, (kind,))
            for column, kind in zip(table.columns, kinds, strict=True)
        ]
        schema = pa.schema(list(zip(table.column_names, kinds, strict=True)))
        yield pa.Table.from_arrays(values, schema=schema), rows, size


def _read_parquet(source: Path, reads: Reads = list) -> _Batches:
    # Not pre-buffered: a row group may be larger than the memory.
    options = {"pre_buffer": False, "buffer_size": 1 << 16, "page_checksum_verification": True}
    with _reading(source), pq.ParquetFile(source, **options) as file:
        size, rows = source.stat().st_size, file.metadata.num_rows
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        row_bytes = sum(group.total_byte_size for group in groups) // max(rows, 1)
        batch_rows = min(_BATCH_ROWS, max(_BATCH_BYTES // max(row_bytes, 1), 1))
        whole = file.schema_arrow
        places = _places_read(source, whole.names, reads)
        schema = pa.schema([whole[place] for place in places], whole.metadata)
        if not rows:
            yield schema.empty_table(), 0, 0.0
        read = 0
        # By their names only where some are left out: two columns may have one name.
        names = None if len(schema) == len(whole) else schema.names
        for batch in file.iter_batches(batch_rows, columns=names):
            table = pa.Table.from_batches([batch], schema)
            yield table, len(table), size * len(table) / max(rows, 1)
            read += len(table)
        if read != rows:
            raise ValueError(f"it holds {read} rows, and says {rows}")


def _as_text(tables: _Batches, form: CsvForm) -> Iterator[_Step[bytes]]:
    """Tables as CSV, the header first."""
    is_start = True
    for table, rows, size in tables:
        if is_start:
            is_start = False
            header = [pa.chunked_array([[name]]) for name in table.column_names]
            yield to_text(header, form), 0, 0.0
        yield to_text(table.combine_chunks().columns, form) if rows else b"", rows, size


def _write_parquet(tables: Iterator[pa.Table], part: Path) -> None:
    groups = _row_groups(tables)
    first = next(groups)
    with pq.ParquetWriter(part, first.schema, write_page_checksum=True) as writer:
        for table in chain([first], groups):
            writer.write_table(table)


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together until they are worth a row group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        rows, size = sum(map(len, waiting)), sum(t.nbytes for t in waiting)
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, the next of them made in a thread while one is in use."""
    # Asked in a thread, torch applies there what set_num_threads said in another.
    with ThreadPoolExecutor(1, initializer=torch.get_num_threads) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Our errors say which file they are about."""
    try:
        yield
    except TableError:
        raise
    except FeatPoseError as error:
        raise type(error)(f"{source}: {error}") from error


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    try:
        yield
    except (FeatPoseError, MemoryError):
        raise
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
        form = FORMATS[source.suffix.lower()]
        raise TableError(
            f"{source} cannot be read as {form}: {str(error)[:200]}. Is the file whole, and {form}?"
        ) from error


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"
