"""Warnings of the command: one line for each table."""

from __future__ import annotations

import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
from command import COMMAND, feat_pose

from feat_pose_plugin import PoseWarning, estimate_pose
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables import parquet_file

SAID = "most of the landmarks do not lie like a face's 68 points"


@pytest.fixture
def noise() -> pd.DataFrame:
    numbers = 500 * np.random.default_rng(0).random((300, 136), np.float32)
    return pd.DataFrame(numbers, columns=landmark_columns())


def test_a_table_of_many_batches_is_warned_of_once(noise, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_file, "_BATCH_ROWS", 7)
    noise.to_parquet(tmp_path / "in.parquet")
    with pytest.warns(PoseWarning, match=SAID) as found:
        result = feat_pose("estimate", tmp_path / "in.parquet", "-o", tmp_path / "out.csv")
    assert result.exit_code == 0
    assert [str(each.message).count("in.parquet: most") for each in found] == [1]


def test_each_table_is_named_in_a_line_of_its_own(noise, out):
    names = ["a.csv", "b.csv"]
    for name in names:
        noise.to_csv(out.parent / name, index=False)
    command = [COMMAND, "estimate", *names, "-o", "out", "--jobs", "2"]
    run = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=True)
    lines = sorted(run.stderr.splitlines())
    assert len(lines) == 2, run.stderr
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(f"Warning: {name}: {SAID}")


def test_the_warning_shows_the_line_of_the_caller(noise):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        estimate_pose(noise)
    assert [each.filename for each in found] == [__file__]
