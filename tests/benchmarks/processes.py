"""Whole processes: how long one takes and how much memory it holds at most."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FEAT_POSE = Path(sys.executable).with_name("feat-pose")

# From a small process, because a child's memory begins with that of its parent.
_PROBE = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    megabytes: float  # the largest resident set


def run(command: Sequence[str | Path]) -> Cost:
    """Run a command to its end."""
    result = subprocess.run(
        [sys.executable, "-c", _PROBE, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, kibibytes = result.stdout.split()
    return Cost(float(seconds), float(kibibytes) / 1024)
