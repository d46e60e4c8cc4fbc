"""The contract of a pose backend, and the table block made of what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.conventions import FEAT_FACEPOSE_COLUMNS_6D, from_img2pose
from feat_pose_plugin.errors import BackendError, FrameSizeError
from feat_pose_plugin.landmarks import Landmarks, LandmarkType

if TYPE_CHECKING:
    import pandas as pd

FrameSize = tuple[int, int]
"""Height and width of the video frame in pixels."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights and the SHA-256 of its bytes, hexadecimal."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """What produced a pose: which method, which weights, under which licence.

    Attributes:
        name: The backend's name.
        licence: Licence of the weights, or of the method where it has none.
        weights: The file that serves each landmark type; empty for a method without weights.
    """

    name: str
    licence: str
    weights: Mapping[LandmarkType, WeightsFile] = field(default_factory=dict)


class PoseBackend(ABC):
    """Turns 68 landmarks into pose. The whole contract is :meth:`estimate` and ``provenance``.

    Convention: OpenCV camera axes, x right, y down, z away from the camera. The result is
    ``rx, ry, rz, tx, ty, tz``: a rotation vector in radians that turns the head from facing the
    camera, and the position of the head in units of img2pose's reference face.
    :mod:`feat_pose_plugin.testing` checks a backend against this contract.

    Attributes:
        provenance: Which method and weights this instance runs.
    """

    provenance: Provenance

    @abstractmethod
    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_type: LandmarkType = "2d",
    ) -> Tensor:
        """Estimate the pose of each row on its own.

        Args:
            landmarks: ``[B, 68, 2]`` float32 pixels of the video frame, B may be 0. Not to be
                changed. A row without a usable face holds NaN or infinity, or outer eye corners
                (36, 45) that coincide.
            frame_size: Height and width of the video frame in pixels, if known. Without it, the
                rotation must not depend on where the face lies in the picture or how large it is.
            landmark_type: ``"2d"`` where points 0-16 lie on the visible contour, ``"3d"`` where
                they are projected points of the head.

        Returns:
            ``[B, 6]`` float32 on the device of the input, convention ``img2pose``. Six NaN for a
            row that is not usable; NaN in ``tx, ty, tz`` where translation is not known.
        """


def pose_block(
    backend: PoseBackend,
    landmarks: Landmarks,
    *,
    frame_size: FrameSize | None = None,
    convention: str = "feat",
    index: pd.Index | None = None,
) -> pd.DataFrame:
    """The six pose columns of a batch of landmarks.

    Args:
        backend: What estimates.
        landmarks: Rows of both landmark types may be mixed.
        frame_size: Height and width of the video frame in pixels, if known.
        convention: A name in :data:`feat_pose_plugin.conventions.CONVENTIONS`.
        index: Index of the result; 0, 1, ... if None.

    Returns:
        ``FEAT_FACEPOSE_COLUMNS_6D``, float32, a row for each row of landmarks.

    Raises:
        FrameSizeError: ``frame_size`` is not two positive integers.
        ConventionError: The convention is unknown.
        BackendError: The backend returned another shape or dtype than its contract says.
    """
    import pandas as pd

    if frame_size is not None:
        _check_frame_size(frame_size)
    pose = torch.empty(len(landmarks.points), 6, device=landmarks.points.device)
    kinds: tuple[LandmarkType, LandmarkType] = ("2d", "3d")
    for landmark_type in kinds:
        rows = landmarks.is_3d if landmark_type == "3d" else ~landmarks.is_3d
        if rows.any():
            # One kind of landmarks is the rule, and is not copied.
            points = landmarks.points if rows.all() else landmarks.points[rows]
            part = backend.estimate(points, frame_size=frame_size, landmark_type=landmark_type)
            _check_result(backend, part, points)
            pose[rows] = part
    values = from_img2pose(pose, convention).cpu().numpy()
    return pd.DataFrame(values, columns=FEAT_FACEPOSE_COLUMNS_6D, index=index)


def _check_frame_size(frame_size: object) -> None:
    sound = (
        isinstance(frame_size, tuple | list)
        and len(frame_size) == 2
        and all(isinstance(side, int | np.integer) and side > 0 for side in frame_size)
    )
    if not sound:
        raise FrameSizeError(
            f"frame_size must be (height, width) in pixels, two positive integers, got "
            f"{frame_size!r}."
        )


def _check_result(backend: PoseBackend, pose: Tensor, landmarks: Tensor) -> None:
    expected = (len(landmarks), 6)
    if not isinstance(pose, Tensor) or pose.shape != expected or pose.dtype != torch.float32:
        found = (
            f"{pose.dtype} of shape {list(pose.shape)}"
            if isinstance(pose, Tensor)
            else type(pose).__qualname__
        )
        raise BackendError(
            f"pose backend {backend.provenance.name!r} returned {found} for {len(landmarks)} "
            f"faces; the contract is a torch.float32 tensor of shape {list(expected)}."
        )
