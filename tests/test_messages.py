"""No message is longer than 400 characters, however long what it repeats is."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import feat_pose

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin import errors as all_errors
from feat_pose_plugin.errors import FeatPoseError, TableError, WeightsNotFoundError
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.pose.registry import get_pose_backend

LONG = "a very long name " * 60


def strangers(**columns: object) -> pd.DataFrame:
    """A table of 500 columns that nobody knows, and some more."""
    return pd.DataFrame({**{f"{LONG}{n}": [0.0] for n in range(500)}, **columns})


def landmarks(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(np.zeros((1, 136)), columns=landmark_columns()).assign(**columns)


PROVOKED = {
    "no landmarks": lambda: estimate_pose(strangers()),
    "part of them": lambda: estimate_pose(landmarks().iloc[:, 8:].join(strangers())),
    "twice": lambda: estimate_pose(pd.concat([landmarks()] * 2, axis=1)),
    "a long cell": lambda: estimate_pose(landmarks(x_3=[LONG])),
    "a long index": lambda: estimate_pose(landmarks(x_3=["lost"]).set_axis([LONG])),
    "81 points": lambda: estimate_pose(
        strangers(**{f"{a}_{n}": [1] for a in "xy" for n in range(81)})
    ),
    "another shape": lambda: estimate_pose(np.zeros([1] * 60)),
    "a convention": lambda: estimate_pose(landmarks(), convention=LONG),
    "a landmark model": lambda: estimate_pose(landmarks(), landmark_model=LONG),
    "a pose model": lambda: get_pose_backend(LONG),
    "a device": lambda: estimate_pose(landmarks(), device=LONG),
    "a frame size": lambda: estimate_pose(landmarks(), frame_size=np.zeros((500, 500))),
    "a rotation frame": lambda: estimate_pose(landmarks(), rotation_frame=LONG),
    "no pose": lambda: convert_pose(strangers(), "feat", "rotvec"),
    "one convention unknown": lambda: convert_pose(strangers(), LONG, LONG),
}


@pytest.mark.parametrize("provoke", PROVOKED.values(), ids=PROVOKED)
def test_no_error_is_long(provoke):
    with pytest.raises(FeatPoseError) as error:
        provoke()
    assert 20 < len(str(error.value)) <= 400
    assert "\n" not in str(error.value)


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
