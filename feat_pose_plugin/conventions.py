"""Pose conventions by name: what the six columns mean.

Everything inside this package is in ``img2pose``'s camera frame (OpenCV axes: x right, y down, z
away from the camera; rotation vector in radians). A convention is a function from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.geometry import matrix_to_euler_xyz, rotvec_to_matrix
from feat_pose_plugin.landmarks import LandmarkType

FEAT_FACEPOSE_COLUMNS_6D = ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]

# Constant turns between zeros of the head, R_there = R_here C, in degrees about the head's own x
# (to the subject's left; + lowers the face), y (down) and z (to the back), measured by
# `feat-pose calibrate`; docs/accuracy.md says how, and how well they are known.
ICT_TO_IMG2POSE_DEG: Mapping[LandmarkType, tuple[float, float, float]] = MappingProxyType(
    {"2d": (-3.1, 0.0, 0.8), "3d": (0.0, 0.0, 0.0)}
)
"""Rotation vectors from ICT-FaceKit's axes, in which faces are synthesized, to img2pose's.

One for each kind of landmarks, because where a kind puts its points moves the zero as well.
"""
IMG2POSE_TO_300W_LP_PITCH = -1.7
"""From img2pose's axes to those of 300W-LP and AFLW2000-3D."""

INTER_OCULAR_UNITS = 0.8600
"""Distance of the outer eye corners of the reference face, in units of img2pose's."""


def camera_to_300w_lp_matrix(rotation: Tensor) -> Tensor:
    """Rotations of the head in img2pose's camera frame to those of 300W-LP and AFLW2000-3D.

    Axes x right, y up, z towards the camera, ``R' = F R C F`` with ``F = diag(1, -1, -1)``; ``C``
    turns the head's own zero by :data:`IMG2POSE_TO_300W_LP_PITCH`.

    Args:
        rotation: ``[..., 3, 3]`` rotation matrices.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    flip = rotation.new_tensor([1.0, -1.0, -1.0])
    zero = rotation.new_tensor([IMG2POSE_TO_300W_LP_PITCH, 0.0, 0.0]).deg2rad()
    return flip[:, None] * (rotation @ rotvec_to_matrix(zero)) * flip


def _to_img2pose(pose: Tensor) -> Tensor:
    return pose


def _to_feat(pose: Tensor) -> Tensor:
    rx, ry, rz, x, y, z = pose.unbind(-1)
    return torch.stack([-rx, -rz, ry, x, y, z], dim=-1)


def _to_300w_lp(pose: Tensor) -> Tensor:
    matrix = camera_to_300w_lp_matrix(rotvec_to_matrix(pose[..., :3]))
    pitch, yaw, roll = (-matrix_to_euler_xyz(matrix).rad2deg()).unbind(-1)
    x, y, z = pose[..., 3:].unbind(-1)
    return torch.stack([pitch, roll, yaw, x, -y, -z], dim=-1)


def _to_openface(pose: Tensor) -> Tensor:
    pitch, yaw, roll = matrix_to_euler_xyz(rotvec_to_matrix(pose[..., :3])).unbind(-1)
    unknown = torch.full_like(pitch, torch.nan)
    return torch.stack([pitch, roll, yaw, unknown, unknown, unknown], dim=-1)


CONVENTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "feat": _to_feat,
        "img2pose": _to_img2pose,
        "300w-lp": _to_300w_lp,
        "openface": _to_openface,
    }
)
"""From ``[..., 6]`` pose in convention ``img2pose`` to the six columns of each convention.

``feat``
    py-feat 2.x: ``Pitch = -rx``, ``Roll = -rz``, ``Yaw = +ry``, radians, components of the
    rotation vector; +pitch looks up, +yaw turns to the subject's right, +roll tilts to the
    subject's right. X, Y, Z as in ``img2pose``.
``img2pose``
    Pitch, Roll, Yaw hold ``rx, ry, rz`` as they are, radians. "Roll" is the turn about the
    vertical axis; historical, and kept under this name only.
``300w-lp``
    Euler angles of AFLW2000-3D and most papers, degrees: ``R' = Rx Ry Rz`` with
    ``yaw = asin(-R'[0, 2])``. X, Y, Z along x right, y up, z towards the camera.
``openface``
    Euler angles as OpenFace's ``pose_Rx, pose_Rz, pose_Ry``, radians: ``R = Rx Ry Rz`` in
    img2pose's camera axes; +pitch looks down, +yaw turns to the subject's right, +roll tilts to
    the subject's left. X, Y, Z are NaN: OpenFace's are millimetres, which are not known here.
"""


def from_img2pose(pose: Tensor, convention: str) -> Tensor:
    """Express pose in a named convention.

    Args:
        pose: ``[..., 6]`` ``rx, ry, rz`` (radians), ``tx, ty, tz`` in img2pose's camera frame.
        convention: A name in :data:`CONVENTIONS`.

    Returns:
        ``[..., 6]`` values of ``Pitch, Roll, Yaw, X, Y, Z``. NaN stays NaN.

    Raises:
        ConventionError: The name is unknown.
    """
    return find_convention(convention)(pose)


def find_convention(name: str) -> Callable[[Tensor], Tensor]:
    """The function behind a convention's name.

    Raises:
        ConventionError: The name is unknown.
    """
    if name not in CONVENTIONS:
        known = ", ".join(repr(known) for known in CONVENTIONS)
        raise ConventionError(f"unknown convention {name!r}. Known conventions: {known}.")
    return CONVENTIONS[name]
