"""What the targets share: a face whose pose is known, and what estimates it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from feat_pose_plugin import get_pose_backend
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.tables.pose_tables import estimate_table
from feat_pose_plugin.testing import project_face

# In whole pixels, so that every dtype and every format holds them exactly.
FACE = project_face(torch.tensor([[0.1, 0.3, -0.2]]))[0].round()  # [68, 2]
TOLERANCE = 1e-4  # radians: float32 rounding of one face among others


@cache
def estimator(landmark_model: str = "auto", *, quality: bool = False) -> PoseEstimator:
    backend = get_pose_backend("pose_mlp_synth")
    return PoseEstimator(backend=backend, landmark_model=landmark_model, quality=quality)


@cache
def known_pose(landmark_model: str = "auto") -> np.ndarray:
    """``[3]`` Pitch, Roll, Yaw of :data:`FACE`."""
    return estimator(landmark_model)(FACE[None]).to_numpy()[0, :3]


def check_pose(pose: pd.DataFrame, rows: int, clean: list[int], known: np.ndarray) -> None:
    """Rows are all there, sound ones have the pose of the face, and no row has half a pose."""
    assert len(pose) == rows, f"{len(pose)} rows of {rows}"
    values = pose.iloc[:, :6].to_numpy(np.float32)
    angles = values[:, :3]
    missing = np.isnan(angles)
    assert (missing.all(axis=1) == missing.any(axis=1)).all(), "half a pose"
    assert not np.isinf(values).any(), "infinity"
    if clean:
        difference = np.abs(angles[clean] - known).max()
        assert difference <= TOLERANCE, f"off by {difference}"


def estimate_file(source: Path, target: Path) -> None:
    with write_whole(target) as part:
        estimate_table(source, part, estimator())


@cache
def scratch() -> Path:
    """A folder, in memory where there is one. Whoever runs the targets removes it."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
