"""Signals that end a run: it cleans up behind itself, and its exit status says which one it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = {signal.SIGINT, signal.SIGTERM}


class Stopped(BaseException):
    """A signal asks this process to end. No error, so that nobody takes it for one.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise :class:`Stopped`, the first of them once.

    Only in the main thread; elsewhere, and where a parent has them ignored, they stay as they are.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        del frame
        if not stopped:  # a second one would disturb the cleaning up
            stopped = True
            raise Stopped(number)

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _ENDING if here}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # of a background job of a shell, or under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
