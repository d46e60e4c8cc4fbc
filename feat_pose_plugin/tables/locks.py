"""One writer in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.files import writing


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Nobody else is in such a block with the same path, on any machine whose file system locks.

    Args:
        path: The lock, a file that is there while the block runs. One that a killed process has
            left behind locks nothing.

    Raises:
        TableError: Somebody else is in such a block, or the folder cannot be written.
    """
    lock = FileLock(path, timeout=0)
    with writing(path):
        try:
            lock.acquire()  # not of a file that whoever was before us has removed
        except Timeout as error:
            raise TableError(
                f"another run is writing here, as {path} says. Wait for it, or choose another "
                "output."
            ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
