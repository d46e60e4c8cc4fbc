"""What it costs to begin: imports, the command, a short table."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from measuring import FEAT_POSE, Cost, run
from tables import make_table

ROUNDS = 9


def startup_rows(folder: Path) -> list[str]:
    """A line of a table for each; times are medians, taken in turns."""
    source, target = folder / "short.csv", folder / "posed.csv"
    make_table(source, 100)
    commands: dict[str, list[str | Path]] = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`import feat_pose_plugin`": [sys.executable, "-c", "import feat_pose_plugin"],
        "`feat-pose --help`": [FEAT_POSE, "--help"],
        "`import torch`": [sys.executable, "-c", "import torch"],
        "`import torch, pandas, pyarrow`": [sys.executable, "-c", "import torch, pandas, pyarrow"],
        "`feat-pose estimate`, a CSV of 100 rows": [
            *(FEAT_POSE, "estimate", source, "-o", target, "--force")
        ],
        "`import feat`": [sys.executable, "-W", "ignore", "-c", "import feat"],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(ROUNDS + 1):
        for name, command in commands.items():
            cost = run(command)
            if turn:  # the first reads files from the disk
                costs[name].append(cost)
    return [_row(name, of_command) for name, of_command in costs.items()]


def _row(name: str, costs: list[Cost]) -> str:
    seconds = [cost.seconds for cost in costs]
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    megabytes = max(cost.megabytes for cost in costs)
    return f"| {name} | {middle:.2f} s ({low:.2f} to {high:.2f}) | {megabytes:,.0f} MB |"
