"""Parquet files, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS = 1 << 15
_BATCH_BYTES = 64 << 20  # fewer rows where rows are long


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file, and the names of its columns."""

    path: Path
    names: list[str]
    form: ClassVar[None] = None  # that of a CSV

    def batches(self, places: Sequence[int]) -> Iterator[tuple[pa.Table, float]]:
        """The columns at these places, one batch at least, each with its share of the bytes."""
        with _opened(self.path) as file:
            size, rows = self.path.stat().st_size, file.metadata.num_rows
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            row_bytes = sum(group.total_byte_size for group in groups) // max(rows, 1)
            batch_rows = min(_BATCH_ROWS, max(_BATCH_BYTES // max(row_bytes, 1), 1))
            whole = file.schema_arrow
            schema = pa.schema([whole[place] for place in places], whole.metadata)
            if not rows:
                yield schema.empty_table(), 0.0
            read = 0
            # By their names only where some are left out: two columns may have one name.
            names = None if len(schema) == len(whole) else schema.names
            for batch in file.iter_batches(batch_rows, columns=names):
                read += len(batch)
                yield pa.Table.from_batches([batch], schema), size * len(batch) / max(rows, 1)
            if read != rows:
                raise ValueError(f"it holds {read} rows, and says {rows}")


def open_parquet(path: Path) -> ParquetFile:
    """Read what the columns of a Parquet file are called."""
    with _opened(path) as file:
        return ParquetFile(path, file.schema_arrow.names)


def write_parquet(tables: Iterator[pa.Table], path: Path) -> None:
    """Write tables of one schema, at least one."""
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, write_page_checksum=True) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def _opened(path: Path) -> pq.ParquetFile:
    # Not pre-buffered: a row group may be larger than the memory.
    return pq.ParquetFile(
        path, pre_buffer=False, buffer_size=1 << 16, page_checksum_verification=True
    )
