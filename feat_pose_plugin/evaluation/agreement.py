"""One head, one pose: two layouts of the same frames must give the same answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.estimates import estimate_rotations
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.landmarks import Landmarks
from feat_pose_plugin.pose.rotations import matrix_to_rotvec


def layout_agreement(
    backend: str | PoseBackend,
    first: Landmarks,
    second: Landmarks,
    *,
    frame_size: FrameSize | None = None,
) -> pd.DataFrame:
    """Compare what a backend says of two layouts of the same frames.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        first: Landmarks of n frames, see :func:`~feat_pose_plugin.pose.landmarks.read_landmarks`.
        second: Other landmarks of the same frames.
        frame_size: Height and width of the video frames in pixels, if known.

    Returns:
        Index ``rx, ry, rz``, the components of the rotation vector; columns ``mean_difference``
        (second less first, degrees), ``mean_absolute_difference`` around that mean, and
        ``frames``: how many have both estimates.

    Raises:
        EvaluationError: The layouts do not pair up, or no frame has both estimates.
        BackendError: The backend is unknown or broke its contract.
    """
    if len(first.points) != len(second.points):
        raise EvaluationError(
            f"the two layouts have {len(first.points)} and {len(second.points)} frames; they must "
            "be of the same frames, row for row."
        )
    one, other = (
        matrix_to_rotvec(estimate_rotations(backend, landmarks, frame_size)).rad2deg().numpy()
        for landmarks in (first, second)
    )
    difference = other - one
    difference = difference[np.isfinite(difference).all(axis=1)]
    if not len(difference):
        raise EvaluationError(f"none of {len(one)} frames has an estimate from both layouts.")
    mean = difference.mean(axis=0)
    return pd.DataFrame(
        {
            "mean_difference": mean,
            "mean_absolute_difference": np.abs(difference - mean).mean(axis=0),
            "frames": len(difference),
        },
        index=["rx", "ry", "rz"],
    )
