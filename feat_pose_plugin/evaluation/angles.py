"""The three angles in which a convention states a rotation, both ways, in degrees.

Angles are ``[..., 3]``, about x, y and z in this order, or the parts of a rotation vector.
Rotations are ``[..., 3, 3]`` in the camera's axes, from the convention's zero of the head.
"""

from __future__ import annotations

from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import Convention, find_convention


def angle_names(convention: str) -> list[str]:
    """What reports call the angles about x, y and z."""
    here = find_convention(convention)
    if len(here.parts) != 3:
        raise ConventionError(
            f"convention {convention!r} has no angles to measure. Pass the faces in 'feat' or "
            "another convention of three angles; convert_pose and `feat-pose convert` make it."
        )
    # Its "Roll" is the turn about y.
    return ["rx", "ry", "rz"] if here.name == "img2pose" else [name.lower() for name in here.parts]


def columns_to_angles(values: Tensor, convention: str) -> Tensor:
    """``[..., 3]`` table columns of a convention to angles."""
    here = find_convention(convention)
    angles = values[..., _order(here)]
    return angles if here.degrees else angles.rad2deg()


def matrix_to_angles(rotation: Tensor, convention: str) -> Tensor:
    """Rotations to angles."""
    return columns_to_angles(find_convention(convention).from_matrix(rotation), convention)


def angles_to_matrix(angles: Tensor, convention: str) -> Tensor:
    """Angles to rotations."""
    here = find_convention(convention)
    columns = angles.clone()
    columns[..., _order(here)] = angles if here.degrees else angles.deg2rad()
    return here.to_matrix(columns)


def _order(here: Convention) -> list[int]:
    return [here.rotation_columns.index(name) for name in here.parts]
