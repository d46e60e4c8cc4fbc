"""ICT-FaceKit's morphable face, reduced to the vertices that landmarks can lie on.

Axes of the model: x to the subject's left, y up, z out of the face; centimetres.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.pose.landmarks import LANDMARKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

IDENTITIES = 100
# Vertices of the face, head and neck; eyes, teeth and the inside of the mouth come after them.
HEAD_VERTICES = 11248

# The jaw band: what can form the outline of the lower face in some view. It reaches forward over
# the cheeks (the outline of a turned head's far side), back to the ears, and stops short of throat,
# nose and lips.
BAND_REACH_CM = 6.0
BAND_BEHIND_CM = 0.7
BAND_BEHIND_EAR_CM = 2.2
BAND_BELOW_CM = 0.6
BAND_SPACING_CM = 0.8
BAND_CLEARANCE_CM = 1.5


@dataclass(frozen=True)
class FaceModel:
    """Landmarks and jaw band of a linear face model, centimetres, float32.

    Rows 0 to 67 are the 68 landmarks at their Multi-PIE positions, the rest is the jaw band. A
    vertex of the band is part of the outline if the outline's back edge at the ear lies
    ``band_edge`` behind the line of the Multi-PIE jaw points, or farther; -inf from the chin to the
    angle of the jaw, where the edge is fixed.
    """

    mean: Tensor  # [N, 3]
    band_edge: Tensor  # [N - 68]
    identity: Tensor  # [I, N, 3] for one standard deviation of each coefficient
    expression: Tensor  # [E, N, 3] for each in full
    sha256: str  # of the values above, the same for either source of the model


def read_face_model(path: Path) -> FaceModel:
    """Read ICT-FaceKit from an NPZ file or from its OBJ files.

    Args:
        path: An NPZ with ``neutral`` [V, 3], ``identity`` [I, V, 3], ``expression`` [E, V, 3]
            and ``landmark_vertices`` [68]; or a checkout of ICT-FaceKit, or its ``FaceXModel``
            folder.

    Returns:
        The landmarks and the jaw band.

    Raises:
        TrainingError: The path holds no such model, or a part of it is missing or malformed.
    """
    try:
        neutral, identity, expression, landmarks = (
            _read_obj_folder(path) if path.is_dir() else _read_npz(path)
        )
        band, edge = _jaw_band(neutral, landmarks)
        rows = np.concatenate([landmarks, band])
        parts = [
            np.ascontiguousarray(part, dtype=np.float32)
            for part in (neutral[rows], edge, identity[:, rows], expression[:, rows])
        ]
    except (OSError, BadZipFile, KeyError, ValueError, IndexError) as error:
        raise TrainingError(
            f"{path} cannot be read as a face model: {type(error).__name__}: {error}. Pass an NPZ "
            "with neutral, identity, expression and landmark_vertices, or a checkout of "
            "ICT-FaceKit."
        ) from error
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    return FaceModel(*map(torch.from_numpy, parts), digest)  # type: ignore[call-arg,arg-type]


def _jaw_band(
    neutral: NDArray[np.float32], landmarks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices of the vertices that can form the outline of the lower face, and their band_edge.

    They lie near the line through jaw points 0-16 of the ``[V, 3]`` neutral face, some distance
    apart.
    """
    jaw, inner = neutral[landmarks[:17]], neutral[landmarks[27:]]
    steps = np.linspace(0, 16, 8 * 16 + 1)
    columns = [np.interp(steps, np.arange(17), column) for column in jaw.T]
    line = np.stack(columns, axis=1).astype(np.float32)
    offset = neutral[:, None] - line
    nearest = np.linalg.norm(offset, axis=2).argmin(axis=1)
    offset = offset[np.arange(len(neutral)), nearest]
    # From 0 at the angle of the jaw (four points from the chin) to 1 at the ear (eight).
    height = np.interp(np.abs(nearest / (len(line) - 1) - 0.5) * 16, (4, 8), (0, 1))
    behind = height * BAND_BEHIND_EAR_CM + (1 - height) * BAND_BEHIND_CM
    with np.errstate(divide="ignore", invalid="ignore"):
        edge = -(offset[:, 2] + (1 - height) * BAND_BEHIND_CM) / height
    edge = np.where(height > 0, edge, -np.inf)
    clearance = np.linalg.norm(neutral[:, None] - inner, axis=2).min(axis=1)
    wanted = (
        (np.linalg.norm(offset, axis=1) < BAND_REACH_CM)
        & (offset[:, 2] > -behind)
        & (offset[:, 1] > -BAND_BELOW_CM)
        & (clearance > BAND_CLEARANCE_CM)
    )
    kept: list[int] = []
    for vertex in np.flatnonzero(wanted):
        gaps = np.linalg.norm(neutral[kept] - neutral[vertex], axis=1)
        if gaps.size == 0 or gaps.min() > BAND_SPACING_CM:
            kept.append(int(vertex))
    return np.array(kept, dtype=np.int64), edge[kept].astype(np.float32)


_Parts = tuple[
    "NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.int64]"
]


def _read_npz(path: Path) -> _Parts:
    with np.load(path, allow_pickle=False) as file:
        neutral, identity, expression, landmarks = (
            file[key] for key in ("neutral", "identity", "expression", "landmark_vertices")
        )
    if landmarks.shape != (LANDMARKS,):
        raise ValueError(f"landmark_vertices has shape {landmarks.shape}, not ({LANDMARKS},)")
    return neutral, identity, expression, landmarks.astype(np.int64)


def _read_obj_folder(path: Path) -> _Parts:
    folder = path / "FaceXModel" if (path / "FaceXModel").is_dir() else path
    indices = json.loads((folder / "vertex_indices.json").read_text(encoding="utf-8"))
    neutral = _read_obj(folder / "generic_neutral_mesh.obj")
    identity, expression = (
        np.stack([_read_obj(folder / f"{name}.obj") - neutral for name in names])
        for names in (
            [f"identity{number:03d}" for number in range(IDENTITIES)],
            indices["expressions"],
        )
    )
    landmarks = np.array(indices["idx_to_landmark_verts"], dtype=np.int64)
    return neutral, identity, expression, landmarks


def _read_obj(path: Path) -> NDArray[np.float32]:
    with path.open(encoding="utf-8") as file:
        vertices = [line.split()[1:4] for line in file if line.startswith("v ")]
    return np.array(vertices[:HEAD_VERTICES], dtype=np.float32)
