"""The three angles in which a convention states a rotation, both ways, in degrees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import Convention, find_convention

_NAMES = {
    "300w-lp": ("pitch", "yaw", "roll"),
    "feat": ("pitch", "yaw", "roll"),
    "img2pose": ("rx", "ry", "rz"),
    "rotvec": ("r_x", "r_y", "r_z"),
}


@dataclass(frozen=True)
class Angles:
    """What reports call the angles of a convention, and how they make a rotation.

    Rotations are those of the camera's axes (x right, y down, z away from the camera), from
    the head's own zero of the convention.

    Attributes:
        names: The angles about x, y and z, or the parts of a rotation vector, in this order.
        convention: What the table columns that hold them mean.
    """

    names: tuple[str, str, str]
    convention: Convention

    @property
    def columns(self) -> tuple[str, ...]:
        """The table columns of the angles about x, y and z."""
        return tuple(self.convention.parts)

    @property
    def column_degrees(self) -> float:
        """How many degrees the unit of a table column has."""
        return 1.0 if self.convention.degrees else 180 / torch.pi

    def to_matrix(self, degrees: Tensor) -> Tensor:
        """``[..., 3]`` angles in degrees to ``[..., 3, 3]`` rotations."""
        order = [self.columns.index(name) for name in self.convention.rotation_columns]
        return self.convention.to_matrix(degrees[..., order] / self.column_degrees)

    def from_matrix(self, rotation: Tensor) -> Tensor:
        """``[..., 3, 3]`` rotations to ``[..., 3]`` angles in degrees."""
        values = self.convention.from_matrix(rotation) * self.column_degrees
        order = [self.convention.rotation_columns.index(name) for name in self.columns]
        return values[..., order]


def angles_of(convention: str) -> Angles:
    """The angles of a convention.

    Raises:
        ConventionError: Reference poses in this convention cannot be read.
    """
    found = find_convention(convention)
    if found.name not in _NAMES:
        known = ", ".join(repr(name) for name in _NAMES)
        raise ConventionError(
            f"reference poses in convention {convention!r} cannot be read. Known: {known}. "
            "convert_pose and `feat-pose convert` make these of others."
        )
    return Angles(_NAMES[found.name], found)
