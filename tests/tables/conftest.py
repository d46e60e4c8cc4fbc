"""Tables of real faces: short ones, and some that take a while."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.pose.landmarks import landmark_columns


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of a.csv, b.parquet and c.csv, of 40, 40 and 7 rows."""
    folder = tmp_path / "in"
    folder.mkdir()
    table = pd.read_csv(find_demo_tables()[0])
    table.to_csv(folder / "a.csv", index=False)
    table[::-1].to_parquet(folder / "b.parquet", index=False)
    table[:7].to_csv(folder / "c.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def made_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See :func:`long_tables`."""
    folder = tmp_path_factory.mktemp("made")
    face = pd.read_csv(find_demo_tables()[0])[landmark_columns()]
    table = pd.concat([face] * 400, ignore_index=True)
    table += np.random.default_rng(0).normal(size=table.shape)
    table.round(3).to_csv(folder / "b.csv", index=False)
    table[:1000].to_parquet(folder / "a.parquet", index=False, row_group_size=500)
    return folder


@pytest.fixture
def long_tables(tmp_path: Path, made_tables: Path) -> Path:
    """A folder of a.parquet and b.csv, of 1.5 and 16 megabytes: some time to estimate."""
    return Path(shutil.copytree(made_tables, tmp_path / "long"))
