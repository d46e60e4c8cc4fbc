"""Networks as ONNX graphs, for browsers, phones and other languages."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import ExportError, OptionError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.mlp.network import PoseNetwork
from feat_pose_plugin.mlp.pose_mlp import MLPBackend, undo_gain
from feat_pose_plugin.mlp.weights import load_checkpoint
from feat_pose_plugin.pose.backend import PoseBackend
from feat_pose_plugin.pose.conventions import Convention, find_convention, from_rotvec_pose
from feat_pose_plugin.pose.landmark_models import LandmarkModel, find_landmark_model
from feat_pose_plugin.pose.landmarks import LANDMARKS, OUTER_EYE_CORNERS, usable_rows
from feat_pose_plugin.pose.registry import find_pose_backend
from feat_pose_plugin.pose.rotations import rotvec_to_matrix
from feat_pose_plugin.testing import FACE_68, project_face

INPUT, OUTPUT = "landmarks", "pose"

_SAME = 1e-5  # radians, or what a part of a quaternion or matrix may differ by
_PIXELS_PER_CM = 13.0  # in what project_face gives
_TURNS = ([-0.8, 0.0, 0.8], [-1.2, -0.5, 0.0, 0.5, 1.2], [-0.6, 0.0, 0.6])


def export_onnx(
    path: Path,
    *,
    pose_model: str | PoseBackend = "pose_mlp_synth",
    landmark_model: str | LandmarkModel = "2d",
    convention: str = "feat",
) -> None:
    """Write a network as an ONNX graph.

    Input ``landmarks``: float32 ``[batch, 68, 2]``, pixels, x right, y down; for meshes
    ``[batch, 68, 3]``, with depth in pixels, away from the camera positive. Output ``pose``:
    float32 ``[batch, k]``, the rotation in the columns of the convention, seen along the line of
    sight, without X, Y, Z. A row with NaN, infinity or coinciding outer eye corners is NaN. Its
    ``metadata_props`` say what it is: ``columns`` and ``units`` (JSON lists, one for each of
    ``k``), ``convention``, ``rotation_frame``, ``landmark_model``, ``model``, ``licence``,
    ``weights``, ``weights_sha256`` and ``version``.

    The graph is compared with the network, by ONNX Runtime, before it is put in place.

    Args:
        path: The file to write. Replaced if it exists; appears whole or not at all.
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend, of
            the shared core.
        landmark_model: What makes the landmarks: a name such as ``"2d"`` or ``"dlib"``, or a
            profile. Its zero of pitch is taken off by weights of ours.
        convention: What the output means: any name in
            :data:`~feat_pose_plugin.pose.conventions.CONVENTIONS`.

    Raises:
        OptionError: ``pose_model`` is not of the shared core, or has no weights for these
            landmarks. A name that is unknown, and weights that are not available, have errors of
            their own.
        ExportError: The extra ``onnx`` is not installed, or the graph differs from the network.
        TableError: The file cannot be written.
    """
    there, profile = find_convention(convention), find_landmark_model(landmark_model)
    backend = find_pose_backend(pose_model)
    name = backend.provenance.name
    if not isinstance(backend, MLPBackend):
        raise OptionError(
            f"pose model {name!r} is not of the shared core, so that there is nothing to export. "
            "Take 'pose_mlp_synth' or 'pose_mlp'."
        )
    weights = backend.provenance.weights
    if profile.kind not in weights:
        profile = profile.without_depth()
    if profile.kind not in weights:
        raise OptionError(
            f"pose model {name!r} has weights for {' and '.join(weights)} landmarks, but "
            f"{profile.name!r} makes {profile.kind} ones. Choose another model of either."
        )
    checkpoint = load_checkpoint(weights[profile.kind].path)
    model = _to_onnx(
        _Graph(PoseNetwork(checkpoint), profile, there),
        {
            "columns": json.dumps(there.rotation_columns),
            "units": json.dumps([there.unit] * len(there.rotation_columns)),
            "convention": there.name,
            "rotation_frame": "line_of_sight",
            "landmark_model": profile.name,
            "model": name,
            "licence": backend.provenance.licence,
            "weights": checkpoint.path.name,
            "weights_sha256": checkpoint.sha256,
            "version": f"feat-pose-plugin {__version__}",
        },
    )
    with writing(path), write_whole(path) as part:
        part.write_bytes(model)


class _Graph(nn.Module):
    """All that is exported: from pixels to the columns of a convention."""

    def __init__(
        self, network: PoseNetwork, profile: LandmarkModel, convention: Convention
    ) -> None:
        super().__init__()
        self.network, self.profile, self.convention = network, profile, convention

    def forward(self, landmarks: Tensor) -> Tensor:
        pose = self.network(landmarks, math.radians(self.profile.pitch_zero_deg))
        values = from_rotvec_pose(undo_gain(pose[:, :3], self.profile.gain), self.convention.name)
        # Once more, because other runtimes make numbers of NaN on the way (ReLU, atan2).
        return torch.where(usable_rows(landmarks)[:, None], values, torch.nan)


def _to_onnx(graph: _Graph, metadata: dict[str, str]) -> bytes:
    """The graph in ONNX's format, compared with the module."""
    try:
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise ExportError(
            f"the export needs ONNX: {error}. Install it: pip install 'feat-pose-plugin[onnx]'."
        ) from error
    graph.eval()
    landmarks = _some_faces(graph.network.model.features // LANDMARKS)
    exported = torch.onnx.export(
        graph,
        (landmarks,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    program = cast("torch.onnx.ONNXProgram", exported)
    program.model.metadata_props.update(metadata)
    model: bytes = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: landmarks.numpy()})
    expected = graph(landmarks).numpy()
    tolerance = np.rad2deg(_SAME) if graph.convention.degrees else _SAME
    same = np.isclose(found, expected, rtol=0, atol=tolerance, equal_nan=True).all(axis=1)
    if not same.all():
        raise ExportError(
            f"the graph of {metadata['weights']} in convention {graph.convention.name!r} answers "
            f"otherwise than the network for {(~same).sum()} of {len(same)} faces; nothing was "
            f"written. Try other versions of torch (this is {torch.__version__}), onnxscript "
            f"({onnxscript.__version__}) and onnxruntime ({onnxruntime.__version__})."
        )
    return model


def _some_faces(coordinates: int) -> Tensor:
    """``[B, 68, 2|3]`` faces turned every way; two of the rows have no pose."""
    turns = torch.cartesian_prod(*map(torch.tensor, _TURNS))
    points = project_face(turns)
    if coordinates == 3:
        depth = (rotvec_to_matrix(turns) @ FACE_68.T)[:, 2]
        points = torch.cat([points, _PIXELS_PER_CM * depth[..., None]], dim=2)
    right, left = OUTER_EYE_CORNERS
    points[0, 5, 1] = torch.nan
    points[1, right] = points[1, left]
    return points
