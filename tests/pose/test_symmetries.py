"""Place, size, tilt, and left and right change nothing but themselves, for every face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import faces
from scipy.spatial.transform import Rotation

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.pose.landmark_models import available_landmark_models
from feat_pose_plugin.pose.landmarks import MIRROR_68

MOST_DEG = 0.05
MIRROR = np.diag([-1.0, 1, 1])
MODELS = [model.name for model in available_landmark_models() if model.kind != "mesh"]


def turns(points: np.ndarray, model: str) -> Rotation:
    pose = estimate_pose(points, landmark_model=model).to_numpy(float)
    return Rotation.from_matrix(convert_pose(pose[:, :3], "feat", "matrix"))


def most_apart(one: Rotation, other: Rotation) -> float:
    return float(np.rad2deg((one.inv() * other).magnitude()).max())


def mirrored(turn: Rotation) -> Rotation:
    return Rotation.from_matrix(MIRROR @ turn.as_matrix() @ MIRROR)


@pytest.fixture(params=["drawn", "turned_faces_dev.npz"])
def points(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param == "drawn":
        return faces(300, spread=0.5, noise=5).double().numpy()
    folder: Path = request.getfixturevalue("shared_data")
    return np.load(folder / request.param)["landmarks_pfld"].astype(np.float64)


@pytest.mark.parametrize("model", MODELS)
def test_every_face_keeps_its_pose(points, model):
    seen = turns(points, model)
    assert most_apart(turns(3 * points + [500, -200], model), seen) < MOST_DEG
    flipped = points[:, list(MIRROR_68)] * [-1, 1] + [1280, 0]
    assert most_apart(turns(flipped, model), mirrored(seen)) < MOST_DEG
    for degrees in (30, 90, 180):
        tilt = Rotation.from_euler("z", degrees, degrees=True)
        tilted = points @ tilt.as_matrix()[:2, :2].T
        assert most_apart(turns(tilted, model), tilt * seen) < MOST_DEG


def test_every_mesh_keeps_its_pose(shared_data):
    mesh = np.load(shared_data / "real/aflw.npz")["landmarks_mesh"].astype(np.float64)
    mesh = mesh[(mesh != -32768).all(axis=(1, 2))] / 32
    seen = turns(mesh, "mediapipe")
    assert most_apart(turns(3 * mesh + [500, -200, 10], "mediapipe"), seen) < MOST_DEG
    for degrees in (30, 90, 180):
        tilt = Rotation.from_euler("z", degrees, degrees=True)
        assert most_apart(turns(mesh @ tilt.as_matrix().T, "mediapipe"), tilt * seen) < MOST_DEG
