"""Rotations against SciPy, and the places where formulas usually fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin.pose.meshes import resample_by_arc_length
from feat_pose_plugin.pose.rotations import (
    euler_xyz_to_matrix,
    geodesic_angle,
    is_rotation,
    matrix_to_euler_xyz,
    matrix_to_quaternion,
    matrix_to_rotvec,
    quaternion_to_rotvec,
    rotvec_to_matrix,
)

PRECISION = {torch.float32: 2e-6, torch.float64: 1e-14}
DTYPES = pytest.mark.parametrize("dtype", list(PRECISION))

directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1)
angles = st.one_of(
    st.floats(0, np.pi),
    st.floats(0, 12).map(lambda exponent: 10.0**-exponent),
    st.floats(1, 12).map(lambda exponent: np.pi - 10.0**-exponent),
)
rotvecs = st.builds(
    lambda axis, angle: angle * np.asarray(axis) / np.linalg.norm(axis), directions, angles
)


def random_rotations(count: int = 500) -> Rotation:
    return Rotation.random(count, random_state=0)


@given(rotvecs)
def test_rotvec_to_matrix_is_scipys(rotvec):
    matrix = rotvec_to_matrix(torch.from_numpy(rotvec))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-14)


@given(rotvecs)
def test_rotvec_survives_the_matrix_near_zero_and_near_pi_too(rotvec):
    matrix = rotvec_to_matrix(torch.from_numpy(rotvec))
    back = matrix_to_rotvec(matrix)
    assert geodesic_angle(rotvec_to_matrix(back), matrix) < 1e-14
    assert back.norm() <= np.pi + 1e-14
    if np.linalg.norm(rotvec) < np.pi - 1e-7:  # at pi both signs are the same turn
        np.testing.assert_allclose(back, rotvec, atol=1e-7, rtol=0)


@DTYPES
def test_half_a_turn_and_tiny_turns_keep_their_size(dtype):
    axes = torch.tensor([(1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, 0), (1, -2, 3)], dtype=dtype)
    half = torch.pi * axes / axes.norm(dim=1, keepdim=True)
    back = matrix_to_rotvec(rotvec_to_matrix(half))
    off = torch.minimum((back - half).norm(dim=1), (back + half).norm(dim=1))
    assert off.max() < PRECISION[dtype]
    tiny = torch.tensor([[1e-6, 0, 0], [0, -1e-8, 0], [3e-14, 0, 4e-14]], dtype=dtype)
    torch.testing.assert_close(matrix_to_rotvec(rotvec_to_matrix(tiny)), tiny, rtol=1e-6, atol=0)


def test_no_turn_is_exact():
    zero = torch.zeros(3)
    assert torch.equal(rotvec_to_matrix(zero), torch.eye(3))
    assert torch.equal(matrix_to_rotvec(torch.eye(3)), zero)
    assert torch.equal(matrix_to_euler_xyz(torch.eye(3)), zero)
    assert geodesic_angle(torch.eye(3), torch.eye(3)) == 0


def test_quaternion_and_euler_are_scipys():
    rotations = random_rotations()
    matrix = torch.from_numpy(rotations.as_matrix())
    quaternion = np.roll(rotations.as_quat(canonical=True), 1, axis=1)
    np.testing.assert_allclose(matrix_to_quaternion(matrix), quaternion, atol=1e-14)
    # SciPy's upper case is the intrinsic order, R = Rx Ry Rz.
    angles = matrix_to_euler_xyz(matrix)
    np.testing.assert_allclose(angles, rotations.as_euler("XYZ"), atol=1e-13)
    np.testing.assert_allclose(euler_xyz_to_matrix(angles), matrix, atol=1e-13)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("short_of_lock", [1e-3, 1e-6, 1e-9, 1e-12, 0])
@DTYPES
def test_euler_angles_near_gimbal_lock_are_still_the_same_rotation(sign, short_of_lock, dtype):
    angles = [0.4, sign * (torch.pi / 2 - short_of_lock), -0.3]
    matrix = euler_xyz_to_matrix(torch.tensor(angles, dtype=dtype))
    again = matrix_to_euler_xyz(matrix)
    assert again[1].item() == pytest.approx(angles[1], abs=PRECISION[dtype])
    # Below 1e-7 the first angle is 0 and not what rounding makes of it, which turns by no more.
    if dtype is torch.float64:  # float32 itself is hardly nearer
        assert (again[0] == 0) == (short_of_lock < 1e-7)
    assert geodesic_angle(euler_xyz_to_matrix(again), matrix) < 2e-7 + PRECISION[dtype]


def test_a_quaternion_of_any_length_and_sign_is_one_rotation():
    rotations = random_rotations()
    quaternion = np.roll(rotations.as_quat(), 1, axis=1)
    lengths = np.geomspace(1e-30, 1e30, len(quaternion)) * (-1.0) ** np.arange(len(quaternion))
    found = quaternion_to_rotvec(torch.from_numpy(lengths[:, None] * quaternion))
    np.testing.assert_allclose(found, rotations.as_rotvec(), atol=1e-12)


def test_what_only_turns_is_a_rotation():
    matrix = torch.from_numpy(random_rotations(5).as_matrix())
    assert is_rotation(matrix).all()
    assert is_rotation(matrix + 1e-4).all()
    nan = torch.full((3, 3), torch.nan, dtype=torch.float64)
    for other in (-matrix, 1.1 * matrix, matrix + 0.1, 0 * matrix, nan):
        assert not is_rotation(other).any()


def test_a_quarter_turn_about_each_axis_by_hand():
    quarter = rotvec_to_matrix(torch.eye(3) * torch.pi / 2)
    x, y, z = torch.eye(3)
    # Right-handed: about x, y goes to z; about y, z goes to x; about z, x goes to y.
    for matrix, start, end in zip(quarter, (y, z, x), (z, x, y), strict=True):
        torch.testing.assert_close(matrix @ start, end, atol=1e-6, rtol=0)


@given(rotvecs, rotvecs)
def test_geodesic_angle_is_scipys_and_symmetric(first, second):
    matrices = [rotvec_to_matrix(torch.from_numpy(rotvec)) for rotvec in (first, second)]
    angle = geodesic_angle(*matrices)
    expected = (Rotation.from_rotvec(first).inv() * Rotation.from_rotvec(second)).magnitude()
    assert abs(angle - expected) < 1e-7
    assert abs(angle - geodesic_angle(*matrices[::-1])) < 1e-14


@pytest.mark.parametrize("degrees", [1e-9, 1e-4, 1, 90, 179, 179.9999, 180])
def test_geodesic_angle_does_not_fold_large_angles(degrees):
    turn = rotvec_to_matrix(torch.tensor([0, np.deg2rad(degrees), 0]))
    angle = geodesic_angle(torch.eye(3, dtype=torch.float64), turn).rad2deg().item()
    assert angle == pytest.approx(degrees, rel=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        rotvec_to_matrix,
        lambda rotvec: matrix_to_rotvec(rotvec_to_matrix(rotvec)),
        lambda rotvec: matrix_to_euler_xyz(rotvec_to_matrix(rotvec)),
        lambda rotvec: matrix_to_quaternion(rotvec_to_matrix(rotvec)),
        lambda rotvec: geodesic_angle(rotvec_to_matrix(rotvec), torch.eye(3)),
        euler_xyz_to_matrix,
    ],
)
def test_nan_stays_in_its_row(function):
    good = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [torch.pi, 0.0, 0.0]])
    with_nan = torch.cat([torch.full((1, 3), torch.nan), good])
    result = function(with_nan)
    assert result[0].isnan().any()
    assert torch.equal(result[1:], function(good))


def test_resampling_is_numpys_interpolation_and_keeps_the_ends():
    lines = torch.rand(20, 11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lines[0, 1], lines[1, :4], lines[2] = lines[0, 0], lines[1, 4], 7.0  # vertices that coincide
    resampled = resample_by_arc_length(lines, 9)
    assert torch.equal(resampled[:, 0], lines[:, 0])
    torch.testing.assert_close(resampled[:, -1], lines[:, -1])
    for line, found in zip(lines.numpy(), resampled.numpy(), strict=True):
        arc = np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
        wanted = np.linspace(0, arc[-1], 9)
        expected = np.stack([np.interp(wanted, arc, line[:, axis]) for axis in (0, 1)], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    lines[3, 4] = torch.nan
    again = resample_by_arc_length(lines, 9)
    assert again.isnan().flatten(1).any(dim=1).tolist() == [row == 3 for row in range(20)]
