"""Pose conventions by name: what the numbers of a pose mean, there and back.

Everything inside this package is in ``img2pose``'s camera frame (OpenCV axes: x right, y down, z
away from the camera; rotation vector in radians; translation in units of img2pose's reference
face). A convention is declared once, as data, and :func:`from_img2pose` and :func:`to_img2pose`
are all that reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.arguments import is_name
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.rotations import (
    euler_xyz_to_matrix,
    matrix_to_euler_xyz,
    matrix_to_quaternion,
    matrix_to_rotvec,
    quaternion_to_rotvec,
    rotvec_to_matrix,
)

FEAT_FACEPOSE_COLUMNS_6D = ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]

# Constant turns between zeros of the head, R_there = R_here C, in degrees about the head's own x
# (to the subject's left; + lowers the face), y (down) and z (to the back), measured by
# `feat-pose calibrate`; docs/accuracy.md says how, and how well they are known.
ICT_TO_IMG2POSE_DEG: Mapping[LandmarkKind, tuple[float, float, float]] = MappingProxyType(
    {"2d": (-3.1, 0.0, 0.8), "3d": (0.0, 0.0, 0.0)}
)
"""Rotation vectors from ICT-FaceKit's axes, in which faces are synthesized, to img2pose's.

One for each kind of landmarks, because where a kind puts its points moves the zero as well.
"""
IMG2POSE_TO_300W_LP_PITCH = -1.7
"""From img2pose's axes to those of 300W-LP and AFLW2000-3D."""

INTER_OCULAR_UNITS = 0.8600
"""Distance of the outer eye corners of the reference face, in units of img2pose's."""

Representation = Literal["rotvec", "euler_xyz", "euler_zyx", "quaternion", "matrix"]
TranslationUnit = Literal["img2pose", "mm", "cm", "px"]

# Of each representation, how it is made of a rotation vector, and the rotation vector of it.
# The inverse of Rx(a) Ry(b) Rz(c) is Rz(-c) Ry(-b) Rx(-a), hence euler_zyx.
_REPRESENTATIONS: Mapping[
    Representation, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
] = MappingProxyType(
    {
        "rotvec": (lambda rotvec: rotvec, lambda rotvec: rotvec),
        "euler_xyz": (
            lambda rotvec: matrix_to_euler_xyz(rotvec_to_matrix(rotvec)),
            lambda angles: matrix_to_rotvec(euler_xyz_to_matrix(angles)),
        ),
        "euler_zyx": (
            lambda rotvec: -matrix_to_euler_xyz(rotvec_to_matrix(-rotvec)),
            lambda angles: -matrix_to_rotvec(euler_xyz_to_matrix(-angles)),
        ),
        "quaternion": (
            lambda rotvec: matrix_to_quaternion(rotvec_to_matrix(rotvec)),
            quaternion_to_rotvec,
        ),
        "matrix": (
            lambda rotvec: rotvec_to_matrix(rotvec).flatten(-2),
            lambda rows: matrix_to_rotvec(rows.reshape(*rows.shape[:-1], 3, 3)),
        ),
    }
)
_UNIT_MM = {"mm": 1.0, "cm": 10.0, "px": math.nan}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What the numbers of a pose mean.

    A head at rotation ``R`` in img2pose's camera axes has, here, the rotation ``F R C F`` with
    ``F = diag(axes)`` and ``C`` = :attr:`zero_turn`.

    Attributes:
        name: What users call it.
        representation: Of the rotation: ``rotvec`` (axis times angle), ``euler_xyz``
            (``R = Rx(a) Ry(b) Rz(c)``), ``euler_zyx`` (``R = Rz(c) Ry(b) Rx(a)``), ``quaternion``
            (scalar first, not negative), or ``matrix`` (row by row).
        parts: The columns that hold the parts of the rotation, in the order of the representation
            (about x, y, z; or w, x, y, z), and the sign of each.
        degrees: Whether its angles are degrees; radians otherwise.
        axes: Signs of img2pose's x, y, z (right, down, away from the camera): ``(1, -1, -1)`` is
            x right, y up, z towards the camera.
        zero: Whose zero of the head the rotation is from.
        translation_unit: Of X, Y, Z: ``img2pose`` (of its reference face), ``mm``, ``cm``, or
            ``px`` (of a mesh in the picture, which says nothing of the place in space).
        table_names: What another program's tables call the columns, in their order there.
    """

    name: str
    representation: Representation
    parts: Mapping[str, int]
    degrees: bool = False
    axes: tuple[int, int, int] = (1, 1, 1)
    zero: Literal["img2pose", "300w-lp"] = "img2pose"
    translation_unit: TranslationUnit = "img2pose"
    table_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_angles(self) -> bool:
        """Whether the rotation is three angles, so that py-feat's six columns hold a pose."""
        return set(self.parts) <= set(FEAT_FACEPOSE_COLUMNS_6D)

    @property
    def rotation_columns(self) -> list[str]:
        """The columns of the rotation; angles in py-feat's order."""
        return FEAT_FACEPOSE_COLUMNS_6D[:3] if self.has_angles else list(self.parts)

    @property
    def columns(self) -> list[str]:
        """All columns: those of the rotation, then X, Y, Z."""
        return [*self.rotation_columns, *FEAT_FACEPOSE_COLUMNS_6D[3:]]

    @property
    def zero_turn(self) -> Tensor:
        """``[3, 3]`` float64, from img2pose's zero of the head to the one here."""
        pitch = IMG2POSE_TO_300W_LP_PITCH if self.zero == "300w-lp" else 0.0
        return rotvec_to_matrix(torch.tensor([pitch, 0.0, 0.0], dtype=torch.float64).deg2rad())

    def from_rotvec(self, rotvec: Tensor) -> Tensor:
        """Rotation vectors in img2pose's camera axes, from the zero here, to columns.

        Args:
            rotvec: ``[..., 3]`` radians.

        Returns:
            ``[..., k]`` values of :attr:`rotation_columns`.
        """
        express, _ = _REPRESENTATIONS[self.representation]
        parts = express(rotvec * rotvec.new_tensor(self.axes))
        parts = parts * parts.new_tensor(list(self.parts.values()))
        if self.degrees:
            parts = parts.rad2deg()
        order = list(self.parts)
        return parts[..., [order.index(name) for name in self.rotation_columns]]

    def to_rotvec(self, values: Tensor) -> Tensor:
        """Columns to rotation vectors in img2pose's camera axes, from the zero here.

        Args:
            values: ``[..., k]`` values of :attr:`rotation_columns`.

        Returns:
            ``[..., 3]`` radians.
        """
        _, read = _REPRESENTATIONS[self.representation]
        parts = values[..., [self.rotation_columns.index(name) for name in self.parts]]
        if self.degrees:
            parts = parts.deg2rad()
        rotvec = read(parts * parts.new_tensor(list(self.parts.values())))
        return rotvec * rotvec.new_tensor(self.axes)


def _by_name(*conventions: Convention) -> Mapping[str, Convention]:
    named = {convention.name: convention for convention in conventions}
    return MappingProxyType({**named, "feat-0.7": named["img2pose"]})


_RIGHT_UP_TO_CAMERA = (1, -1, -1)
_ROWS = dict.fromkeys([f"r_{row}{column}" for row in range(3) for column in range(3)], 1)

CONVENTIONS = _by_name(
    # py-feat >= 2.0, feat/detector.py.
    Convention(
        name="feat",
        representation="rotvec",
        parts={"Pitch": -1, "Yaw": 1, "Roll": -1},
    ),
    # "Roll" is the turn about the vertical axis: historical, and kept under this name only.
    Convention(
        name="img2pose",
        representation="rotvec",
        parts={"Pitch": 1, "Roll": 1, "Yaw": 1},
    ),
    # R' = Rx Ry Rz with yaw = asin(-R'[0, 2]), pitch = atan2(R'[1, 2], R'[2, 2]) and
    # roll = atan2(R'[0, 1], R'[0, 0]): AFLW2000-3D and most papers.
    Convention(
        name="300w-lp",
        representation="euler_xyz",
        parts={"Pitch": -1, "Yaw": -1, "Roll": -1},
        degrees=True,
        axes=_RIGHT_UP_TO_CAMERA,
        zero="300w-lp",
    ),
    # OpenFace's RotationHelpers.h.
    Convention(
        name="openface",
        representation="euler_xyz",
        parts={"Pitch": 1, "Yaw": 1, "Roll": 1},
        translation_unit="mm",
        table_names={
            "X": "pose_Tx",
            "Y": "pose_Ty",
            "Z": "pose_Tz",
            "Pitch": "pose_Rx",
            "Yaw": "pose_Ry",
            "Roll": "pose_Rz",
        },
    ),
    # py-feat's convert_to_euler: the angles a of R.T = Rz(a2) Ry(a1) Rx(a0), so that
    # R = Rx(-a0) Ry(-a1) Rz(-a2), written as Pitch = a0, Roll = -a2, Yaw = -a1.
    Convention(
        name="feat-0.6",
        representation="euler_xyz",
        parts={"Pitch": -1, "Yaw": 1, "Roll": 1},
        degrees=True,
    ),
    # py-feat's rotation_matrix_to_euler_angles of the turn from MediaPipe's canonical face (x
    # right, y up, z out of the face) to the mesh. X, Y, Z are where that face's origin would lie
    # in the picture.
    Convention(
        name="feat-mp",
        representation="euler_zyx",
        parts={"Pitch": 1, "Roll": 1, "Yaw": 1},
        axes=_RIGHT_UP_TO_CAMERA,
        translation_unit="px",
    ),
    # MediaPipe's facial transformation matrix.
    Convention(
        name="mediapipe",
        representation="matrix",
        parts=_ROWS,
        axes=_RIGHT_UP_TO_CAMERA,
        translation_unit="cm",
    ),
    Convention(
        name="quaternion",
        representation="quaternion",
        parts={"q_w": 1, "q_x": 1, "q_y": 1, "q_z": 1},
    ),
    Convention(name="matrix", representation="matrix", parts=_ROWS),
)
"""Every convention by name; ``feat-0.7`` is another name of ``img2pose``."""


def find_convention(name: str) -> Convention:
    """The convention of a name.

    Raises:
        ConventionError: The name is unknown.
    """
    if not is_name(name, tuple(CONVENTIONS)):
        known = ", ".join(repr(known) for known in CONVENTIONS)
        raise ConventionError(f"unknown convention {name!r}. Known conventions: {known}.")
    return CONVENTIONS[name]


def from_img2pose(pose: Tensor, convention: str, *, inter_ocular_mm: float | None = None) -> Tensor:
    """Express pose in a named convention.

    Args:
        pose: ``[..., 6]`` ``rx, ry, rz`` (radians), ``tx, ty, tz`` in img2pose's camera frame and
            units.
        convention: A name in :data:`CONVENTIONS`.
        inter_ocular_mm: The distance of the outer eye corners in millimetres, which says how long
            a unit is.

    Returns:
        ``[..., k + 3]`` values of the convention's :attr:`~Convention.columns`; six where it has
        angles. NaN stays NaN. X, Y, Z are NaN where they are in another unit of which nothing
        says how long it is.

    Raises:
        ConventionError: The name is unknown.
    """
    there = find_convention(convention)
    rotvec, translation = pose[..., :3], pose[..., 3:]
    if there.zero != "img2pose":
        rotvec = matrix_to_rotvec(rotvec_to_matrix(rotvec) @ there.zero_turn.to(pose))
    length = unit_length(there.translation_unit, inter_ocular_mm)
    translation = translation * translation.new_tensor(there.axes) / length
    return torch.cat([there.from_rotvec(rotvec), translation], dim=-1)


def to_img2pose(values: Tensor, convention: str, *, inter_ocular_mm: float | None = None) -> Tensor:
    """Read pose in a named convention: the inverse of :func:`from_img2pose`.

    Args:
        values: ``[..., k + 3]`` values of the convention's :attr:`~Convention.columns`.
        convention: A name in :data:`CONVENTIONS`.
        inter_ocular_mm: See :func:`from_img2pose`.

    Returns:
        ``[..., 6]`` ``rx, ry, rz`` (radians), ``tx, ty, tz`` in img2pose's camera frame and units.

    Raises:
        ConventionError: The name is unknown.
    """
    here = find_convention(convention)
    rotvec, translation = here.to_rotvec(values[..., :-3]), values[..., -3:]
    if here.zero != "img2pose":
        rotvec = matrix_to_rotvec(rotvec_to_matrix(rotvec) @ here.zero_turn.mT.to(values))
    length = unit_length(here.translation_unit, inter_ocular_mm)
    return torch.cat([rotvec, translation * translation.new_tensor(here.axes) * length], dim=-1)


def unit_length(unit: TranslationUnit, inter_ocular_mm: float | None) -> float:
    """How long a unit of X, Y, Z is, in units of img2pose's reference face.

    Args:
        unit: Which unit.
        inter_ocular_mm: The distance of the outer eye corners in millimetres, if known.

    Returns:
        The length; NaN where nothing says how long it is.
    """
    if unit == "img2pose":
        return 1.0
    if inter_ocular_mm is None:
        return math.nan
    return _UNIT_MM[unit] * INTER_OCULAR_UNITS / inter_ocular_mm
