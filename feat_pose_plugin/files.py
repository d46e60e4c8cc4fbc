"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from feat_pose_plugin.errors import TableError

_PART = re.compile(r"\.(.*)\.[0-9a-f]{16}(\.[^.]*)?")


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """An empty part file beside ``path``, which takes its place when the block ends.

    Both lie in one folder, so the last step is one atomic rename. An error inside the block removes
    the part and leaves ``path`` as it was.
    """
    with write_part(path) as part:
        yield part
    place_part(part, path)


@contextmanager
def write_part(path: Path) -> Iterator[Path]:
    """The first half of :func:`write_whole`: the part is left beside the file, whole."""
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    part.touch(exist_ok=False)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def place_part(part: Path, path: Path) -> None:
    """The second half of :func:`write_whole`; a part that cannot be placed is removed."""
    try:
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def identity(path: Path) -> tuple[int, ...] | None:
    """What changes when a file or folder is replaced, or a file is written to; None without it."""
    try:
        found = path.stat()
    except OSError:
        return None
    content = () if path.is_dir() else (found.st_size, found.st_mtime_ns)
    return found.st_dev, found.st_ino, *content


def remove_parts(folder: Path, names: Collection[str]) -> None:
    """Remove the parts of files of these names that killed writers left; nobody may be writing."""
    for path in folder.iterdir():
        found = _PART.fullmatch(path.name)
        if found and found[1] + (found[2] or "") in names:
            path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the operating system says against writing a file becomes a TableError."""
    try:
        yield
    except TableError:
        raise
    except OSError as error:
        failure = TableError(
            f"{path} could not be written: {error.strerror or error}. Nothing was written; make "
            "room or choose another output."
        )
        failure.system_errno = error.errno or errno.EIO
        raise failure from error
