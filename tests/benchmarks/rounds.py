"""Times taken in turns, so that what else the machine does falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

_SHORTEST = 0.02  # seconds of a measurement; a shorter call is repeated


class Ratio(NamedTuple):
    """How many times longer one takes than another.

    The median is that of the one's times over that of the other's; the range is that of the middle
    half of the rounds.
    """

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def seconds_in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds per call of each, in each round."""
    repeats = {name: _repeats(call) for name, call in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            begun = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - begun) / repeats[name])
    return seconds


def ratio(one: list[float], other: list[float]) -> Ratio:
    """Of times taken in the same rounds."""
    each = [a / b for a, b in zip(one, other, strict=True)]
    low, _, high = statistics.quantiles(each, n=4, method="inclusive")
    return Ratio(statistics.median(one) / statistics.median(other), low, high)


def _repeats(call: Callable[[], object]) -> int:
    call()  # the first loads, and fills caches
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < _SHORTEST:
        call()
        count += 1
    return count
