"""Rotations by representation, batched over leading dimensions.

Rotations are active and right-handed, act on column vectors (``y = R @ x``), and angles are
radians. A rotation vector is axis times angle, ``euler_xyz`` are the angles of
``R = Rx(a) Ry(b) Rz(c)``, a quaternion is ``w, x, y, z``. Every function keeps dtype and device,
and a row with NaN gives NaN in that row only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm

_GIMBAL_LOCK = 1e-7  # cosine of the middle angle: below, rounding decides the first


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """``[..., 3]`` to ``[..., 3, 3]``, by Rodrigues' formula."""
    angle: Tensor = vector_norm(rotvec, dim=-1)[..., None, None]
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device).expand(*rotvec.shape, 3)
    skew: Tensor = torch.linalg.cross(identity, rotvec[..., None, :])  # skew @ x is r x x
    # torch.sinc is sin(pi x) / (pi x), exact at zero; (1 - cos a) / a^2 = sinc(a / 2)^2 / 2.
    sine = torch.sinc(angle / torch.pi)
    versine = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    return identity + sine * skew + versine * (skew @ skew)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """``[..., 3, 3]`` to ``[..., 4]`` of length 1, scalar not negative.

    The largest of the four squared components decides the branch (Shepperd 1978), so that no
    division is by a small number.
    """
    m = matrix
    diagonal = m.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(dim=-1, keepdim=True)
    square = torch.cat([1 + trace, 1 + 2 * diagonal - trace], dim=-1)
    ww, xx, yy, zz = square.unbind(-1)
    wx, wy, wz = (m[..., j, i] - m[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    # Row k is 4 q_k (w, x, y, z).
    rows = (ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz)
    best = square.argmax(dim=-1)[..., None, None].expand(*square.shape[:-1], 1, 4)
    found = torch.stack(rows, dim=-1).reshape(*square.shape, 4).gather(-2, best)
    return _normalise(found.squeeze(-2))


def _normalise(quaternion: Tensor) -> Tensor:
    """The quaternion of the same rotation that has length 1 and a scalar that is not negative."""
    quaternion = quaternion / vector_norm(quaternion, dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """``[..., 3, 3]`` to ``[..., 3]`` of length at most pi; at pi one of the two signs."""
    return quaternion_to_rotvec(matrix_to_quaternion(matrix))


def quaternion_to_rotvec(quaternion: Tensor) -> Tensor:
    """``[..., 4]`` of any length but 0 and either sign to ``[..., 3]`` of length at most pi."""
    unit = _normalise(quaternion)
    scalar, vector = unit[..., :1], unit[..., 1:]
    sine: Tensor = vector_norm(vector, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, scalar)
    # angle / sine tends to 2 / scalar at zero.
    return vector * torch.where(sine > 1e-12, angle / sine.clamp_min(1e-12), 2 / scalar)


def euler_xyz_to_matrix(angles: Tensor) -> Tensor:
    """``[..., 3]`` to ``[..., 3, 3]``."""
    (sa, sb, sc), (ca, cb, cc) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        *(cb * cc, -cb * sc, sb),
        *(ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb),
        *(sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb),
    )
    return torch.stack(rows, dim=-1).reshape(*angles.shape, 3)


def matrix_to_euler_xyz(matrix: Tensor) -> Tensor:
    """``[..., 3, 3]`` to ``[..., 3]``, ``b`` within +-pi/2, the others within +-pi.

    Near ``b = +-pi/2`` (gimbal lock) ``a`` and ``c`` are only known together; at it, ``a`` is 0.
    ``c`` is read off what is left after ``Rx(a)``, so that the three make the rotation again.
    """
    m = matrix
    cosine = vector_norm(m[..., 1:, 2], dim=-1)
    a = torch.atan2(-m[..., 1, 2], m[..., 2, 2])
    a = torch.where(cosine < _GIMBAL_LOCK, 0.0, a)
    # The middle row of Rx(-a) R = Ry(b) Rz(c) is (sin c, cos c, 0).
    middle = a.cos()[..., None] * m[..., 1, :2] + a.sin()[..., None] * m[..., 2, :2]
    b = torch.atan2(m[..., 0, 2], cosine)
    c = torch.atan2(middle[..., 0], middle[..., 1])
    return torch.stack([a, b, c], dim=-1)


def is_rotation(matrix: Tensor) -> Tensor:
    """``[...]`` bool: rows of length 1 at right angles, up to 1e-3, and no mirror image or NaN."""
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    off = (matrix @ matrix.mT - identity).abs().flatten(-2).amax(dim=-1)
    sound: Tensor = (off < 1e-3) & (torch.linalg.det(matrix.nan_to_num(0)) > 0)
    return sound


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """``[...]`` radians in ``[0, pi]`` of the turn from one ``[..., 3, 3]`` to another."""
    quaternion = matrix_to_quaternion(first.mT @ second)
    return 2 * torch.atan2(vector_norm(quaternion[..., 1:], dim=-1), quaternion[..., 0])
