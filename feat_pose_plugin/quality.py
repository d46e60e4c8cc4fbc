"""How far a row can be trusted: the residual of its landmarks, and named reasons to doubt it.

Neither sees landmarks that collapsed towards a mean face: those fit best of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.geometry import rotvec_to_matrix
from feat_pose_plugin.landmarks import Landmarks
from feat_pose_plugin.reference_face import load_reference_face

if TYPE_CHECKING:
    import pandas as pd

RESIDUAL_COLUMN = "PoseResidual"
FLAGS_COLUMN = "PoseFlags"
QUALITY_COLUMNS = [RESIDUAL_COLUMN, FLAGS_COLUMN]


def residual(points: Tensor, rotation: Tensor, face: Tensor) -> Tensor:
    """Distance of landmarks from a face in the found pose, whatever its position and size.

    Args:
        points: ``[B, 68, 2]`` pixels.
        rotation: ``[B, 3, 3]`` along the line of sight.
        face: ``[68, 3]``.

    Returns:
        ``[B]`` root of the mean square distance, in distances of the outer eye corners of the
        face at its fitted size (in space: as if seen frontally).
    """
    seen = points - points.mean(dim=1, keepdim=True)
    turned = (face - face.mean(dim=0)) @ rotation.mT
    model = turned[..., :2]
    size = (seen * model).sum(dim=(1, 2)) / model.square().sum(dim=(1, 2))
    away = seen - size[:, None, None] * model
    eyes = (face[36] - face[45]).norm()
    distance: Tensor = away.square().sum(dim=2).mean(dim=1).sqrt() / (size.abs() * eyes)
    return distance


def judge(landmarks: Landmarks, rotvec: Tensor) -> pd.DataFrame:
    """The quality columns of a batch."""
    import pandas as pd

    rotation = rotvec_to_matrix(rotvec)
    known = rotvec.isfinite().all(dim=1)
    distance = torch.empty(len(rotvec), device=rotvec.device)
    for landmark_type, rows in (("2d", ~landmarks.is_3d), ("3d", landmarks.is_3d)):
        face = load_reference_face(landmark_type, rotvec.device)
        distance[rows] = residual(landmarks.points[rows], rotation[rows], face)
    return pd.DataFrame(
        {RESIDUAL_COLUMN: distance.cpu().numpy(), FLAGS_COLUMN: flags_column({}, known)}
    )


def flags_column(reasons: Mapping[str, Tensor], known: Tensor) -> pd.Series[str]:
    """The names of the reasons that apply to each row, joined by ``;``; missing without a pose."""
    import pandas as pd

    text = np.full(len(known), "", dtype=object)
    for name, applies in reasons.items():
        rows = applies.cpu().numpy()
        text[rows] += np.where(text[rows] == "", name, ";" + name)
    text[~known.cpu().numpy()] = None
    return pd.Series(text, dtype="string")
