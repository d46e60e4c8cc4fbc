"""Results of MediaPipe and normalised coordinates, by objects of the shape of MediaPipe's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import faces, meshes_of, table_of
from scipy.spatial.transform import Rotation

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.errors import FrameSizeError, LandmarkError

HEIGHT, WIDTH = SIZE = (480, 640)
NOBODY = SimpleNamespace(multi_face_landmarks=None)


@pytest.fixture
def meshes(canonical_face):
    """``[2, 478, 3]`` a face in pixels, from in front and turned."""
    turns = Rotation.from_rotvec([[0, 0, 0], [0, 0.4, 0]])
    return meshes_of(canonical_face, turns) * np.float32(0.6) + np.float32([100, -100, -500])


@pytest.fixture
def shares(meshes):
    """The same, as shares of the width, the height and the width."""
    return meshes / np.float32([WIDTH, HEIGHT, WIDTH])


class LandmarkList:
    """Like the message of Solutions: it has no length and cannot be iterated."""

    def __init__(self, points):
        self.landmark = points


def landmarks(mesh):
    return [SimpleNamespace(x=float(x), y=float(y), z=float(z)) for x, y, z in mesh]


FORMS = {
    "FaceLandmarker": lambda faces: SimpleNamespace(face_landmarks=faces),
    "FaceMesh": lambda faces: SimpleNamespace(
        multi_face_landmarks=[LandmarkList(face) for face in faces]
    ),
    "Holistic of Solutions": lambda faces: [
        SimpleNamespace(face_landmarks=LandmarkList(face)) for face in faces
    ],
    "Holistic of Tasks": lambda faces: [SimpleNamespace(face_landmarks=face) for face in faces],
    "landmarks of Tasks": lambda faces: faces,
    "landmarks of Solutions": lambda faces: [LandmarkList(face) for face in faces],
    "without irises": lambda faces: [face[:468] for face in faces],
}


@pytest.mark.parametrize("form", FORMS)
def test_results_have_the_pose_of_their_pixels(form, meshes, shares):
    result = FORMS[form]([landmarks(mesh) for mesh in shares])
    pose = estimate_pose(result, frame_size=SIZE)
    pd.testing.assert_frame_equal(
        pose, estimate_pose(meshes, frame_size=SIZE), rtol=1e-4, atol=1e-6
    )
    assert pose["Yaw"][1] - pose["Yaw"][0] == pytest.approx(0.4, abs=0.1)  # to the right


def test_one_row_for_each_face_and_for_each_result_without_one(shares):
    one, two = (landmarks(mesh) for mesh in shares)
    results = [FORMS["FaceMesh"]([one]), NOBODY, FORMS["FaceMesh"]([two, one])]
    pose = estimate_pose(results, frame_size=SIZE)
    assert pose["Yaw"].isna().tolist() == [False, True, False, False]
    assert len(estimate_pose(SimpleNamespace(face_landmarks=[]), frame_size=SIZE)) == 1
    assert len(estimate_pose(one, frame_size=SIZE)) == 1
    assert len(estimate_pose([], frame_size=SIZE)) == 0


def test_each_row_has_its_own_frame_size(meshes, shares):
    results = FORMS["FaceMesh"]([landmarks(mesh) for mesh in shares])
    pose = estimate_pose(results, frame_size=np.float32([SIZE, [np.nan, np.nan]]))
    np.testing.assert_allclose(
        pose[:1], estimate_pose(meshes[:1], frame_size=SIZE), rtol=1e-4, atol=1e-6
    )
    assert pose[1:].isna().all(axis=None)


@pytest.mark.parametrize("form", [np.asarray, torch.tensor, table_of])
def test_normalised_coordinates_are_scaled_by_the_frame_size(form, meshes, shares):
    expected = estimate_pose(meshes, frame_size=SIZE)
    for points in (shares, shares[:, :468]):
        source = form(points)
        if isinstance(source, pd.DataFrame):  # says the size itself
            source[["FrameHeight", "FrameWidth"]] = SIZE
        size = None if isinstance(source, pd.DataFrame) else SIZE
        pose = estimate_pose(source, frame_size=size, normalized=True)
        pd.testing.assert_frame_equal(pose, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("points", [478, 468, 68])
def test_a_single_face(points, meshes):
    face = meshes[1, :points] if points > 68 else faces(1)[0]
    np.testing.assert_allclose(estimate_pose(face), estimate_pose(face[None]), atol=1e-5)


@pytest.mark.parametrize("result", ["landmarks", "array"])
def test_without_a_frame_size_it_is_an_error(result, shares):
    source = shares if result == "array" else landmarks(shares[0])
    with pytest.raises(FrameSizeError, match=r"frame_size=\(height, width\)"):
        estimate_pose(source, normalized=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (landmarks(np.zeros((21, 3))), "468 or 478 landmarks, got 21"),
        ("face", "or a result of MediaPipe, got builtins.str"),
        ([[0.1, 0.2]], "got builtins.list"),
        ({"face_landmarks": []}, "got builtins.dict"),
    ],
)
def test_what_is_no_face_of_mediapipe(source, message):
    with pytest.raises(LandmarkError, match=message):
        estimate_pose(source, frame_size=SIZE)
