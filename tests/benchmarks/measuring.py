"""How long calls take in turns, and how long and how much memory whole processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

FEAT_POSE = Path(sys.executable).with_name("feat-pose")

_SHORTEST = 0.02  # seconds of a measurement; a shorter call is repeated

# From a small process, because a child's memory begins with that of its parent.
_PROBE = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class Cost(NamedTuple):
    """What a process took; the memory is its largest resident set."""

    seconds: float
    megabytes: float


def run(command: Sequence[str | Path]) -> Cost:
    """Run a command to its end."""
    result = subprocess.run(
        [sys.executable, "-c", _PROBE, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, kibibytes = result.stdout.split()
    return Cost(float(seconds), float(kibibytes) / 1024)


def seconds_in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds per call of each, in each round, so that what else the machine does falls on all."""
    repeats = {name: _repeats(call) for name, call in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            begun = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - begun) / repeats[name])
    return seconds


def ratio(one: list[float], other: list[float], digits: int) -> str:
    """How many times longer one takes: of the medians, and of the middle half of the rounds."""
    low, _, high = statistics.quantiles(
        [a / b for a, b in zip(one, other, strict=True)], n=4, method="inclusive"
    )
    median = statistics.median(one) / statistics.median(other)
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _repeats(call: Callable[[], object]) -> int:
    call()  # the first loads, and fills caches
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < _SHORTEST:
        call()
        count += 1
    return count
