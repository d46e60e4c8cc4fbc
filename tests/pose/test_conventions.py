"""Pose conventions, on turns that a person can check in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import (
    CONVENTIONS,
    IMG2POSE_TO_300W_LP_PITCH,
    INTER_OCULAR_UNITS,
    find_convention,
    from_rotvec_pose,
    to_rotvec_pose,
    unit_ratio,
)
from feat_pose_plugin.pose.rotations import matrix_to_rotvec
from feat_pose_plugin.testing import project_face

ANGLES = FEAT_FACEPOSE_COLUMNS_6D[:3]
FLIP = np.diag([1.0, -1.0, -1.0])
RIGHT_EAR, CHIN, LEFT_EAR, NOSE_BRIDGE, NOSE_TIP = 0, 8, 16, 27, 30

rotvecs = st.tuples(*[st.floats(-1.5, 1.5)] * 3)
with_angles = sorted(name for name, convention in CONVENTIONS.items() if convention.has_angles)


def columns(rotvec, convention: str) -> dict[str, float]:
    pose = torch.tensor([*rotvec, 1.0, 2.0, 3.0], dtype=torch.float64)
    values = from_rotvec_pose(pose, convention).tolist()
    return dict(zip(find_convention(convention).columns, values, strict=True))


# One turn of a head, and what each convention says of it. The first test says, by the
# picture, which turns of the rotation vector these are.
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


@pytest.mark.parametrize(
    ("convention", "up", "right", "tilted"),
    [
        ("feat", {"Pitch": 0.524}, {"Yaw": 0.349}, {"Roll": 0.175}),
        ("feat-degrees", {"Pitch": 30}, {"Yaw": 20}, {"Roll": 10}),
        ("degrees", {"Pitch": 30}, {"Yaw": 20}, {"Roll": 10}),
        ("img2pose", {"Pitch": -0.524}, {"Roll": 0.349}, {"Yaw": -0.175}),
        ("feat-0.7", {"Pitch": -0.524}, {"Roll": 0.349}, {"Yaw": -0.175}),
        ("feat-0.6", {"Pitch": 30}, {"Yaw": 20}, {"Roll": -10}),
        ("feat-mp", {"Pitch": -0.524}, {"Roll": -0.349}, {"Yaw": 0.175}),
        ("openface", {"Pitch": -0.524}, {"Yaw": 0.349}, {"Roll": -0.175}),
        ("rotvec", {"r_x": -0.524}, {"r_y": 0.349}, {"r_z": -0.175}),
        (
            "quaternion",
            {"q_w": -0.034, "q_x": -0.259},
            {"q_w": -0.015, "q_y": 0.174},
            {"q_w": -0.004, "q_z": -0.087},
        ),
    ],
)
def test_known_turns(convention, up, right, tilted):
    assert said_of(UP_30, convention) == up
    assert said_of(RIGHT_20, convention) == right
    assert said_of(TILTED_RIGHT_10, convention) == tilted


def test_known_turns_in_300w_lp():
    assert said_of(UP_30, "300w-lp") == {"Pitch": 30}
    # Its zero is turned by 1.7 degrees of pitch, of which a turn to the side makes a little roll.
    right, tilted = said_of(RIGHT_20, "300w-lp"), said_of(TILTED_RIGHT_10, "300w-lp")
    assert right["Yaw"] == pytest.approx(20, abs=0.1)
    assert tilted["Roll"] == pytest.approx(-10, abs=0.1)
    assert max(abs(right.get(name, 0)) for name in ("Pitch", "Roll")) < 0.7
    assert max(abs(tilted.get(name, 0)) for name in ("Pitch", "Yaw")) < 0.7


@pytest.mark.parametrize(("convention", "up_and_back"), [("matrix", -1), ("mediapipe", 1)])
def test_known_turns_in_matrices(convention, up_and_back):
    """``matrix`` has y down and z away from the camera, ``mediapipe`` up and towards it."""
    for degrees, nose, top in (
        (UP_30, (0, 0.5, 0.866), (0, 0.866, -0.5)),
        (RIGHT_20, (-0.342, 0, 0.940), (0, 1, 0)),  # to the left of the picture
        (TILTED_RIGHT_10, (0, 0, 1), (-0.174, 0.985, 0)),  # towards its shoulder
    ):
        values = list(columns(np.deg2rad(degrees), convention).values())
        axes = np.array([1, up_and_back, up_and_back])
        for start, end in (((0, 0, 1), nose), ((0, 1, 0), top)):
            found = np.reshape(values[:9], (3, 3)) @ (axes * start)
            np.testing.assert_allclose(axes * found, end, atol=1e-3)


# A head that is turned by 30 degrees and raised by 20, as py-feat writes it: one turn after the
# other, and not the components of one rotation vector, which is another turn, 5 degrees apart.
TURNED = Rotation.from_euler("ZYX", [0, 30, -20], degrees=True)


def test_a_turn_and_a_nod_are_euler_angles_and_no_rotation_vector():
    assert columns(TURNED.as_rotvec(), "feat-degrees") == pytest.approx(
        {"Pitch": 20, "Roll": 0, "Yaw": 30, "X": 1, "Y": 2, "Z": 3}, abs=1e-9
    )
    assert columns(TURNED.as_rotvec(), "img2pose") == pytest.approx(
        {"Pitch": np.deg2rad(-20), "Roll": np.deg2rad(30), "Yaw": 0, "X": 1, "Y": 2, "Z": 3},
        abs=1e-9,
    )
    vector = [columns(TURNED.as_rotvec(), "rotvec")[name] for name in ("r_x", "r_y", "r_z")]
    assert vector == pytest.approx(TURNED.as_rotvec())
    misread = Rotation.from_rotvec([-20, 30, 0], degrees=True).inv() * TURNED
    assert np.rad2deg(misread.magnitude()) == pytest.approx(5.2, abs=0.2)


def expected_of(turn: Rotation) -> dict[str, np.ndarray]:
    """What SciPy says of a turn, by the definition of each convention."""
    c, b, a = turn.as_euler("ZYX")
    xyz = turn.as_euler("XYZ")
    matrix = turn.as_matrix()
    old = turn.inv().as_euler("xyz", degrees=True)
    zero = Rotation.from_euler("x", IMG2POSE_TO_300W_LP_PITCH, degrees=True).as_matrix()
    r = FLIP @ matrix @ zero @ FLIP
    pitch, roll = np.arctan2(r[1, 2], r[2, 2]), np.arctan2(r[0, 1], r[0, 0])
    yaw = np.arcsin(np.clip(-r[0, 2], -1, 1))
    return {
        "img2pose": np.array([a, b, c]),
        "feat": np.array([-a, -c, b]),
        "feat-degrees": np.rad2deg([-a, -c, b]),
        "openface": xyz[[0, 2, 1]],
        "feat-0.6": old[[0, 2, 1]] * [1, -1, -1],
        "feat-mp": Rotation.from_matrix(FLIP @ matrix @ FLIP).as_euler("xyz"),
        "300w-lp": np.rad2deg([pitch, roll, yaw]),
        "rotvec": turn.as_rotvec(),
        "quaternion": np.roll(turn.as_quat(canonical=True), 1),
        "matrix": matrix.ravel(),
        "mediapipe": (FLIP @ matrix @ FLIP).ravel(),
    }


@given(rotvecs)
def test_each_convention_is_its_definition(rotvec):
    expected = expected_of(Rotation.from_rotvec(rotvec))
    assert expected.keys() == {each.name for each in CONVENTIONS.values()}
    for convention, known in expected.items():
        found = list(columns(rotvec, convention).values())[:-3]
        np.testing.assert_allclose(found, known, atol=1e-6, err_msg=convention)


def test_py_feats_own_euler_angles_are_img2pose():
    from feat.utils.image_operations import rotvec_to_euler_angles

    turns = Rotation.random(5000, random_state=5)
    away = np.abs(turns.as_euler("ZYX")[:, 1]) < np.deg2rad(89)
    rotvec = torch.from_numpy(turns.as_rotvec()[away])
    theirs = rotvec_to_euler_angles(rotvec)
    quaternion = np.roll(turns.as_quat()[away], 1, axis=1)
    feat = theirs[:, [0, 2, 1]] * torch.tensor([-1, -1, 1])
    for convention, expected in (("img2pose", theirs), ("feat", feat)):
        found = convert_pose(quaternion, "quaternion", convention)
        apart = np.angle(np.exp(1j * (found - expected.numpy())))
        assert np.abs(apart).max() < 1e-4
    assert len(rotvec) > 4900


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_translation_is_in_the_axes_of_the_convention(convention):
    pose = torch.tensor([0.1, 0.2, 0.3, 1, 2, 3], dtype=torch.float64)
    values = from_rotvec_pose(pose, convention)
    up_to_camera = convention in ("300w-lp", "feat-mp", "mediapipe")
    assert values[-3:].tolist() == ([1, -2, -3] if up_to_camera else [1, 2, 3])
    assert to_rotvec_pose(values, convention).tolist() == pytest.approx(pose.tolist())
    rotation = from_rotvec_pose(pose[:3], convention)
    assert torch.equal(rotation, values[:-3])
    assert to_rotvec_pose(rotation, convention).tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("source", "target", "eyes_mm", "ratio"),
    [
        ("mm", "cm", None, 0.1),
        ("cm", "mm", 90, 10),
        ("img2pose", "img2pose", None, 1),
        ("img2pose", "mm", 90, 90 / INTER_OCULAR_UNITS),
        ("cm", "img2pose", 90, 10 * INTER_OCULAR_UNITS / 90),
        ("img2pose", "mm", None, np.nan),
        ("px", "px", None, 1),
        ("px", "mm", 90, np.nan),
        ("img2pose", "px", 90, np.nan),
    ],
)
def test_ratio_of_units(source, target, eyes_mm, ratio):
    assert unit_ratio(source, target, eyes_mm) == pytest.approx(ratio, nan_ok=True)


def test_300w_lp_zero_is_one_constant_of_pitch():
    zero = columns([0, 0, 0], "300w-lp")
    assert zero["Pitch"] == pytest.approx(-IMG2POSE_TO_300W_LP_PITCH)
    assert zero["Yaw"] == pytest.approx(0)
    assert zero["Roll"] == pytest.approx(0)


def test_300w_lp_of_the_published_matrices_is_the_published_angles(shared_data):
    with np.load(shared_data / "aflw2000_dev.npz") as faces:
        angles = faces["pitch_yaw_roll_deg"].astype(np.float64)
        published = faces["rotation"].astype(np.float64)
    to_zero = Rotation.from_euler("x", -IMG2POSE_TO_300W_LP_PITCH, degrees=True).as_matrix()
    rotvec = matrix_to_rotvec(torch.from_numpy(FLIP @ published @ FLIP @ to_zero))
    found = from_rotvec_pose(torch.cat([rotvec, torch.zeros_like(rotvec)], dim=1), "300w-lp")
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
    # The sign of roll in 300w-lp, as `from_rotvec_pose` gives it for a tilt to the subject's right.
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


@pytest.mark.parametrize(
    ("name", "found"), [("Feat", "feat"), ("300W-LP", "300w-lp"), ("Degrees", "feat-degrees")]
)
def test_a_name_is_found_whatever_its_case(name, found):
    assert find_convention(name).name == found


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("300wlp", " Did you mean '300w-lp'?"),
        ("Openfaces", " Did you mean 'openface'?"),
        ("degree", " Did you mean 'degrees'?"),
        *(("zzz", ""), (None, ""), (3, "")),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, guess):
    with pytest.raises(ConventionError) as caught:
        from_rotvec_pose(torch.zeros(1, 6), name)
    assert f"unknown convention {name!r}.{guess} Known: 'feat'" in str(caught.value)
