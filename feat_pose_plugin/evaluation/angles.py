"""The three angles in which a convention states a rotation, both ways, in degrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from feat_pose_plugin.conventions import camera_to_300w_lp_matrix
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.geometry import (
    euler_xyz_to_matrix,
    matrix_to_euler_xyz,
    matrix_to_rotvec,
    rotvec_to_matrix,
)


@dataclass(frozen=True)
class Angles:
    """What a convention calls its angles, and how they make a rotation.

    Rotations are those of img2pose's camera axes (x right, y down, z away from the camera), from
    the head's own zero of the convention.

    Attributes:
        names: The angles about x, y and z, in this order.
        columns: The table columns that hold them.
        to_radians: Factor from a column's unit.
        zero: ``[3, 3]`` float64, from img2pose's zero of the head to this one:
            ``R_here = R_img2pose @ zero``.
    """

    names: tuple[str, str, str]
    columns: tuple[str, str, str]
    to_radians: float
    zero: Tensor
    _signs: tuple[float, float, float]
    _to_matrix: Callable[[Tensor], Tensor]
    _from_matrix: Callable[[Tensor], Tensor]

    def to_matrix(self, degrees: Tensor) -> Tensor:
        """``[..., 3]`` angles in degrees to ``[..., 3, 3]`` rotations."""
        return self._to_matrix(degrees.deg2rad() * degrees.new_tensor(self._signs))

    def from_matrix(self, rotation: Tensor) -> Tensor:
        """``[..., 3, 3]`` rotations to ``[..., 3]`` angles in degrees."""
        return self._from_matrix(rotation).rad2deg() * rotation.new_tensor(self._signs)


def angles_of(convention: str) -> Angles:
    """The angles of a convention.

    Raises:
        ConventionError: Reference poses in this convention cannot be read.
    """
    identity = torch.eye(3, dtype=torch.float64)
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64).diag()
    named = ("pitch", "yaw", "roll"), ("Pitch", "Yaw", "Roll")
    match convention:
        case "300w-lp":
            # R' = F R F = Rx(-pitch) Ry(-yaw) Rz(-roll), and F turns the signs about y and z.
            zero = flip @ camera_to_300w_lp_matrix(identity) @ flip
            signs = (-1.0, 1.0, 1.0)
            return Angles(
                *named, torch.pi / 180, zero, signs, euler_xyz_to_matrix, matrix_to_euler_xyz
            )
        case "feat":
            signs = (-1.0, 1.0, -1.0)
            return Angles(*named, 1.0, identity, signs, rotvec_to_matrix, matrix_to_rotvec)
        case "img2pose":
            named = ("rx", "ry", "rz"), ("Pitch", "Roll", "Yaw")
            signs = (1.0, 1.0, 1.0)
            return Angles(*named, 1.0, identity, signs, rotvec_to_matrix, matrix_to_rotvec)
    raise ConventionError(
        f"reference poses in convention {convention!r} cannot be read. Known: '300w-lp', 'feat', "
        "'img2pose'."
    )
