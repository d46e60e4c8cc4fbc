"""Tables in CSV and Parquet, changed some thousand rows at a time.

The cells of a CSV stay the text they are. A Parquet file keeps its types and its metadata.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import torch

from feat_pose_plugin.errors import FeatPoseError, TableError
from feat_pose_plugin.files import identity, write_whole, writing
from feat_pose_plugin.pose.tag import parquet_attrs, parquet_metadata
from feat_pose_plugin.tables.cells import KINDS, CsvForm, find_kind, to_numbers
from feat_pose_plugin.tables.csv_file import CsvFile, open_csv, write_csv
from feat_pose_plugin.tables.parquet_file import ParquetFile, open_parquet, write_parquet

FORMATS = {".csv": "CSV", ".parquet": "Parquet"}

Function = Callable[[pd.DataFrame], pd.DataFrame]
Reads = Callable[[list[str]], Iterable[str]]
Progress = Callable[[int, float], None]

_TEXT = (pa.null(), pa.string(), pa.large_string())

_T = TypeVar("_T")
_Batches = Iterator[tuple[pa.Table, float]]  # with how many bytes of the source


def stream_table(
    source: Path,
    part: Path,
    function: Function,
    *,
    reads: Reads,
    keep_read: bool = True,
    progress: Progress | None = None,
) -> int:
    """Read a table, change some of its columns, write it, and say how many rows it has.

    ``reads`` picks from the names of the table's columns, without spaces around them. ``function``
    is given these columns, some thousand rows at a time and at least once, indexed by their numbers
    in the file; cells of a CSV are numbers where they can be. Columns of its answer replace those
    of the table in their places; others come where the first column was that is not kept, or else
    at the end. Missing values become null or empty cells, its ``attrs`` those of a Parquet file.
    An error leaves an unfinished ``part``: make it by ``write_whole``.
    """
    before = identity(source)
    file = _open(source)
    read = _places_read(file, reads)
    is_csv = part.suffix.lower() == ".csv"
    rows = 0

    def written() -> Iterator[pa.Table]:
        nonlocal rows
        batches = _typed(file) if file.form and not is_csv else _batches(file)
        for table, size in _ahead(_changed(batches, file, read, function, keep_read)):
            yield table
            rows += len(table)  # it is written, when the next is asked for
            if progress is not None:
                progress(len(table), size)

    _write(written(), part, file.form or CsvForm())
    if identity(source) != before:
        raise TableError(
            f"{source} was changed or replaced while it was read. Nothing was written; start again "
            "when nobody writes to it."
        )
    return rows


def read_table(path: Path, reads: Reads = list) -> pd.DataFrame:
    """Read all columns of a table into memory, or those that ``reads`` picks from their names.

    Text is numbers where a column holds nothing else. ``attrs`` are those of a Parquet file.
    """
    file = _open(path)
    with _reading(path):
        batches = [table for table, _ in file.batches(_places_read(file, reads))]
        return _to_frame(pa.concat_tables(batches), file.form)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of any columns, without its index, whole or not at all."""
    with writing(path), write_whole(path) as part:
        _write(iter([pa.Table.from_pandas(table, preserve_index=False)]), part, CsvForm())


def require_table(path: Path) -> None:
    """Refuse what is no file with the suffix of a table."""
    require_suffix(path)
    if not path.is_file():
        raise TableError(f"{path} {'is no file' if path.exists() else 'does not exist'}.")


def require_suffix(path: Path, otherwise: str = "") -> None:
    """Refuse a file whose suffix is not that of a table."""
    if path.suffix.lower() not in FORMATS:
        raise TableError(f"{path} must end in {' or '.join(FORMATS)} to say its format{otherwise}.")


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


def _open(source: Path) -> CsvFile | ParquetFile:
    require_table(source)
    with _reading(source):
        return open_csv(source) if source.suffix.lower() == ".csv" else open_parquet(source)


def _write(tables: Iterator[pa.Table], part: Path, form: CsvForm) -> None:
    if part.suffix.lower() == ".csv":
        write_csv(tables, part, form)
    else:
        write_parquet(tables, part)


def _places_read(file: CsvFile | ParquetFile, reads: Reads) -> list[int]:
    plain = [name.strip() for name in file.names]
    with naming(file.path):
        wanted = set(reads(plain))
    return [place for place, name in enumerate(plain) if name in wanted]


def _batches(file: CsvFile | ParquetFile) -> _Batches:
    """All columns."""
    with _reading(file.path):
        yield from file.batches(range(len(file.names)))


def _typed(file: CsvFile) -> _Batches:
    """A CSV as Parquet has it: a column that holds nothing but numbers is of numbers."""
    decimal = file.form.decimal
    kinds: list[pa.DataType] = []
    for table, _ in _batches(file):
        with _reading(file.path):
            found = [find_kind(column, decimal) for column in table.columns]
        kinds = [max(two, key=KINDS.index) for two in zip(kinds or found, found, strict=True)]
    for table, size in _batches(file):
        values = [
            column if kind == pa.string() else to_numbers(column, decimal, (kind,))
            for column, kind in zip(table.columns, kinds, strict=True)
        ]
        schema = pa.schema(list(zip(file.names, kinds, strict=True)))
        yield pa.Table.from_arrays(values, schema=schema), size


def _changed(
    batches: _Batches,
    file: CsvFile | ParquetFile,
    read: list[int],
    function: Function,
    keep_read: bool,
) -> _Batches:
    """The batches of a table with the columns of the answers, of one schema from first to last."""
    schema, row = None, 0
    for table, size in _ahead(batches):
        with _reading(file.path):
            frame = _to_frame(table.select(read), file.form, row)
        row += len(frame)
        with naming(file.path):
            block = function(frame)
        arrays = [pa.Array.from_pandas(block[name]) for name in block]  # NaN becomes null
        if schema is None:
            kinds = [pa.string() if each.type in _TEXT else each.type for each in arrays]
            attrs = parquet_metadata({**frame.attrs, **block.attrs})
            schema = pa.schema(list(zip(block, kinds, strict=True)), attrs)
        arrays = [each.cast(kind) for each, kind in zip(arrays, schema.types, strict=True)]
        answer = pa.Table.from_arrays(arrays, schema=schema)
        yield _arrange(table, answer, [] if keep_read else read), size


def _to_frame(columns: pa.Table, form: CsvForm | None, first_row: int = 0) -> pd.DataFrame:
    """As pandas has it: text is numbers where it can be, rows are numbered as in the file."""
    decimal = form.decimal if form else "."
    numeric = [to_numbers(c, decimal) if c.type in _TEXT[1:] else c for c in columns.columns]
    frame: pd.DataFrame = pa.Table.from_arrays(numeric, columns.column_names).to_pandas()
    frame.index = pd.RangeIndex(first_row, first_row + len(frame))
    frame.attrs = parquet_attrs(columns.schema.metadata)
    return frame


def _arrange(table: pa.Table, answer: pa.Table, left_out: list[int]) -> pa.Table:
    """A table with the columns of an answer in their places; see :func:`stream_table`."""
    own = {name.strip() for name in table.column_names}
    added = [(each, answer[each.name]) for each in answer.schema if each.name not in own]
    columns = []
    for place, field in enumerate(table.schema):
        name = field.name.strip()
        if name in answer.column_names:
            columns.append((answer.field(name).with_name(field.name), answer[name]))
        elif place not in left_out:
            columns.append((field, table.column(place)))
        else:
            columns += added
            added = []
    fields, values = zip(*columns, *added, strict=True)
    metadata = {**(table.schema.metadata or {}), **(answer.schema.metadata or {})}
    return pa.Table.from_arrays(list(values), schema=pa.schema(fields, metadata or None))


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, the next of them made in a thread while one is in use."""
    # Asked in a thread, torch applies there what set_num_threads said in another.
    with ThreadPoolExecutor(1, initializer=torch.get_num_threads) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item
