"""Signals that end a run: it cleans up behind itself, and its exit status says which one it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """A signal asks this process to end. No error, so that nobody takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise :class:`Stopped`, the first of them once.

    Only in the main thread; elsewhere, and where a parent has them ignored, they stay as they are.
    """
    here = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, lambda *_: None)  # a second one would disturb the cleaning up
        raise Stopped(number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # of a background job of a shell, or under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
