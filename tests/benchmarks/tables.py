"""Large tables: `python tests/benchmarks/tables.py FOLDER` (an hour's work for two cores, 15 GB).

Makes a Parquet of 5 million rows and a CSV of 500,000 rows, 136 float32 landmark columns each, and
takes in turns the time of `feat-pose estimate` and of a script that reads and writes the table with
pyarrow, batch by batch as the command does. Both are whole processes, imports included. Prints
medians, their ratio, the range of the ratio from turn to turn, and the largest resident memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from feat_pose_plugin.landmarks import landmark_columns
from feat_pose_plugin.testing import FACE_68

ROWS = {".parquet": 5_000_000, ".csv": 500_000}

COPY = {
    ".parquet": """
import sys
import pyarrow.parquet as pq
source, target = sys.argv[1:]
with pq.ParquetFile(source, pre_buffer=False) as file:
    with pq.ParquetWriter(target, file.schema_arrow) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)
""",
    ".csv": """
import sys
from pyarrow import csv
source, target = sys.argv[1:]
with csv.open_csv(source) as reader, csv.CSVWriter(target, reader.schema) as writer:
    for batch in reader:
        writer.write_batch(batch)
""",
}


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    megabytes: float  # the largest resident set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the tables are made, and removed again")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    print(f"{os.cpu_count()} cores, pyarrow {pa.__version__}, {options.turns} turns")
    print("| table | rows | pyarrow alone | feat-pose | ratio | memory |")
    print("|---|---|---|---|---|---|")
    for suffix, rows in ROWS.items():
        rows = round(rows * options.share)
        source, target = (options.folder / f"{name}{suffix}" for name in ("in", "out"))
        try:
            make_table(source, rows)
            print(measure(source, target, rows, options.turns), flush=True)
        finally:
            source.unlink(missing_ok=True)
            target.unlink(missing_ok=True)


def make_table(path: Path, rows: int) -> None:
    """Faces of many sizes and places, with noise on every coordinate."""
    schema = pa.schema([(name, pa.float32()) for name in landmark_columns()])
    random = np.random.default_rng(0)
    face = FACE_68[:, :2].numpy() - FACE_68[:, :2].numpy().mean(axis=0)
    face = face / np.ptp(face)
    writer = pq.ParquetWriter if path.suffix == ".parquet" else csv.CSVWriter
    with writer(path, schema) as file:
        for start in range(0, rows, 1 << 20):  # pyarrow's row group
            count = min(rows - start, 1 << 20)
            size = random.uniform(80, 400, count).astype(np.float32)
            columns = []
            for axis in range(2):
                middle = random.uniform(300, 700, count).astype(np.float32)
                columns += [
                    pa.array(middle + size * place + random.standard_normal(count, np.float32))
                    for place in face[:, axis].astype(np.float32)
                ]
            file.write_table(pa.Table.from_arrays(columns, schema=schema))


def measure(source: Path, target: Path, rows: int, turns: int) -> str:
    """A line of the table."""
    command = Path(sys.executable).with_name("feat-pose")
    copies, estimates = [], []
    for _ in range(turns):
        copies.append(run([sys.executable, "-c", COPY[source.suffix], source, target]))
        target.unlink()
        estimates.append(run([command, "estimate", source, "-o", target]))
        CHECKS[source.suffix](source, target)
        target.unlink()
    ratios = [ours.seconds / theirs.seconds for ours, theirs in zip(estimates, copies, strict=True)]
    alone = statistics.median(cost.seconds for cost in copies)
    ours = statistics.median(cost.seconds for cost in estimates)
    return (
        f"| {source.suffix[1:]} | {rows:,} | {alone:.1f} s | {ours:.1f} s "
        f"| {ours / alone:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {max(cost.megabytes for cost in estimates):,.0f} MB |"
    )


def run(command: list[str | Path]) -> Cost:
    # From a small process, because a child's memory begins with that of its parent.
    code = """
import resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, kibibytes = result.stdout.split()
    return Cost(float(seconds), float(kibibytes) / 1024)


def check_parquet(source: Path, target: Path) -> None:
    """Every landmark is what it was, and every row has a pose."""
    with pq.ParquetFile(source) as before, pq.ParquetFile(target) as after:
        names = before.schema_arrow.names
        pairs = zip(before.iter_batches(), after.iter_batches(), strict=True)
        for old, new in pairs:
            if not new.select(names).equals(old) or new["Pitch"].null_count:
                raise SystemExit(f"{target} is not {source} with pose")


def check_csv(source: Path, target: Path) -> None:
    """Every line begins with what it was, and has a pose."""
    with source.open("rb") as before, target.open("rb") as after:
        for old, new in zip(before, after, strict=True):
            added = new.removeprefix(old.rstrip(b"\n"))
            if len(added) == len(new) or not all(added.split(b",")[1:4]):
                raise SystemExit(f"{target} is not {source} with pose")


CHECKS: dict[str, Callable[[Path, Path], None]] = {".parquet": check_parquet, ".csv": check_csv}


if __name__ == "__main__":
    main()
