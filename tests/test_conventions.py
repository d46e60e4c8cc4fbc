"""Pose conventions, on turns that a person can check in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.conventions import (
    CONVENTIONS,
    IMG2POSE_TO_300W_LP_PITCH,
    camera_to_300w_lp_matrix,
    find_convention,
    from_img2pose,
)
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.geometry import matrix_to_rotvec
from feat_pose_plugin.testing import project_face

FLIP = np.diag([1.0, -1.0, -1.0])
RIGHT_EAR, CHIN, LEFT_EAR, NOSE_BRIDGE, NOSE_TIP = 0, 8, 16, 27, 30

rotvecs = st.tuples(*[st.floats(-1.5, 1.5)] * 3)


def columns(rotvec, convention: str) -> dict[str, float]:
    pose = torch.tensor([*rotvec, 1.0, 2.0, 3.0], dtype=torch.float64)
    values = from_img2pose(pose, convention).tolist()
    return dict(zip(FEAT_FACEPOSE_COLUMNS_6D, values, strict=True))


def face_with(column: str, convention: str) -> torch.Tensor:
    """The picture ``[68, 2]`` of a head turned by 20 degrees so that a column grows."""
    for rotvec in 0.35 * torch.cat([torch.eye(3), -torch.eye(3)]):
        grown = columns(rotvec.tolist(), convention)[column]
        grown -= columns([0, 0, 0], convention)[column]
        if grown > 0.3:
            return project_face(rotvec[None])[0]
    raise AssertionError(f"no single turn makes {column} grow")


@pytest.mark.parametrize("convention", ["feat", "300w-lp"])
def test_positive_pitch_looks_up(convention):
    face, frontal = face_with("Pitch", convention), project_face(torch.zeros(1, 3))[0]
    # Up in the picture is less y; the nose tip is nearer to the camera than the ears.
    lift = face[NOSE_TIP, 1] - face[RIGHT_EAR, 1]
    assert lift < frontal[NOSE_TIP, 1] - frontal[RIGHT_EAR, 1] - 20


@pytest.mark.parametrize("convention", ["feat", "300w-lp"])
def test_positive_yaw_turns_to_the_subjects_right(convention):
    face = face_with("Yaw", convention)
    # The subject's right is on the left of the picture.
    assert face[NOSE_TIP, 0] < (face[RIGHT_EAR, 0] + face[LEFT_EAR, 0]) / 2 - 20


def test_positive_roll_tilts_to_the_subjects_right_shoulder():
    face = face_with("Roll", "feat")
    assert face[RIGHT_EAR, 1] > face[LEFT_EAR, 1] + 20
    assert face[NOSE_BRIDGE, 0] < face[CHIN, 0] - 20


def test_img2pose_calls_the_rotation_vector_pitch_roll_yaw_as_it_is():
    assert columns([0.1, 0.2, 0.3], "img2pose") == {
        "Pitch": 0.1, "Roll": 0.2, "Yaw": 0.3, "X": 1, "Y": 2, "Z": 3,
    }  # fmt: skip


def test_feat_by_hand():
    assert columns([0.1, 0.2, 0.3], "feat") == {
        "Pitch": -0.1, "Roll": -0.3, "Yaw": 0.2, "X": 1, "Y": 2, "Z": 3,
    }  # fmt: skip


def test_300w_lp_turns_y_up_and_z_to_the_camera_and_counts_degrees():
    frontal, turned = columns([0, 0, 0], "300w-lp"), columns([0, np.pi / 6, 0], "300w-lp")
    assert (frontal["X"], frontal["Y"], frontal["Z"]) == (1, -2, -3)
    assert turned["Yaw"] - frontal["Yaw"] == pytest.approx(30, abs=0.1)
    nod = columns([np.deg2rad(10), 0, 0], "300w-lp")
    assert nod["Pitch"] - frontal["Pitch"] == pytest.approx(-10)
    assert nod["Yaw"] == pytest.approx(0, abs=1e-9)
    assert nod["Roll"] == pytest.approx(0, abs=1e-9)


@given(rotvecs)
def test_openface_is_euler_angles_of_the_camera_frame(rotvec):
    found = columns(rotvec, "openface")
    expected = Rotation.from_rotvec(rotvec).as_euler("XYZ")
    np.testing.assert_allclose([found[k] for k in ("Pitch", "Yaw", "Roll")], expected, atol=1e-6)
    assert np.isnan([found[k] for k in "XYZ"]).all()


def test_300w_lp_zero_is_one_constant_of_pitch():
    zero = columns([0, 0, 0], "300w-lp")
    assert zero["Pitch"] == pytest.approx(-IMG2POSE_TO_300W_LP_PITCH)
    assert zero["Yaw"] == pytest.approx(0)
    assert zero["Roll"] == pytest.approx(0)


@given(rotvecs)
def test_300w_lp_is_its_definition(rotvec):
    zero = Rotation.from_euler("x", IMG2POSE_TO_300W_LP_PITCH, degrees=True).as_matrix()
    matrix = FLIP @ Rotation.from_rotvec(rotvec).as_matrix() @ zero @ FLIP
    rotation = torch.from_numpy(Rotation.from_rotvec(rotvec).as_matrix())
    np.testing.assert_allclose(camera_to_300w_lp_matrix(rotation), matrix, atol=1e-12)
    found = columns(rotvec, "300w-lp")
    pitch = np.arctan2(matrix[1, 2], matrix[2, 2])
    yaw = np.arcsin(np.clip(-matrix[0, 2], -1, 1))
    roll = np.arctan2(matrix[0, 1], matrix[0, 0])
    expected = np.rad2deg([pitch, roll, yaw])
    np.testing.assert_allclose([found[k] for k in ("Pitch", "Roll", "Yaw")], expected, atol=1e-6)


def test_300w_lp_of_the_published_matrices_is_the_published_angles(shared_data):
    with np.load(shared_data / "aflw2000_dev.npz") as faces:
        angles = faces["pitch_yaw_roll_deg"].astype(np.float64)
        published = faces["rotation"].astype(np.float64)
    to_zero = Rotation.from_euler("x", -IMG2POSE_TO_300W_LP_PITCH, degrees=True).as_matrix()
    rotvec = matrix_to_rotvec(torch.from_numpy(FLIP @ published @ FLIP @ to_zero))
    found = from_img2pose(torch.cat([rotvec, torch.zeros_like(rotvec)], dim=1), "300w-lp")
    np.testing.assert_allclose(found[:, [0, 2, 1]], angles, atol=1e-2)


def test_published_angles_of_photographs_have_the_signs_that_are_claimed(shared_data):
    with np.load(shared_data / "aflw2000_dev.npz") as faces:
        points = faces["landmarks"].astype(np.float64)
        _, yaw, roll = faces["pitch_yaw_roll_deg"].T
    eyes = points[:, [36, 45]]
    nose = points[:, NOSE_TIP, 0] - eyes[..., 0].mean(axis=1)
    upright = np.abs(roll) < 15
    # To the subject's right is to the left of the picture.
    assert (nose[upright & (yaw > 30)] < 0).all()
    assert (nose[upright & (yaw < -30)] > 0).all()
    frontal = np.abs(yaw) < 20
    right_eye_lower = eyes[:, 0, 1] - eyes[:, 1, 1]
    found = np.sign(right_eye_lower[frontal & (np.abs(roll) > 15)])
    # The sign of roll in 300w-lp, as `from_img2pose` gives it for a tilt to the subject's right.
    tilt = np.sign(columns([0, 0, -0.3], "300w-lp")["Roll"])
    assert (found == tilt * np.sign(roll[frontal & (np.abs(roll) > 15)])).all()


@given(rotvecs, st.sampled_from(sorted(CONVENTIONS)))
def test_mirror_image_negates_the_turns_to_the_sides_and_nothing_else(rotvec, convention):
    rx, ry, rz = rotvec
    pose = columns(rotvec, convention)
    mirrored = columns((rx, -ry, -rz), convention)
    # In convention img2pose "Roll" and "Yaw" are ry and rz; either way both change sign.
    signs = {"Pitch": 1, "Roll": -1, "Yaw": -1, "X": 1, "Y": 1, "Z": 1}
    for name, sign in signs.items():
        assert mirrored[name] == pytest.approx(sign * pose[name], abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_nan(convention, dtype):
    pose = torch.full((2, 4, 6), 0.25, dtype=dtype)
    pose[0, 1] = torch.nan
    pose[1, 2, 3:] = torch.nan
    values = from_img2pose(pose, convention)
    assert values.shape == pose.shape
    assert values.dtype == dtype
    unknown = pose.isnan()
    if convention == "openface":
        unknown[..., 3:] = True
    assert torch.equal(values.isnan(), unknown)
    assert from_img2pose(pose[0, :0], convention).shape == (0, 6)


def test_unknown_convention_is_repeated_and_the_known_ones_named():
    with pytest.raises(ConventionError, match=r"'aflw'.*'feat', 'img2pose', '300w-lp', 'openface'"):
        find_convention("aflw")
    with pytest.raises(ValueError, match="unknown convention None"):
        from_img2pose(torch.zeros(1, 6), None)
