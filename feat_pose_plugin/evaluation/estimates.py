"""What a backend says of faces, and which of them can be measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.reference import Reference
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import Landmarks, usable_rows
from feat_pose_plugin.pose.registry import find_pose_backend
from feat_pose_plugin.tables.selection import keep_rows

# Papers score the faces of AFLW2000-3D whose three angles lie within.
LARGEST_ANGLE_DEG = 99.0


class Measured(NamedTuple):
    """The faces of a reference that can be measured, and how many others there are and why.

    ``rows`` are their ``[m]`` numbers, ``estimated`` and ``known`` ``[m, 3, 3]`` float64 rotations
    from img2pose's zero and from that of the reference, ``known_deg`` its ``[m, 3]`` angles.
    """

    rows: NDArray[np.intp]
    estimated: Tensor
    known: Tensor
    known_deg: Tensor
    groups: NDArray[np.generic] | None
    left_out: dict[str, int]


def measure(backend: str | PoseBackend, reference: Reference, landmark_model: str) -> Measured:
    """Estimate the faces of a reference; those that cannot be measured are counted once each."""
    landmarks = reference.landmarks
    if landmark_model != "auto":
        landmarks = landmarks.made_by(landmark_model)
    rotation = estimate_rotations(backend, landmarks, reference.frame_size)
    known_deg = reference.angles_deg
    kept, left_out = keep_rows(
        {
            "landmarks missing": ~usable_rows(landmarks.points),
            "reference missing": ~reference.rotation.isfinite().flatten(1).all(dim=1),
            f"reference beyond {LARGEST_ANGLE_DEG:g} degrees": (
                known_deg.abs() > LARGEST_ANGLE_DEG
            ).any(dim=1),
            "no estimate": ~rotation.isfinite().flatten(1).all(dim=1),
        }
    )
    if not kept.any():
        raise EvaluationError(
            f"none of the {len(kept)} faces of {reference.name} can be measured: {left_out}."
        )
    return Measured(
        rows=np.flatnonzero(kept.numpy()),
        estimated=rotation[kept],
        known=reference.rotation[kept],
        known_deg=known_deg[kept],
        groups=None if reference.groups is None else reference.groups[kept.numpy()],
        left_out=left_out,
    )


def estimate_rotations(
    backend: str | PoseBackend, landmarks: Landmarks, frame_size: FrameSize | Tensor | None
) -> Tensor:
    """``[n, 3, 3]`` float64 rotations in the camera's axes; NaN where none is estimated."""
    convention = find_convention("img2pose")
    estimator = PoseEstimator(backend=find_pose_backend(backend), convention=convention.name)
    block = estimator(landmarks, frame_size=frame_size)
    return convention.to_matrix(torch.tensor(block.iloc[:, :3].to_numpy(dtype=np.float64)))
