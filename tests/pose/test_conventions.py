"""Pose conventions, on turns that a person can check in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import (
    CONVENTIONS,
    IMG2POSE_TO_300W_LP_PITCH,
    INTER_OCULAR_UNITS,
    find_convention,
    from_img2pose,
    to_img2pose,
)
from feat_pose_plugin.pose.rotations import matrix_to_rotvec
from feat_pose_plugin.testing import project_face

FLIP = np.diag([1.0, -1.0, -1.0])
RIGHT_EAR, CHIN, LEFT_EAR, NOSE_BRIDGE, NOSE_TIP = 0, 8, 16, 27, 30

rotvecs = st.tuples(*[st.floats(-1.5, 1.5)] * 3)
with_angles = sorted(name for name, convention in CONVENTIONS.items() if convention.has_angles)


def columns(rotvec, convention: str) -> dict[str, float]:
    pose = torch.tensor([*rotvec, 1.0, 2.0, 3.0], dtype=torch.float64)
    values = from_img2pose(pose, convention).tolist()
    return dict(zip(find_convention(convention).columns, values, strict=True))


def face_with(column: str, convention: str) -> torch.Tensor:
    """The picture ``[68, 2]`` of a head turned by 20 degrees so that a column grows."""
    for rotvec in 0.35 * torch.cat([torch.eye(3), -torch.eye(3)]):
        grown = columns(rotvec.tolist(), convention)[column]
        grown -= columns([0, 0, 0], convention)[column]
        if grown > 0.3:
            return project_face(rotvec[None])[0]
    raise AssertionError(f"no single turn makes {column} grow")


@pytest.mark.parametrize("convention", ["feat", "300w-lp", "feat-0.6"])
def test_positive_pitch_looks_up(convention):
    face, frontal = face_with("Pitch", convention), project_face(torch.zeros(1, 3))[0]
    # Up in the picture is less y; the nose tip is nearer to the camera than the ears.
    lift = face[NOSE_TIP, 1] - face[RIGHT_EAR, 1]
    assert lift < frontal[NOSE_TIP, 1] - frontal[RIGHT_EAR, 1] - 20


@pytest.mark.parametrize("convention", ["feat", "300w-lp", "feat-0.6", "openface"])
def test_positive_yaw_turns_to_the_subjects_right(convention):
    face = face_with("Yaw", convention)
    # The subject's right is on the left of the picture.
    assert face[NOSE_TIP, 0] < (face[RIGHT_EAR, 0] + face[LEFT_EAR, 0]) / 2 - 20


def test_positive_roll_tilts_to_the_subjects_right_shoulder():
    face = face_with("Roll", "feat")
    assert face[RIGHT_EAR, 1] > face[LEFT_EAR, 1] + 20
    assert face[NOSE_BRIDGE, 0] < face[CHIN, 0] - 20


# One turn of a head, and what each convention says of it. The pictures above, and the first test
# below, say which turns of the rotation vector these are.
UP_30, RIGHT_20, TILTED_RIGHT_10 = ((-30, 0, 0), (0, 20, 0), (0, 0, -10))


def said_of(degrees, convention: str) -> dict[str, float]:
    """The columns that a turn from the frontal face changes, rounded, and by how much."""
    after, before = (columns(r, convention) for r in (np.deg2rad(degrees), (0, 0, 0)))
    change = {name: round(after[name] - before[name], 3) for name in after}
    return {name: value for name, value in change.items() if value and np.isfinite(value)}


def test_the_three_turns_are_what_they_are_called():
    frontal = project_face(torch.zeros(1, 3))[0]
    up, right, tilted = project_face(torch.tensor([UP_30, RIGHT_20, TILTED_RIGHT_10]).deg2rad())
    assert up[NOSE_TIP, 1] < frontal[NOSE_TIP, 1] - 50  # higher in the picture
    assert right[NOSE_TIP, 0] < frontal[NOSE_TIP, 0] - 50  # to its left, the subject's right
    assert tilted[RIGHT_EAR, 1] > frontal[RIGHT_EAR, 1] + 10  # the right ear goes down
    assert tilted[CHIN, 0] > tilted[NOSE_BRIDGE, 0]  # the chin to the subject's left


def test_known_turns_in_feat():
    assert said_of(UP_30, "feat") == {"Pitch": 0.524}
    assert said_of(RIGHT_20, "feat") == {"Yaw": 0.349}
    assert said_of(TILTED_RIGHT_10, "feat") == {"Roll": 0.175}


@pytest.mark.parametrize("convention", ["img2pose", "feat-0.7"])
def test_known_turns_in_img2pose(convention):
    assert said_of(UP_30, convention) == {"Pitch": -0.524}
    assert said_of(RIGHT_20, convention) == {"Roll": 0.349}
    assert said_of(TILTED_RIGHT_10, convention) == {"Yaw": -0.175}


def test_known_turns_in_300w_lp():
    assert said_of(UP_30, "300w-lp") == {"Pitch": 30}
    # Its zero is turned by 1.7 degrees of pitch, of which a turn to the side makes a little roll.
    right, tilted = said_of(RIGHT_20, "300w-lp"), said_of(TILTED_RIGHT_10, "300w-lp")
    assert right["Yaw"] == pytest.approx(20, abs=0.1)
    assert tilted["Roll"] == pytest.approx(-10, abs=0.1)
    assert max(abs(right.get(name, 0)) for name in ("Pitch", "Roll")) < 0.7
    assert max(abs(tilted.get(name, 0)) for name in ("Pitch", "Yaw")) < 0.7


def test_known_turns_in_feat_0_6():
    assert said_of(UP_30, "feat-0.6") == {"Pitch": 30}
    assert said_of(RIGHT_20, "feat-0.6") == {"Yaw": 20}
    assert said_of(TILTED_RIGHT_10, "feat-0.6") == {"Roll": -10}


def test_known_turns_in_feat_mp():
    assert said_of(UP_30, "feat-mp") == {"Pitch": -0.524}
    assert said_of(RIGHT_20, "feat-mp") == {"Roll": -0.349}
    assert said_of(TILTED_RIGHT_10, "feat-mp") == {"Yaw": 0.175}


def test_known_turns_in_openface():
    assert said_of(UP_30, "openface") == {"Pitch": -0.524}
    assert said_of(RIGHT_20, "openface") == {"Yaw": 0.349}
    assert said_of(TILTED_RIGHT_10, "openface") == {"Roll": -0.175}


def test_known_turns_in_quaternion():
    half_sine = np.sin(np.deg2rad(10)).round(3)  # of 20 degrees
    assert said_of(RIGHT_20, "quaternion") == {"q_w": -0.015, "q_y": half_sine}
    assert said_of(UP_30, "quaternion")["q_x"] < 0
    assert said_of(TILTED_RIGHT_10, "quaternion")["q_z"] < 0


@pytest.mark.parametrize(
    ("convention", "nose"),
    [
        ("matrix", (0, 0, -1)),  # z points away from the camera, y down
        ("mediapipe", (0, 0, 1)),  # z points towards it, y up
    ],
)
def test_known_turns_in_matrices(convention, nose):
    def nose_after(degrees):
        values = list(columns(np.deg2rad(degrees), convention).values())
        return np.reshape(values[:9], (3, 3)) @ nose

    up, right = nose_after(UP_30), nose_after(RIGHT_20)
    np.testing.assert_allclose(up, (0, 0.5 if convention == "mediapipe" else -0.5, up[2]))
    np.testing.assert_allclose(right[:2], (-0.342, 0), atol=1e-3)  # to the left of the picture
    top_of_head = -np.reshape(
        list(columns(np.deg2rad(TILTED_RIGHT_10), "matrix").values())[:9], (3, 3)
    )[:, 1]
    np.testing.assert_allclose(top_of_head, (-0.174, -0.985, 0), atol=1e-3)  # towards its shoulder


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


@given(rotvecs)
def test_feat_0_6_is_its_definition(rotvec):
    a0, a1, a2 = Rotation.from_rotvec(rotvec).inv().as_euler("xyz", degrees=True)
    found = columns(rotvec, "feat-0.6")
    assert [found[k] for k in FEAT_FACEPOSE_COLUMNS_6D[:3]] == pytest.approx([a0, -a2, -a1])


@given(rotvecs)
def test_feat_mp_is_its_definition(rotvec):
    turned = Rotation.from_matrix(FLIP @ Rotation.from_rotvec(rotvec).as_matrix() @ FLIP)
    found = columns(rotvec, "feat-mp")
    assert [found[k] for k in FEAT_FACEPOSE_COLUMNS_6D[:3]] == pytest.approx(turned.as_euler("xyz"))


@given(rotvecs)
def test_quaternion_and_matrices_are_scipys(rotvec):
    rotation = Rotation.from_rotvec(rotvec)
    quaternion = list(columns(rotvec, "quaternion").values())
    assert quaternion[:4] == pytest.approx(np.roll(rotation.as_quat(canonical=True), 1))
    matrix = list(columns(rotvec, "matrix").values())
    assert matrix[:9] == pytest.approx(rotation.as_matrix().ravel())
    mediapipe = list(columns(rotvec, "mediapipe").values())
    assert mediapipe[:9] == pytest.approx((FLIP @ rotation.as_matrix() @ FLIP).ravel())


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("feat", (1, 2, 3)),
        ("img2pose", (1, 2, 3)),
        ("feat-0.6", (1, 2, 3)),
        ("quaternion", (1, 2, 3)),
        ("matrix", (1, 2, 3)),
        ("300w-lp", (1, -2, -3)),
        # With eye corners as far apart as on the reference face in centimetres, a unit is a cm.
        ("openface", (10, 20, 30)),
        ("mediapipe", (1, -2, -3)),
        ("feat-mp", (np.nan, np.nan, np.nan)),
    ],
)
def test_translation_in_axes_and_units(convention, expected):
    pose = torch.tensor([0.1, 0.2, 0.3, 1, 2, 3], dtype=torch.float64)
    eyes = {"inter_ocular_mm": 10 * INTER_OCULAR_UNITS}
    values = from_img2pose(pose, convention, **eyes)
    assert values[-3:].tolist() == pytest.approx(expected, nan_ok=True)
    back = to_img2pose(values, convention, **eyes)
    assert back[:3].tolist() == pytest.approx(pose[:3].tolist())
    if convention != "feat-mp":
        assert back[3:].tolist() == pytest.approx(pose[3:].tolist())


def test_300w_lp_zero_is_one_constant_of_pitch():
    zero = columns([0, 0, 0], "300w-lp")
    assert zero["Pitch"] == pytest.approx(-IMG2POSE_TO_300W_LP_PITCH)
    assert zero["Yaw"] == pytest.approx(0)
    assert zero["Roll"] == pytest.approx(0)


@given(rotvecs)
def test_300w_lp_is_its_definition(rotvec):
    zero = Rotation.from_euler("x", IMG2POSE_TO_300W_LP_PITCH, degrees=True).as_matrix()
    matrix = FLIP @ Rotation.from_rotvec(rotvec).as_matrix() @ zero @ FLIP
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


@given(rotvecs, st.sampled_from(with_angles))
def test_mirror_image_negates_the_turns_to_the_sides_and_nothing_else(rotvec, convention):
    rx, ry, rz = rotvec
    pose = columns(rotvec, convention)
    mirrored = columns((rx, -ry, -rz), convention)
    # Whichever of "Roll" and "Yaw" is the turn and which the tilt, both change sign.
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
    width = len(find_convention(convention).columns)
    assert values.shape == (2, 4, width)
    assert values.dtype == dtype
    unknown = torch.zeros(2, 4, width, dtype=torch.bool)
    unknown[0, 1] = True
    unknown[1, 2, -3:] = True
    if find_convention(convention).translation_unit != "img2pose":
        unknown[..., -3:] = True
    assert torch.equal(values.isnan(), unknown)
    back = to_img2pose(values, convention)
    assert back.shape == pose.shape
    assert back.dtype == dtype
    assert torch.equal(back[..., :3].isnan(), pose[..., :3].isnan())
    assert from_img2pose(pose[0, :0], convention).shape == (0, width)
    assert to_img2pose(values[0, :0], convention).shape == (0, 6)


def test_unknown_convention_is_repeated_and_the_known_ones_named():
    with pytest.raises(ConventionError, match=r"'aflw'.*'feat', 'img2pose', '300w-lp', 'openface'"):
        find_convention("aflw")
    with pytest.raises(ValueError, match="unknown convention None"):
        from_img2pose(torch.zeros(1, 6), None)
