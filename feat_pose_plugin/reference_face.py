"""The reference face: the mean of the faces that the bundled networks learnt from.

Camera axes for a head that looks at the camera (x right, y down, z away), in units and from the
origin of img2pose's reference face. One for each landmark type, because they put the jaw, and the
zero of the head, in different places. A product of ``feat-pose train synth``, a file beside the
weights: ``NAME.reference.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.landmarks import LANDMARKS, LandmarkType

_BUNDLED = Path(__file__).parent / "weights"


@cache
def load_reference_face(landmark_type: LandmarkType, device: torch.device) -> Tensor:
    """The bundled reference face of a landmark type, read once for each device.

    Returns:
        ``[68, 3]`` float32.

    Raises:
        WeightsError: See :func:`read_reference_face`.
    """
    path = _BUNDLED / f"pose_mlp_synth_{landmark_type}.reference.json"
    return read_reference_face(path).to(device)


def read_reference_face(path: Path) -> Tensor:
    """Read and verify a reference face.

    Returns:
        ``[68, 3]`` float32.

    Raises:
        WeightsError: The file is missing, or is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        face = torch.tensor(content["points"], dtype=torch.float32)
        sound = face.shape == (LANDMARKS, 3) and content["sha256"] == _sha256(face)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{path} cannot be read as a reference face: {type(error).__name__}: {error}. It comes "
            "with the package; install it again."
        ) from error
    if not sound:
        raise WeightsError(
            f"{path} does not hold the 68 points that were written to it. It comes with the "
            "package; install it again."
        )
    return face


def write_reference_face(path: Path, face: Tensor, card: Mapping[str, object]) -> None:
    """Write a reference face.

    Args:
        path: The ``.reference.json`` file.
        face: ``[68, 3]``.
        card: What it was made of.
    """
    face = face.to(torch.float32)
    points = ",\n".join(f"    {json.dumps(point)}" for point in face.tolist())
    rest = json.dumps({**card, "sha256": _sha256(face), "points": None}, indent=2)
    with write_whole(path) as part:
        part.write_text(rest.replace("null", f"[\n{points}\n  ]") + "\n", encoding="utf-8")


def _sha256(face: Tensor) -> str:
    return hashlib.sha256(face.contiguous().numpy().tobytes()).hexdigest()
