"""No message is longer than 400 characters, however long what it repeats is."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest
from command import feat_pose

from feat_pose_plugin import errors as all_errors
from feat_pose_plugin.errors import FeatPoseError, TableError, WeightsNotFoundError

LONG = "a very long name " * 60


def strangers() -> pd.DataFrame:
    """A table of 500 columns that nobody knows."""
    return pd.DataFrame({f"{LONG}{n}": [0.0] for n in range(500)})


@pytest.mark.parametrize("said", ["nothing", "reference", "poses"])
def test_no_line_of_the_command_is_long(said, tmp_path):
    folder = tmp_path / ("deep" * 50) / ("er" * 100)
    folder.mkdir(parents=True)
    path: Path = folder / "in.csv"
    strangers().to_csv(path, index=False)
    arguments = {
        "nothing": ("estimate", path, "-o", folder / "out.csv"),
        "reference": ("evaluate", path),
        "poses": ("convert", path, "-o", folder / "out.csv", "--to", "rotvec", "--from", "feat"),
    }
    result = feat_pose(*arguments[said])
    assert result.exit_code == 2
    assert len(result.stderr.removeprefix("Error: ").strip()) <= 400, result.stderr


def test_what_a_long_message_begins_and_ends_with_is_kept():
    kinds = {kind for kind in vars(all_errors).values() if isinstance(kind, type)}
    for kind in kinds - {WeightsNotFoundError}:
        if issubclass(kind, FeatPoseError):
            error = kind(f"where it is: {LONG} Do this.")
            for each in (error, pickle.loads(pickle.dumps(error))):
                assert str(each).startswith("where it is: a very")
                assert str(each).endswith("name  Do this.")
                assert len(str(each)) == 400
    assert str(TableError("short")) == "short"
