"""Pose conventions by name: what the numbers of a pose mean, there and back.

Inside this package a rotation is a matrix or a rotation vector in OpenCV's camera axes (x right, y
down, z away from the camera), active, from img2pose's zero of the head. A convention is declared
once, as data, and :func:`from_rotvec_pose` and :func:`to_rotvec_pose` read and write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.arguments import find_name
from feat_pose_plugin.pose.rotations import (
    euler_xyz_to_matrix,
    matrix_to_euler_xyz,
    matrix_to_quaternion,
    matrix_to_rotvec,
    quaternion_to_rotvec,
    rotvec_to_matrix,
)

FEAT_FACEPOSE_COLUMNS_6D = ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]

IMG2POSE_TO_300W_LP_PITCH = 1.0
"""From img2pose's zero of the head to that of 300W-LP and AFLW2000-3D, in degrees about the head's
own x, + lowers the face. Plus or minus 0.2 over AFLW2000-3D's faces, 0.4 with the uncertainty of
the zero of py-feat's official network; docs/accuracy-details.md says how it is measured.
"""

INTER_OCULAR_UNITS = 0.8600
"""Distance of the outer eye corners of the reference face, in units of img2pose's."""

Representation = Literal["rotvec", "euler_xyz", "euler_zyx", "quaternion", "matrix"]
TranslationUnit = Literal["img2pose", "mm", "cm", "px"]

# Of each representation, how it is made of a matrix, and the matrix of it. The inverse of
# Rz(c) Ry(b) Rx(a) is Rx(-a) Ry(-b) Rz(-c).
_Map = Callable[[Tensor], Tensor]
_REPRESENTATIONS: Mapping[Representation, tuple[_Map, _Map]] = {
    "rotvec": (matrix_to_rotvec, rotvec_to_matrix),
    "euler_xyz": (matrix_to_euler_xyz, euler_xyz_to_matrix),
    "euler_zyx": (lambda m: -matrix_to_euler_xyz(m.mT), lambda a: euler_xyz_to_matrix(-a).mT),
    "quaternion": (matrix_to_quaternion, lambda q: rotvec_to_matrix(quaternion_to_rotvec(q))),
    "matrix": (lambda m: m.flatten(-2), lambda rows: rows.reshape(*rows.shape[:-1], 3, 3)),
}


@dataclass(frozen=True)
class Convention:
    """What the numbers of a pose mean.

    A head at rotation ``R`` in camera axes has, here, the rotation ``F R C F`` with
    ``F = diag(axes)`` and ``C`` = :attr:`zero_turn`.

    Attributes:
        name: What users call it.
        representation: Of the rotation: ``rotvec`` (axis times angle), ``euler_xyz``
            (``R = Rx(a) Ry(b) Rz(c)``), ``euler_zyx`` (``R = Rz(c) Ry(b) Rx(a)``), ``quaternion``
            (scalar first, not negative), or ``matrix`` (row by row).
        parts: The columns that hold the parts of the rotation, in the order of the representation
            (about x, y, z; or w, x, y, z), and the sign of each.
        degrees: Whether its angles are degrees; radians otherwise.
        axes: Signs of the camera's x, y, z (right, down, away from it): ``(1, -1, -1)`` is x
            right, y up, z towards the camera.
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
    def unit(self) -> Literal["degrees", "radians", "none"]:
        """Of the columns of the rotation."""
        if self.representation in ("quaternion", "matrix"):
            return "none"
        return "degrees" if self.degrees else "radians"

    @cached_property
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
        turn = torch.tensor([pitch, 0.0, 0.0], dtype=torch.float64, device="cpu")
        return rotvec_to_matrix(turn.deg2rad())

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """``[..., 3, 3]`` in camera axes, from the zero of the head here, to ``[..., k]`` columns.

        These are the values of :attr:`rotation_columns`.
        """
        express, _ = _REPRESENTATIONS[self.representation]
        return self.from_parts(express(self._turn_axes(matrix)))

    def to_matrix(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`from_matrix`."""
        _, read = _REPRESENTATIONS[self.representation]
        return self._turn_axes(read(self.to_parts(values)))

    def from_parts(self, parts: Tensor) -> Tensor:
        """``[..., k]`` parts of the representation, radians, to columns: signs, unit, order."""
        values = parts * parts.new_tensor(list(self.parts.values()))
        order = list(self.parts)
        values = values[..., [order.index(name) for name in self.rotation_columns]]
        return values.rad2deg() if self.degrees else values

    def to_parts(self, values: Tensor) -> Tensor:
        """``[..., k]`` columns to parts of the representation, radians."""
        parts = values[..., [self.rotation_columns.index(name) for name in self.parts]]
        parts = parts * parts.new_tensor(list(self.parts.values()))
        return parts.deg2rad() if self.degrees else parts

    def flip(self, translation: Tensor) -> Tensor:
        """``[..., 3]`` or ``[..., 0]`` from the camera's axes to those here, and back."""
        return translation * translation.new_tensor(self.axes[: translation.shape[-1]])

    def _turn_axes(self, matrix: Tensor) -> Tensor:
        if self.axes == (1, 1, 1):
            return matrix
        axes = matrix.new_tensor(self.axes)
        return matrix * (axes[:, None] * axes)


def _by_name(*conventions: Convention) -> Mapping[str, Convention]:
    named = {convention.name: convention for convention in conventions}
    return MappingProxyType(
        {**named, "feat-0.7": named["img2pose"], "degrees": named["feat-degrees"]}
    )


_RIGHT_UP_TO_CAMERA = (1, -1, -1)
_ROWS = dict.fromkeys([f"r_{row}{column}" for row in range(3) for column in range(3)], 1)
_FEAT = {"Pitch": -1, "Yaw": 1, "Roll": -1}
# "Roll" is the turn about the vertical axis: historical, and kept under these names only.
_IMG2POSE = {"Pitch": 1, "Roll": 1, "Yaw": 1}
_300W_LP = {"Pitch": -1, "Yaw": -1, "Roll": -1}
_OPENFACE = {"Pitch": 1, "Yaw": 1, "Roll": 1}
_OPENFACE_NAMES = dict(zip("XYZ", ("pose_Tx", "pose_Ty", "pose_Tz"), strict=True)) | dict(
    zip(_OPENFACE, ("pose_Rx", "pose_Ry", "pose_Rz"), strict=True)
)

CONVENTIONS = _by_name(
    # py-feat >= 2.0, feat/detector.py.
    Convention("feat", "euler_zyx", _FEAT),
    Convention("feat-degrees", "euler_zyx", _FEAT, degrees=True),
    # py-feat's rotvec_to_euler_angles of img2pose's rotation vector.
    Convention("img2pose", "euler_zyx", _IMG2POSE),
    # R' = Rx Ry Rz with yaw = asin(-R'[0, 2]), pitch = atan2(R'[1, 2], R'[2, 2]) and
    # roll = atan2(R'[0, 1], R'[0, 0]): AFLW2000-3D and most papers.
    Convention("300w-lp", "euler_xyz", _300W_LP, True, _RIGHT_UP_TO_CAMERA, zero="300w-lp"),
    # OpenFace's RotationHelpers.h.
    Convention(
        "openface", "euler_xyz", _OPENFACE, translation_unit="mm", table_names=_OPENFACE_NAMES
    ),
    # py-feat's convert_to_euler: the angles a of R.T = Rz(a2) Ry(a1) Rx(a0), so that
    # R = Rx(-a0) Ry(-a1) Rz(-a2), written as Pitch = a0, Roll = -a2, Yaw = -a1.
    Convention("feat-0.6", "euler_xyz", {"Pitch": -1, "Yaw": 1, "Roll": 1}, degrees=True),
    # py-feat's rotation_matrix_to_euler_angles of the turn from MediaPipe's canonical face (x
    # right, y up, z out of the face) to the mesh. X, Y, Z are where that face's origin would lie
    # in the picture.
    Convention("feat-mp", "euler_zyx", _IMG2POSE, axes=_RIGHT_UP_TO_CAMERA, translation_unit="px"),
    # MediaPipe's facial transformation matrix.
    Convention("mediapipe", "matrix", _ROWS, axes=_RIGHT_UP_TO_CAMERA, translation_unit="cm"),
    Convention("rotvec", "rotvec", {"r_x": 1, "r_y": 1, "r_z": 1}),
    Convention("quaternion", "quaternion", {"q_w": 1, "q_x": 1, "q_y": 1, "q_z": 1}),
    Convention("matrix", "matrix", _ROWS),
)
"""Every convention by name; ``feat-0.7`` is ``img2pose``, and ``degrees`` is ``feat-degrees``."""


def find_convention(name: str) -> Convention:
    """The convention of a name, whatever its case; a ConventionError if it is unknown."""
    return CONVENTIONS[find_name("convention", name, CONVENTIONS, ConventionError)]


def from_rotvec_pose(pose: Tensor, convention: str) -> Tensor:
    """``[..., 6]`` rotation vector and translation in camera axes to the columns of a convention.

    Or ``[..., 3]``, the rotation alone. X, Y, Z keep their unit, see :func:`unit_ratio`.

    Raises:
        ConventionError: The name is unknown.
    """
    there = find_convention(convention)
    matrix = rotvec_to_matrix(pose[..., :3])
    if there.zero != "img2pose":
        matrix = matrix @ there.zero_turn.to(pose)
    return torch.cat([there.from_matrix(matrix), there.flip(pose[..., 3:])], dim=-1)


def to_rotvec_pose(values: Tensor, convention: str) -> Tensor:
    """The inverse of :func:`from_rotvec_pose`; rotation vectors have at most length pi."""
    here = find_convention(convention)
    rotation, translation = values.tensor_split([len(here.rotation_columns)], dim=-1)
    matrix = here.to_matrix(rotation)
    if here.zero != "img2pose":
        matrix = matrix @ here.zero_turn.mT.to(values)
    return torch.cat([matrix_to_rotvec(matrix), here.flip(translation)], dim=-1)


def unit_ratio(
    source: TranslationUnit, target: TranslationUnit, inter_ocular_mm: float | None
) -> float:
    """What X, Y, Z are multiplied by to have them in another unit; NaN where nothing says it.

    The distance of the outer eye corners in millimetres, if known, says how long a unit of
    img2pose's reference face is.
    """
    if source == target:
        return 1.0
    face = math.nan if inter_ocular_mm is None else inter_ocular_mm / INTER_OCULAR_UNITS
    length_mm = {"img2pose": face, "mm": 1.0, "cm": 10.0, "px": math.nan}
    return length_mm[source] / length_mm[target]
