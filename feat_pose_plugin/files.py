"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Write beside a file, then put the result in its place.

    The part file lies in the folder of ``path``, so that the last step is one atomic rename. An
    error inside the block removes the part and leaves ``path`` as it was.

    Args:
        path: The file to make or replace.

    Yields:
        The path of an empty part file with the same suffix, to be written inside the block.

    Raises:
        OSError: The folder does not exist or cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    part.touch(exist_ok=False)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
