"""Processes of this machine that share the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from feat_pose_plugin.errors import WorkerError


@contextmanager
def process_executor(processes: int) -> Iterator[Executor]:
    """So many processes, with one thread each for torch.

    They end at once when the block is left by an error, or when this process dies.
    """
    context = multiprocessing.get_context("spawn")  # torch and Arrow have threads; no fork
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, context, initializer=_start)
    try:
        with _signals_blocked():  # in those that start; they end with this process
            for _ in range(processes):
                executor.submit(os.getpid)
        yield executor
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()  # one that is stuck would be waited for, and SIGTERM is blocked in it
        if isinstance(error, BrokenProcessPool):
            raise WorkerError(
                "a process that estimated died. Was there too little memory? Start again with "
                "fewer of them: tables that are finished are kept."
            ) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A terminal and a scheduler of jobs send signals to all processes of a job at once."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start() -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
