"""The reference face: the mean of the faces that the bundled networks learnt from.

Camera axes for a head that looks at the camera (x right, y down, z away), in units and from the
origin of img2pose's reference face. One for each kind of landmarks, because they put the jaw, and
the zero of the head, in different places. A product of ``feat-pose train synth``, a file beside the
weights: ``NAME.reference.json``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.pose.camera import RigidFace
from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel
from feat_pose_plugin.pose.landmarks import LANDMARKS
from feat_pose_plugin.pose.reading import parse_json, read_bytes
from feat_pose_plugin.pose.rotations import rotvec_to_matrix

STEADY_LANDMARKS: Mapping[LandmarkKind, slice] = MappingProxyType(
    {"2d": slice(17, LANDMARKS), "3d": slice(LANDMARKS), "mesh": slice(LANDMARKS)}
)
"""The landmarks that stay on the same points of a turning head. The jaw of 2D landmarks slides."""

_FOLDER = Path(__file__).parent / "reference_faces"
_LARGEST = 1 << 20  # bytes
_DECIMALS = 4  # a hundredth of a millimetre; what machines differ in is less


@cache
def load_reference_face(model: LandmarkModel, device: torch.device) -> Tensor:
    """``[68, 3]`` float32: the bundled face, its zero turned to that of all landmark models."""
    face = read_reference_face(_FOLDER / f"{model.kind}.json")
    zero = rotvec_to_matrix(face.new_tensor([math.radians(model.pitch_zero_deg), 0.0, 0.0]))
    return (face @ zero.T).to(device)


@cache
def load_rigid_face(model: LandmarkModel, device: torch.device) -> RigidFace:
    """The same face as what is found in space by its steady landmarks."""
    return RigidFace(load_reference_face(model, device), STEADY_LANDMARKS[model.kind])


def read_reference_face(path: Path) -> Tensor:
    """``[68, 3]`` float32; a WeightsError if the file is missing or not what was written."""
    try:
        content = parse_json(read_bytes(path, _LARGEST))
        face = torch.tensor(content["points"], dtype=torch.float32)
        if face.shape != (LANDMARKS, 3) or content["sha256"] != _sha256(face):
            raise ValueError("it does not hold the 68 points that were written to it")  # noqa: TRY301
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise WeightsError(
            f"{path} cannot be read as a reference face: {type(error).__name__}: {error}. It comes "
            "with the package; install it again."
        ) from error
    return face


def write_reference_face(path: Path, face: Tensor, card: Mapping[str, object]) -> None:
    """Write ``[68, 3]``, rounded, and beside it the card, which says what it was made of."""
    points = [[round(number, _DECIMALS) for number in point] for point in face.tolist()]
    digest = _sha256(torch.tensor(points, dtype=torch.float32))
    rest, end = json.dumps({**card, "sha256": digest, "points": None}, indent=2).rsplit("null", 1)
    lines = ",\n".join(f"    {point}" for point in points)
    with write_whole(path) as part:
        part.write_text(f"{rest}[\n{lines}\n  ]{end}\n", encoding="utf-8")


def _sha256(face: Tensor) -> str:
    return hashlib.sha256(face.contiguous().numpy().tobytes()).hexdigest()
