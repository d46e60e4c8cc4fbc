"""The quality columns: what the residual measures, and when which flag stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from fakes import faces, table_of, told
from scipy.spatial.transform import Rotation
from test_placement import line_of_sight_of, seen

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose, get_pose_backend
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import outer_eye_distance
from feat_pose_plugin.pose.quality import LARGEST_YAW_DEG
from feat_pose_plugin.tables.pose_tables import estimate_table
from feat_pose_plugin.testing import project_face
from feat_pose_plugin.training.recipes import RECIPES

QUALITY = ["PoseError", "PoseResidual", "PoseFlags"]
SIZE = (1080, 1920)
PLACE = np.array([0.3, -0.2, 12.0])


def judged(points: torch.Tensor, turn: Rotation, **options) -> pd.DataFrame:
    """The quality columns with the rotation known."""
    known = told(line_of_sight_of(turn, points))
    options = {"landmark_model": "3d", "frame_size": SIZE, **options}
    return estimate_pose(points, pose_model=known, quality=True, **options)[QUALITY]


# Form


def test_columns_come_when_asked_for_and_change_no_other():
    points = faces(4)
    points[2] = torch.nan
    plain, both = (estimate_pose(points, quality=asked) for asked in (False, True))
    assert list(plain.columns) == FEAT_FACEPOSE_COLUMNS_6D
    assert list(both.columns) == [*FEAT_FACEPOSE_COLUMNS_6D, *QUALITY]
    pd.testing.assert_frame_equal(both[FEAT_FACEPOSE_COLUMNS_6D], plain, atol=1e-5)
    assert both["PoseResidual"].dtype == np.float32
    assert both["PoseFlags"].dtype == "string"
    for asked, pose in ((False, plain), (True, both)):
        backend = get_pose_backend("pose_mlp_synth")
        assert PoseEstimator(backend=backend, quality=asked).columns == list(pose.columns)
    empty = estimate_pose(points[:0], quality=True)
    assert list(empty.columns) == list(both.columns)
    assert (empty.dtypes == both.dtypes).all()


def test_a_row_without_a_pose_has_neither_residual_nor_flags():
    points = project_face(torch.zeros(5, 3))
    points[1], points[2, 7, 0], points[3, 36] = torch.nan, torch.inf, points[3, 45]
    table = table_of(points).set_axis(list("abcde"))
    quality = estimate_pose(table, quality=True)[QUALITY]
    assert quality["PoseResidual"].isna().tolist() == [False, True, True, True, False]
    assert quality["PoseFlags"].isna().tolist() == [False, True, True, True, False]
    assert quality["PoseError"].isna().tolist() == [False, True, True, True, False]
    assert quality.index.tolist() == list("abcde")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_keep_them(suffix: str, tmp_path: Path):
    points = project_face(torch.zeros(3, 3))
    points[1] = torch.nan
    points[2, 48:] += 100
    table_of(points).to_csv(tmp_path / "in.csv", index=False)
    estimator = PoseEstimator(backend=get_pose_backend("pose_mlp_synth"), quality=True)
    target = tmp_path / f"out{suffix}"
    estimate_table(tmp_path / "in.csv", target, estimator)
    if suffix == ".parquet":
        after = pq.read_table(target)
        assert after["PoseFlags"].to_pylist() == ["", None, "residual"]
        assert after["PoseResidual"].null_count == 1
    else:
        lines = target.read_text(encoding="utf-8").splitlines()
        assert lines[0].endswith(",PoseError,PoseResidual,PoseFlags")
        assert [line.rpartition(",")[2] for line in lines[1:]] == ["", "", "residual"]


# The residual


def test_the_reference_face_has_no_residual_from_whichever_side():
    turns = Rotation.random(200, random_state=0) ** 0.5
    far = seen(turns, np.tile([0.1, 0.1, 500.0], (200, 1)))
    assert judged(far, turns)["PoseResidual"].max() < 2e-3
    # Nearness is fitted to the first order: at 40 cm, what is left is 1 percent.
    near = seen(turns, np.tile([0.1, 0.1, 4.0], (200, 1)))
    assert judged(near, turns)["PoseResidual"].max() < 0.03


@pytest.mark.parametrize("yaw", [0, 40, 80])
def test_it_is_a_share_of_the_distance_of_the_eyes_in_space(yaw):
    turns = Rotation.from_euler("y", [[yaw]] * 100, degrees=True)
    points = seen(turns, np.tile(PLACE, (100, 1)))
    eyes = 0.86 * 3000 / PLACE[2]  # pixels, if the head looked at the camera
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    residual = judged(points + 0.1 * eyes * noise, turns)["PoseResidual"]
    # Ten percent in x and in y; a profile counts like a frontal face.
    assert residual.mean() == pytest.approx(0.1 * np.sqrt(2), rel=0.06)


def test_it_does_not_depend_on_place_size_or_frame():
    points = faces(20)
    points += 4 * torch.randn(points.shape, generator=torch.Generator().manual_seed(1))
    expected = estimate_pose(points, quality=True)["PoseResidual"]
    for other in (
        estimate_pose(points, frame_size=SIZE, quality=True),
        estimate_pose(points, frame_size=SIZE, rotation_frame="camera", quality=True),
        estimate_pose(points, quality=True, rotation_frame="line_of_sight", convention="300w-lp"),
        estimate_pose(0.5 * points + 300, quality=True),
    ):
        np.testing.assert_allclose(other["PoseResidual"], expected, rtol=1e-3)


# The expected error


def test_a_nod_beyond_those_that_were_measured_counts_as_the_largest_of_them():
    nods = [-85, -75, -60, -30, 0, 30, 60, 75, 85]
    turns = Rotation.from_euler("x", np.array(nods)[:, None], degrees=True)
    points = seen(turns, np.tile([0.0, 0.0, 500.0], (len(nods), 1)))
    error = judged(points, turns)["PoseError"].to_numpy()
    assert error[[0, 1, 7, 8]] == pytest.approx(error[[2, 2, 6, 6]], rel=0.01)
    assert (error[[2, 6]] > 1.2 * error[[3, 5]]).all()


# The flags


def test_landmarks_that_fit_no_face_are_flagged():
    turn = Rotation.identity(2)
    points = seen(turn, np.tile(PLACE, (2, 1)))
    points[1, 48:] += 0.5 * outer_eye_distance(points)[1]
    quality = judged(points, turn)
    assert quality["PoseFlags"].tolist() == ["", "residual"]
    assert (
        quality["PoseResidual"][1]
        > find_landmark_model("3d").residual_limit
        > quality["PoseResidual"][0]
    )


def test_a_head_turned_further_than_the_training_faces_is_flagged():
    limit = RECIPES["2d"].turned_most_deg[1]
    angles = [0, 80, limit - 3, limit + 3, 150, 3 - limit, -3 - limit]
    for pitch in (0, 40):
        turns = Rotation.from_euler(
            "ZYX", [(80, yaw, pitch if abs(yaw) < 90 else 0) for yaw in angles], degrees=True
        )
        points = seen(turns, np.tile([0.0, 0.0, 12.0], (len(angles), 1)))
        points += 20 * torch.nn.functional.one_hot(torch.tensor(45), 68)[:, None]  # eyes apart
        flags = judged(points, turns)["PoseFlags"].str.contains("yaw")
        assert flags.tolist() == [False, False, False, True, True, False, True]


def test_eye_corners_that_all_but_coincide_are_flagged():
    turn = Rotation.identity(2)
    points = seen(turn, np.tile(PLACE, (2, 1)))
    points[1, 45] = points[1, 36] + 1
    assert judged(points, turn)["PoseFlags"].str.contains("eyes").tolist() == [False, True]


def test_landmarks_outside_the_frame_are_flagged_where_its_size_is_known():
    points = project_face(torch.zeros(4, 3))  # in a frame of 720 x 1280
    points[1] -= points[1].amin(dim=0) + 1
    points[2, :, 0] += 1281 - points[2, :, 0].amax()
    known = estimate_pose(points, frame_size=(720, 1280), quality=True)["PoseFlags"]
    assert known.tolist() == ["", "out_of_frame", "out_of_frame", ""]
    assert (estimate_pose(points, quality=True)["PoseFlags"] == "").all()
    sizes = np.array([[720.0, 1280], [np.nan, np.nan], [720, 1280], [10, 10]])
    by_row = estimate_pose(points, frame_size=sizes, quality=True)["PoseFlags"]
    assert by_row.tolist() == ["", "", "out_of_frame", "out_of_frame"]


def test_reasons_are_joined():
    turn = Rotation.identity(1)
    points = seen(turn, PLACE[None])
    points[0, 45] = points[0, 36] + 1
    points[0, 0] = -300
    assert judged(points, turn)["PoseFlags"][0] == "residual;eyes;out_of_frame"


def test_the_edge_of_the_yaw_is_that_of_the_recipes():
    for recipe in RECIPES.values():
        assert recipe.turned_most_deg[1] == LARGEST_YAW_DEG
