"""Rotations by representation, batched over leading dimensions.

Convention of this file: rotations are active and right-handed, act on column vectors
(``y = R @ x``), and angles are radians. ``euler_xyz`` stands for ``R = Rx(a) Ry(b) Rz(c)``. Every
function keeps dtype and device, and a row with NaN gives NaN in that row only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm

_GIMBAL_LOCK = 1e-7  # cosine of the middle angle: below, rounding decides the first


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotation vectors to matrices (Rodrigues' formula).

    Args:
        rotvec: ``[..., 3]`` axis times angle in radians.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    angle = vector_norm(rotvec, dim=-1)[..., None, None]
    skew = rotvec_to_skew(rotvec)
    # torch.sinc is sin(pi x) / (pi x), exact at zero; (1 - cos a) / a^2 = sinc(a / 2)^2 / 2.
    sine = torch.sinc(angle / torch.pi)
    versine = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + sine * skew + versine * (skew @ skew)


def rotvec_to_skew(rotvec: Tensor) -> Tensor:
    """The matrix of the cross product, ``skew(r) @ x = r x x``.

    Args:
        rotvec: ``[..., 3]``.

    Returns:
        ``[..., 3, 3]`` skew-symmetric matrices.
    """
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).reshape(*rotvec.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Rotation matrices to unit quaternions, scalar first, scalar not negative.

    The largest of the four squared components decides the branch (Shepperd 1978), so that no
    division is by a small number.

    Args:
        matrix: ``[..., 3, 3]`` rotation matrices.

    Returns:
        ``[..., 4]`` quaternions ``(w, x, y, z)``.
    """
    m = matrix
    diagonal = m.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(dim=-1)
    wx, wy, wz = (m[..., j, i] - m[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    # Row k is 4 q_k (w, x, y, z).
    square = torch.cat([1 + trace[..., None], 1 + 2 * diagonal - trace[..., None]], dim=-1)
    rows = torch.stack(
        [
            torch.stack([square[..., 0], wx, wy, wz], dim=-1),
            torch.stack([wx, square[..., 1], xy, xz], dim=-1),
            torch.stack([wy, xy, square[..., 2], yz], dim=-1),
            torch.stack([wz, xz, yz, square[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = square.argmax(dim=-1)[..., None, None].expand(*square.shape[:-1], 1, 4)
    quaternion = rows.gather(-2, best).squeeze(-2)
    quaternion = quaternion / vector_norm(quaternion, dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Rotation matrices to rotation vectors of length at most pi.

    Args:
        matrix: ``[..., 3, 3]`` rotation matrices.

    Returns:
        ``[..., 3]`` axis times angle in radians; at exactly pi one of the two signs.
    """
    return quaternion_to_rotvec(matrix_to_quaternion(matrix))


def quaternion_to_rotvec(quaternion: Tensor) -> Tensor:
    """Quaternions to rotation vectors of length at most pi.

    Args:
        quaternion: ``[..., 4]`` quaternions ``(w, x, y, z)`` of any length but 0, either sign.

    Returns:
        ``[..., 3]`` axis times angle in radians; at exactly pi one of the two signs.
    """
    quaternion = quaternion / vector_norm(quaternion, dim=-1, keepdim=True)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    sine = vector_norm(vector, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, scalar)
    # angle / sine tends to 2 / scalar at zero.
    return vector * torch.where(sine > 1e-12, angle / sine.clamp_min(1e-12), 2 / scalar)


def euler_xyz_to_matrix(angles: Tensor) -> Tensor:
    """Euler angles ``(a, b, c)`` to ``Rx(a) Ry(b) Rz(c)``.

    Args:
        angles: ``[..., 3]`` radians.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    (sa, sb, sc), (ca, cb, cc) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        *(cb * cc, -cb * sc, sb),
        *(ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb),
        *(sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb),
    )
    return torch.stack(rows, dim=-1).reshape(*angles.shape[:-1], 3, 3)


def matrix_to_euler_xyz(matrix: Tensor) -> Tensor:
    """Rotation matrices to the angles of ``Rx(a) Ry(b) Rz(c)``.

    ``c`` is read off what is left after ``Rx(a)``, so that the three make the rotation again
    however near to gimbal lock it is.

    Args:
        matrix: ``[..., 3, 3]`` rotation matrices.

    Returns:
        ``[..., 3]`` radians, ``b`` within +-pi/2, the others within +-pi. Near ``b = +-pi/2``
        (gimbal lock) ``a`` and ``c`` are only known together; at it, ``a`` is 0.
    """
    m = matrix
    cosine = vector_norm(m[..., 1:, 2], dim=-1)
    a = torch.atan2(-m[..., 1, 2], m[..., 2, 2])
    a = torch.where(cosine < _GIMBAL_LOCK, 0.0, a)
    # The middle row of Rx(-a) R = Ry(b) Rz(c) is (sin c, cos c, 0).
    middle = a.cos()[..., None] * m[..., 1, :] + a.sin()[..., None] * m[..., 2, :]
    b = torch.atan2(m[..., 0, 2], cosine)
    c = torch.atan2(middle[..., 0], middle[..., 1])
    return torch.stack([a, b, c], dim=-1)


def is_rotation(matrix: Tensor) -> Tensor:
    """Whether matrices turn and do nothing else.

    Args:
        matrix: ``[..., 3, 3]``.

    Returns:
        ``[...]`` bool: rows of length 1 at right angles to each other, up to 1e-3, and no mirror
        image. False for NaN.
    """
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    off = (matrix @ matrix.mT - identity).abs().flatten(-2).amax(dim=-1)
    sound: Tensor = (off < 1e-3) & (torch.linalg.det(matrix.nan_to_num(0)) > 0)
    return sound


def geodesic_angle(first: Tensor, second: Tensor) -> Tensor:
    """The angle of the turn that leads from one rotation to another.

    Args:
        first: ``[..., 3, 3]`` rotation matrices.
        second: ``[..., 3, 3]`` rotation matrices, broadcast against ``first``.

    Returns:
        ``[...]`` radians in ``[0, pi]``.
    """
    quaternion = matrix_to_quaternion(first.mT @ second)
    return 2 * torch.atan2(vector_norm(quaternion[..., 1:], dim=-1), quaternion[..., 0])


def mean_rotation(rotations: Tensor) -> Tensor:
    """The rotation nearest to all, in the chordal sense (projection of the arithmetic mean).

    Args:
        rotations: ``[N, 3, 3]`` rotation matrices.

    Returns:
        ``[3, 3]`` rotation matrix.
    """
    u, _, vt = torch.linalg.svd(rotations.mean(dim=0))
    sign = torch.ones(3, dtype=rotations.dtype, device=rotations.device)
    sign[2] = torch.det(u @ vt).sign()
    nearest: Tensor = u @ torch.diag(sign) @ vt
    return nearest


def resample_by_arc_length(points: Tensor, count: int) -> Tensor:
    """Points at equal arcs along polylines, ends included.

    Args:
        points: ``[B, N, D]`` vertices of the polylines; vertices may coincide.
        count: How many points to return, at least 2.

    Returns:
        ``[B, count, D]``.
    """
    steps = vector_norm(torch.diff(points, dim=1), dim=-1)
    arc = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(dim=1)], dim=1)
    fractions = torch.linspace(0, 1, count, dtype=points.dtype, device=points.device)
    wanted = arc[:, -1:] * fractions
    # The segment on which each wanted arc length lies.
    segment = (torch.searchsorted(arc, wanted, right=True) - 1).clamp(0, steps.shape[1] - 1)
    length = steps.gather(1, segment)
    within = (wanted - arc.gather(1, segment)) / length.clamp_min(torch.finfo(points.dtype).tiny)
    index = segment[..., None].expand(-1, -1, points.shape[-1])
    start, end = points.gather(1, index), points.gather(1, index + 1)
    resampled: Tensor = start + within[..., None] * (end - start)
    return resampled
