"""Backends and faces that tests make up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from feat_pose_plugin import PoseBackend, Provenance
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.landmark_models import LandmarkModel
from feat_pose_plugin.testing import project_face


def faces(count: int, *, seed: int = 0, spread: float = 0.3, noise: float = 0) -> Tensor:
    """``[count, 68, 2]`` float32 pixels of turned heads; equal seeds give equal faces.

    Args:
        count: How many.
        seed: Of turns and noise.
        spread: Standard deviation of the rotation vectors, radians.
        noise: That of the points, pixels; eyes are 50 to 100 apart.
    """
    generator = torch.Generator().manual_seed(seed)
    points = project_face(spread * torch.randn(count, 3, generator=generator))
    return points + noise * torch.randn(points.shape, generator=generator)


def table_of(points: Any, prefix: str = "") -> pd.DataFrame:
    """The columns ``x_0..., y_0..., (z_0...)`` of ``[B, N, 2|3]`` points."""
    points = np.asarray(points)
    names = [f"{prefix}{a}_{i}" for a in "xyz"[: points.shape[2]] for i in range(points.shape[1])]
    return pd.DataFrame(points.swapaxes(1, 2).reshape(len(points), len(names)), columns=names)


def meshes_of(canonical_face: np.ndarray, turns: Rotation) -> np.ndarray:
    """``[B, 478, 3]`` float32 pixels of MediaPipe's canonical face, turned, with irises."""
    turned = np.stack([canonical_face @ matrix.T for matrix in turns.as_matrix()])
    irises = np.repeat(turned[:, [159, 386]], 5, axis=1)
    return (np.concatenate([turned, irises], axis=1) * 20 + 500).astype(np.float32)


class Fake(PoseBackend):
    """Answers what it is told, and keeps what it was asked.

    Args:
        answer: Pose ``[6]`` of every face, ``[B, 6]``, or a function of the landmarks; every head
            looks at the camera if None, its translation unknown.
        name: In its provenance.
    """

    def __init__(
        self, answer: Tensor | Callable[[Tensor], Any] | None = None, name: str = "fake"
    ) -> None:
        self.provenance = Provenance(name, "MIT")
        self.answer = torch.tensor([0.0] * 3 + [torch.nan] * 3) if answer is None else answer
        self.asked: list[tuple[Tensor, FrameSize | None, LandmarkModel]] = []

    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_model: LandmarkModel,
    ) -> Tensor:
        self.asked.append((landmarks, frame_size, landmark_model))
        if callable(self.answer):
            return self.answer(landmarks)
        return self.answer.expand(len(landmarks), 6)


def told(rotation: Rotation) -> Fake:
    """Says the rotations that it is told, along the line of sight; knows no translation."""
    rotvec = torch.from_numpy(rotation.as_rotvec().reshape(-1, 3)).float()
    return Fake(torch.cat([rotvec, torch.full_like(rotvec, torch.nan)], dim=1))
