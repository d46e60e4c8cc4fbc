"""How far a row can be trusted: the residual of its landmarks, and named reasons to doubt it.

A check of plausibility, no more: landmarks that collapsed towards a mean face fit best of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel
from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    OUTER_EYE_CORNERS,
    outer_eye_distance,
)
from feat_pose_plugin.pose.reference_face import load_reference_face
from feat_pose_plugin.pose.rotations import rotvec_to_matrix

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RESIDUAL_COLUMN = "PoseResidual"
FLAGS_COLUMN = "PoseFlags"
QUALITY_COLUMNS = [RESIDUAL_COLUMN, FLAGS_COLUMN]
SEPARATOR = ";"
REASONS = ("residual", "yaw", "eyes", "out_of_frame")
"""Why a row may be doubted.

``residual``: the residual is above the limit of the landmark model. ``yaw``: the head is turned
further to the side than the training faces. ``eyes``: the eye corners lie closer together than
those of the training faces. ``out_of_frame``: a landmark lies outside the frame; where the frame
size is known.
"""


class Limits(NamedTuple):
    """What a row without a flag keeps to.

    Attributes:
        eyes: Smallest distance of the outer eye corners in the picture, as a share of what it would
            be if the head looked at the camera.
        yaw_deg: Largest turn to the side, the edge of what the network was trained on.
    """

    eyes: float
    yaw_deg: float


LIMITS: Mapping[LandmarkKind, Limits] = MappingProxyType(
    {"2d": Limits(0.128, 95.0), "3d": Limits(0.045, 95.0), "mesh": Limits(0.045, 95.0)}
)
"""Of the training faces, 99 in 100 have wider eyes, and 90 in 100 a smaller residual than the
generic profiles allow.

Shapes, expressions and jaws are wilder there than on real faces; docs/trust-details.md says
how many of those are flagged.
"""


class Fit(NamedTuple):
    """How landmarks lie on the reference face in the found pose.

    Attributes:
        residual: ``[B]`` root mean square distance of the landmarks from the face, in distances
            of its outer eye corners in space.
        eyes: ``[B]`` distance of the outer eye corners in the picture, in the same unit.
    """

    residual: Tensor
    eyes: Tensor


def judge(
    points: Tensor, rotvec: Tensor, model: LandmarkModel, frame_size: FrameSize | None
) -> Tensor:
    """The residual of each row, and which reasons to doubt it apply.

    Args:
        points: ``[B, 68, 2]`` pixels, all of one landmark model and frame size.
        rotvec: ``[B, 3]`` rotation along the line of sight, radians; NaN without a pose.
        model: What made the landmarks.
        frame_size: Height and width in pixels, None where not known.

    Returns:
        ``[B, 1 + reasons]`` float32: the residual, NaN without a pose, then 1 for each reason of
        :data:`REASONS` that applies, else 0.
    """
    limits, rotation = LIMITS[model.kind], rotvec_to_matrix(rotvec)
    fit = fit_reference_face(points, rotation, load_reference_face(model.kind, points.device))
    # Where the camera is, seen from the head: its direction in the axes of the head.
    turn = torch.atan2(rotation[:, 2, 0].abs(), rotation[:, 2, 2])
    height, width = frame_size or (math.inf, math.inf)
    least, (right, bottom) = points.amin(dim=(1, 2)), points.amax(dim=1).unbind(dim=1)
    outside = (least < 0) | (right > width) | (bottom > height)
    return torch.stack(
        [
            fit.residual,
            fit.residual > model.residual_limit,
            turn.rad2deg() > limits.yaw_deg,
            fit.eyes < limits.eyes,
            outside if frame_size else torch.zeros_like(outside),
        ],
        dim=1,
    )


def quality_columns(judged: Tensor) -> pd.DataFrame:
    """What :func:`judge` said as columns.

    Returns:
        ``PoseResidual``, float32, NaN without a pose; and ``PoseFlags``, text, missing without a
        pose: empty, or the reasons that apply, joined by ``;``.
    """
    import pandas as pd

    values = judged.cpu().numpy()
    residual, flagged = values[:, 0], values[:, 1:] > 0
    text = np.full(len(values), "", dtype=object)
    for name, applies in zip(REASONS, flagged.T, strict=True):
        text[applies] += np.where(text[applies] == "", name, SEPARATOR + name)
    text[np.isnan(residual)] = None
    return pd.DataFrame({RESIDUAL_COLUMN: residual, FLAGS_COLUMN: pd.array(text, dtype="string")})


def is_flagged(flags: pd.Series[Any]) -> NDArray[np.bool_]:
    """``[B]``, which rows of the column ``PoseFlags`` name a reason to doubt."""
    flagged: NDArray[np.bool_] = (flags.notna() & (flags != "")).to_numpy(bool, na_value=False)
    return flagged


def fit_reference_face(points: Tensor, rotation: Tensor, face: Tensor) -> Fit:
    """Lay the reference face on landmarks, in a known pose.

    Position and size are fitted, and to the first order the distance from the camera, which makes
    what is near larger. So none of them matters, nor does the camera.

    Args:
        points: ``[B, 68, 2]`` pixels.
        rotation: ``[B, 3, 3]`` along the line of sight.
        face: ``[68, 3]``.

    Returns:
        NaN where the points or the rotation are.
    """
    # Coordinate by coordinate, each a row of landmarks in memory.
    seen = points.mT.contiguous()
    seen = (seen - seen.mean(dim=2, keepdim=True)).float()
    turned = (rotation.reshape(-1, 3) @ (face - face.mean(dim=0)).T).reshape(-1, 3, LANDMARKS)
    flat = turned[:, :2]
    deep = flat * turned[:, 2:]
    deep = deep - deep.mean(dim=2, keepdim=True)
    deep = deep - _share(deep, flat) * flat
    size = _share(seen, flat)
    away = seen - size * flat - _share(seen, deep) * deep
    right, left = OUTER_EYE_CORNERS
    unit = size[:, 0, 0].abs() * torch.linalg.vector_norm(face[right] - face[left])
    return Fit(
        residual=away.square().sum(dim=1).mean(dim=1).sqrt() / unit,
        eyes=outer_eye_distance(points).float() / unit,
    )


def _share(of: Tensor, direction: Tensor) -> Tensor:
    """``[B, 1, 1]`` how much of a direction there is in ``of``, both ``[B, 2, 68]``."""
    product, square = (
        (direction * other).sum(dim=(1, 2), keepdim=True) for other in (of, direction)
    )
    return product / square
