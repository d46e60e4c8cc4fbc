"""Large tables, made by a script: 136 float32 landmark columns, noise on every coordinate."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import FEAT_POSE, Cost, ratio, run
from pyarrow import csv

from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.testing import FACE_68

ROWS = {".parquet": 5_000_000, ".csv": 500_000}
PANDAS_ROWS = 100_000

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

# As a user of py-feat's function writes it.
PANDAS = """
import sys
import pandas as pd
import torch
from feat.utils.face_pose_mlp import pose_from_landmarks_mlp
source, target = sys.argv[1:]
table = pd.read_csv(source)
x, y = (table[[f"{axis}_{i}" for i in range(68)]].to_numpy("float32") for axis in "xy")
pose = pose_from_landmarks_mlp(torch.stack([torch.from_numpy(x), torch.from_numpy(y)], dim=-1))
table[["Pitch", "Roll", "Yaw", "X", "Y", "Z"]] = pose.numpy()
table.to_csv(target, index=False)
"""


def large_table_row(suffix: str, folder: Path, rows: int, rounds: int) -> str:
    """The command against a script that reads and writes the table with pyarrow, in batches."""
    alone = [sys.executable, "-c", COPY[suffix]]
    return _compare(suffix, folder, rows, rounds, alone, [])


def pandas_row(folder: Path, rounds: int, weights: Path) -> str:
    """The command against pandas and py-feat's function, which both find the same weights."""
    os.environ["FEAT_POSE_MLP_PATH"] = str(weights)
    alone = [sys.executable, "-W", "ignore", "-c", PANDAS]
    return _compare(".csv", folder, PANDAS_ROWS, rounds, alone, ["--model", "pose_mlp"])


def make_table(path: Path, rows: int) -> None:
    """Faces of many sizes and places."""
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


def _compare(
    suffix: str,
    folder: Path,
    rows: int,
    rounds: int,
    other: Sequence[str | Path],
    options: Sequence[str],
) -> str:
    source, target = (folder / f"{name}{suffix}" for name in ("in", "out"))
    make_table(source, rows)
    theirs: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(rounds):
        theirs.append(run([*other, source, target]))
        target.unlink()
        ours.append(run([FEAT_POSE, "estimate", source, "-o", target, *options]))
        CHECKS[suffix](source, target)
        target.unlink()
    source.unlink()
    seconds = [[cost.seconds for cost in costs] for costs in (theirs, ours)]
    memory = [max(cost.megabytes for cost in costs) for costs in (theirs, ours)]
    return (
        f"| {suffix[1:]} | {rows:,} | {statistics.median(seconds[0]):.1f} s "
        f"| {statistics.median(seconds[1]):.1f} s | {ratio(seconds[1], seconds[0], 2)} "
        f"| {memory[0]:,.0f} MB | {memory[1]:,.0f} MB |"
    )


def check_parquet(source: Path, target: Path) -> None:
    """Every landmark is what it was, and every row has a pose."""
    with pq.ParquetFile(source) as before, pq.ParquetFile(target) as after:
        names = before.schema_arrow.names
        pairs = zip(before.iter_batches(), after.iter_batches(), strict=True)
        for old, new in pairs:
            if not new.select(names).equals(old) or new["Pitch"].null_count:
                raise SystemExit(f"{target} is not {source} with pose")


def check_csv(source: Path, target: Path) -> None:
    """Every line begins with what it was but for quotes, and has a pose."""
    with source.open("rb") as before, target.open("rb") as after:
        for old, new in zip(before, after, strict=True):
            added = new.removeprefix(old.rstrip(b"\n").replace(b'"', b""))
            if len(added) == len(new) or not all(added.split(b",")[1:4]):
                raise SystemExit(f"{target} is not {source} with pose")


CHECKS: dict[str, Callable[[Path, Path], None]] = {".parquet": check_parquet, ".csv": check_csv}
