"""Memory that is refused: told from other errors, and asked for before it is too late."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from feat_pose_plugin.errors import FeatPoseError, WorkerError

_SAID = re.compile(
    "allocate memory|bad_alloc|new thread|worker thread|could not create a primitive"
    "|failed to map segment from shared object$"
)
# Bytes: what a table may take; for each thread a stack of 8 MiB and an arena of the C library's.
_ROOM = 640 << 20
_ROOM_PER_THREAD = 72 << 20


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Memory that is refused to the block becomes an error that says so.

    Args:
        what: The block does, or reads.

    Raises:
        WorkerError: It was refused, by whatever library, and whatever that made of it.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, WorkerError) or not _is_refusal(error):
            raise
        raise WorkerError(
            f"{what}: there was too little memory: {error or type(error).__name__}. Start again "
            "with fewer processes, more memory or a larger limit (ulimit -v): tables that are "
            "finished are kept."
        ) from error


def _is_refusal(error: BaseException | None) -> bool:
    """Whether memory was refused, by an error or by what it came from.

    Libraries say it in words. Our messages, and those about values, repeat words of the input.
    """
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(error, FeatPoseError | ValueError) and _SAID.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@cache  # once: afterwards the threads have what they need
def require_room() -> None:
    """Refuse to begin where a limit of this process leaves too little for threads and tables.

    Native code to which memory is refused ends the process, or waits for a thread that never
    starts: nothing can be done about it by then.

    Raises:
        WorkerError: There is too little below the limit, ``ulimit -v``.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize()
    except (ImportError, OSError):  # no Linux
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    import pyarrow as pa
    import torch

    threads = pa.cpu_count() + torch.get_num_threads()
    room = _ROOM + threads * _ROOM_PER_THREAD
    if limit - size < room:
        raise WorkerError(
            f"there is too little memory: the limit of this process (ulimit -v {limit >> 10}) "
            f"leaves {(limit - size) >> 20} MiB, and {threads} threads need {room >> 20} MiB. Ask "
            f"for {(size + room) >> 20} MiB for each process, or set OMP_NUM_THREADS=1."
        )
