"""How far a row can be trusted: the residual of its landmarks, and named reasons to doubt it.

A check of plausibility, no more: landmarks that collapsed towards a mean face fit best of all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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

ERROR_COLUMN = "PoseError"
RESIDUAL_COLUMN = "PoseResidual"
FLAGS_COLUMN = "PoseFlags"
QUALITY_COLUMNS = [ERROR_COLUMN, RESIDUAL_COLUMN, FLAGS_COLUMN]
SEPARATOR = ";"
REASONS = ("residual", "yaw", "eyes", "out_of_frame", "clipped", "confidence")
"""Why a row may be doubted.

``residual``: the residual is above the limit of the landmark model. ``yaw``: the head is turned
further to the side than the training faces. ``eyes``: the eye corners lie closer together than
those of the training faces. ``out_of_frame``: a landmark lies outside the frame; where the frame
size is known. ``clipped``: a tool that keeps landmarks inside the picture moved some to its border.
``confidence``: the tool that made the landmarks is unsure of them.
"""

LEAST_CONFIDENCE = 0.8
"""Studies with OpenFace usually leave out the frames below, as OpenDBM does."""

LARGEST_YAW_DEG = 95.0
"""The edge of what the networks were trained on."""

LEAST_EYES: dict[LandmarkKind, float] = {"2d": 0.128, "3d": 0.045, "mesh": 0.045}
"""Distance of the outer eye corners in the picture, as a share of what it would be if the head
looked at the camera. At least 99 in 100 training faces have more; docs/trust-details.md says how
many real faces are flagged."""

_CLIPPED, _IN_LINE = 3, 6  # landmarks; of real faces, in whole pixels, no more than 5 are in line
_MOUTH = 48  # the first of its points, which are the last
_RESIDUALS = (0.01, 0.5)  # beyond what was measured, the error is that of the edge
_NOD_UNIT_DEG, _LARGEST_NOD = 30.0, 2.0


def judge(
    points: Tensor,
    rotvec: Tensor,
    confidence: Tensor,
    model: LandmarkModel,
    frame_size: FrameSize | None,
) -> Tensor:
    """The expected error and the residual of each row, and which reasons to doubt it apply.

    Args:
        points: ``[B, 68, 2]`` pixels, all of one landmark model and frame size.
        rotvec: ``[B, 3]`` rotation along the line of sight, radians; NaN without a pose.
        confidence: ``[B]`` of the tool in its landmarks, NaN where it does not say.
        model: What made the landmarks.
        frame_size: Height and width in pixels, None where not known.

    Returns:
        ``[B, 2 + reasons]`` float32: expected error in degrees, NaN where the model has none, and
        residual, both NaN without a pose; then 1 for each reason of :data:`REASONS` that applies,
        else 0.
    """
    rotation = rotvec_to_matrix(rotvec)
    face = load_reference_face(model, points.device)
    residual, still, eyes = fit_reference_face(points, rotation, face)
    factors = rotation.new_tensor(model.error or [math.nan] * 5)
    # Where the camera is, seen from the head: its direction in the axes of the head.
    turn = torch.atan2(rotation[:, 2, 0].abs(), rotation[:, 2, 2])
    size = points.new_tensor(frame_size[::-1] if frame_size else (math.inf, math.inf))
    least, most = points.amin(dim=1, keepdim=True), points.amax(dim=1, keepdim=True)
    outside = ((least < 0) | (most > size)).flatten(1).any(dim=1)
    return torch.stack(
        [
            torch.exp(error_predictors(still, rotation) @ factors),
            residual,
            residual > model.residual_limit,
            turn.rad2deg() > LARGEST_YAW_DEG,
            eyes < LEAST_EYES[model.kind],
            outside if frame_size else torch.zeros_like(outside),
            _are_clipped(points, least, most, size),
            confidence < LEAST_CONFIDENCE,
        ],
        dim=1,
    )


def _are_clipped(points: Tensor, least: Tensor, most: Tensor, size: Tensor) -> Tensor:
    """``[B]`` whether several landmarks lie on a border, or many where it could be."""
    borders = [(least, least == 0), (most, (most == size) | (most == size - 1))]
    needed = [torch.where(known, _CLIPPED, _IN_LINE) for _, known in borders]
    in_line = [(points == border).sum(dim=1, keepdim=True) for border, _ in borders]
    found = torch.stack([n >= k for n, k in zip(in_line, needed, strict=True)])
    return found.any(dim=0).flatten(1).any(dim=1)


def quality_columns(judged: Tensor) -> pd.DataFrame:
    """What :func:`judge` said: ``PoseError`` in degrees, ``PoseResidual`` and ``PoseFlags``.

    The flags are text, missing without a pose: empty, or the reasons that apply, joined by ``;``.
    """
    import pandas as pd

    values = judged.cpu().numpy()
    (error, residual), flagged = values[:, :2].T, values[:, 2:] > 0
    text = np.full(len(values), "", dtype=object)
    for name, applies in zip(REASONS, flagged.T, strict=True):
        text[applies] += np.where(text[applies] == "", name, SEPARATOR + name)
    text[np.isnan(residual)] = None
    columns = {ERROR_COLUMN: error, RESIDUAL_COLUMN: residual}
    return pd.DataFrame({**columns, FLAGS_COLUMN: pd.array(text, dtype="string")})


def is_flagged(flags: pd.Series[Any]) -> NDArray[np.bool_]:
    """``[B]``, which rows of the column ``PoseFlags`` name a reason to doubt."""
    flagged: NDArray[np.bool_] = (flags.notna() & (flags != "")).to_numpy(bool, na_value=False)
    return flagged


def error_predictors(residual: Tensor, rotation: Tensor) -> Tensor:
    """``[B, 5]`` what the logarithm of the expected geodesic error in degrees is linear in.

    ``1, r, s, s r, t**2`` with the logarithm ``r`` of the residual without the mouth, the sine
    ``s`` of the turn to the side without its sign, and the nod ``t`` in units of 30 degrees, both
    as the camera is seen from the head. The five factors are the profile's.
    """
    camera = rotation[:, 2]  # its direction, in the axes of the head
    turn = torch.atan2(camera[:, 0].abs(), camera[:, 2]).clamp(max=math.pi / 2).sin()
    nod = torch.asin(camera[:, 1].clamp(-1, 1)).rad2deg() / _NOD_UNIT_DEG
    nod = nod.clamp(-_LARGEST_NOD, _LARGEST_NOD)
    fit = residual.clamp(*_RESIDUALS).log()
    return torch.stack([torch.ones_like(fit), fit, turn, turn * fit, nod**2], dim=1)


def fit_reference_face(
    points: Tensor, rotation: Tensor, face: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay a face ``[68, 3]`` on ``[B, 68, 2]`` pixels, with ``[B, 3, 3]`` along the line of sight.

    Position and size are fitted, and to the first order the distance from the camera, which makes
    what is near larger. So none of them matters, nor does the camera.

    Returns:
        ``[B]`` each, in distances of the face's outer eye corners in space: the root mean square
        distance of the landmarks from the face; the same without the mouth, which moves when no
        landmark is wrong; and the distance of the outer eye corners in the picture.
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
    square = away.square().sum(dim=1)
    return (
        square.mean(dim=1).sqrt() / unit,
        square[:, :_MOUTH].mean(dim=1).sqrt() / unit,
        outer_eye_distance(points).float() / unit,
    )


def _share(of: Tensor, direction: Tensor) -> Tensor:
    """``[B, 1, 1]`` how much of a direction there is in ``of``, both ``[B, 2, 68]``."""
    product, square = ((direction * each).sum((1, 2), keepdim=True) for each in (of, direction))
    return product / square
