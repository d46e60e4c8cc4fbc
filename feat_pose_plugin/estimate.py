"""The front door: landmarks of any layout in, six pose columns out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from feat_pose_plugin.backend import FrameSize, PoseBackend, pose_block
from feat_pose_plugin.conventions import find_convention
from feat_pose_plugin.landmarks import Landmarks, LandmarkTypeChoice, read_landmarks
from feat_pose_plugin.registry import get_pose_backend

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def estimate_pose(
    landmarks: Tensor | NDArray[np.generic] | pd.DataFrame,
    *,
    pose_model: str | PoseBackend = "pose_mlp_synth",
    landmark_type: LandmarkTypeChoice = "auto",
    frame_size: FrameSize | None = None,
    convention: str = "feat",
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Estimate head pose from 68 landmarks.

    Args:
        landmarks: Tensor or array ``[B, 68, 2|3]``, ``[B, 468|478, 2|3]`` (MediaPipe's mesh) or
            ``[B, 136]`` (68 x, then 68 y); or a DataFrame or Fex with landmark or mesh columns.
            Pixels of the video frame, x right, y down.
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        landmark_type: ``"2d"`` (points 0-16 on the visible contour), ``"3d"`` (projected points
            of the head), or ``"auto"``: meshes are 3d, all other 68 points are 2d.
        frame_size: Height and width of the video frame in pixels, if known.
        convention: What the columns mean: ``"feat"`` (radians; +pitch up, +yaw to the subject's
            right, +roll towards the subject's right shoulder), ``"img2pose"``, ``"300w-lp"``,
            ``"openface"``.
        device: Where to estimate; by default the device of a tensor, the CPU otherwise.

    Returns:
        Columns ``Pitch, Roll, Yaw, X, Y, Z``, float32, index and order of the input. A row with
        NaN, infinity or coinciding eye corners is NaN in all six. X, Y, Z are NaN where the
        backend does not know them (``pose_mlp_synth``).

    Raises:
        LandmarkError: ``landmarks`` hold no 68 points, or part of them, or text.
        UnknownBackendError: ``pose_model`` is unknown.
        WeightsError: Its weights cannot be had or are not sound.
        ConventionError: ``convention`` is unknown.
        FrameSizeError: ``frame_size`` is not two positive integers.
    """
    find_convention(convention)  # before any work
    backend = get_pose_backend(pose_model) if isinstance(pose_model, str) else pose_model
    read = read_landmarks(landmarks, landmark_type)
    if device is not None:
        read = Landmarks(read.points.to(device), read.is_3d.to(device))
    return pose_block(
        backend,
        read,
        frame_size=frame_size,
        convention=convention,
        index=getattr(landmarks, "index", None) if hasattr(landmarks, "columns") else None,
    )
