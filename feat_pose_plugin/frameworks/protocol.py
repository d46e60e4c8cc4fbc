"""Pose for the detectors of any framework. This module knows no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from feat_pose_plugin.errors import DetectorError
from feat_pose_plugin.frameworks.native_pose import NativePose
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.pose.registry import get_pose_backend

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

# What the pose model, the detector's landmarks and its columns decide, not its user.
_DECIDED = {"backend", "landmark_model", "convention"}


@dataclass(frozen=True)
class Faces:
    """What a detector found, one row for each face.

    Attributes:
        landmarks: Any layout that :func:`~feat_pose_plugin.estimate_pose` reads, in pixels of the
            video frame as it was before the detector padded or scaled it.
        empty: ``[B]`` bool, True in rows without a face. Their pose is NaN, whatever their
            landmarks are.
        frame_size: Height and width of that video frame in pixels: one pair, or ``[B, 2]`` with
            NaN where not known; None if not known.
    """

    landmarks: Tensor | NDArray[np.generic] | pd.DataFrame
    empty: NDArray[np.bool_]
    frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None


class WithPoseModel:
    """Gives a detector class a choice of pose model.

    It stands before that class::

        class PoseDetector(WithPoseModel, Detector):
            landmark_model = "dlib"

            def detect(self, picture):
                return self.add_pose(super().detect(picture))

            def read_faces(self, result): ...

            def write_pose(self, result, pose): ...

    Args:
        *args: Arguments of the detector, as are all others by name.
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, a backend, or None
            for the detector as it is without this class.
        pose_options: Options of :class:`~feat_pose_plugin.pose.estimate.PoseEstimator` by name. All
            others go to the backend of that name.

    Attributes:
        landmark_model: What made the landmarks, see :func:`~feat_pose_plugin.estimate_pose`. Read
            after the detector's constructor.
        native_pose: The name of the pose that this instance estimates by itself, which a user can
            select as any other pose model; None if it has none. Read after its constructor.
        pose_estimator: What estimates, set before the detector's constructor runs. None where the
            detector's own pose stays.

    Raises:
        DetectorError: Options would have no effect, or this detector has not the pose asked for.
        UnknownBackendError: ``pose_model`` is unknown.
        BackendError: The backend cannot be made, or does not take the options.
        WeightsError: Its weights are not available or are damaged.
    """

    landmark_model: str = "auto"
    native_pose: str | None = None
    pose_estimator: PoseEstimator | None

    def __init__(
        self,
        *args: Any,
        pose_model: str | PoseBackend | None = None,
        pose_options: Mapping[str, object] | None = None,
        **kwargs: Any,
    ) -> None:
        # First, because weights that are missing should not wait for the detector's own.
        estimator = _make_estimator(pose_model, dict(pose_options or {}))
        backend = None if estimator is None else estimator.backend
        self.pose_estimator = None if isinstance(backend, NativePose) else estimator
        super().__init__(*args, **kwargs)
        if isinstance(backend, NativePose) and self.native_pose != backend.provenance.name:
            raise DetectorError(
                f"pose_model={backend.provenance.name!r} needs {backend.needs}. For this "
                f"{type(self).__qualname__} take 'pose_mlp_synth' or another pose model."
            )
        if self.pose_estimator is not None:
            provenance = self.pose_estimator.backend.provenance
            self.accept_pose_model(provenance.describe(self.landmark_model))
            self.pose_estimator = replace(self.pose_estimator, landmark_model=self.landmark_model)

    def add_pose(self, result: Any) -> Any:
        """The result of the method that finds faces, with the pose of each face."""
        if self.pose_estimator is None:
            return result
        faces = self.read_faces(result)
        read = read_landmarks(faces.landmarks, self.pose_estimator.landmark_model)
        empty = torch.tensor(faces.empty, device=read.points.device)
        if empty.shape != read.points.shape[:1]:
            raise DetectorError(
                f"Faces.empty has shape {list(empty.shape)} for {len(read.points)} rows of "
                "landmarks; it must say of each row whether it holds no face."
            )
        read = replace(read, points=read.points.masked_fill(empty[:, None, None], torch.nan))
        return self.write_pose(result, self.pose_estimator(read, frame_size=faces.frame_size))

    def accept_pose_model(self, description: str) -> None:
        """Note which pose model and weights were chosen. Called once, after the constructor.

        Raises:
            DetectorError: This instance finds no landmarks.
        """

    def read_faces(self, result: Any) -> Faces:
        """The faces in what the method returned that finds faces."""
        raise NotImplementedError

    def write_pose(self, result: Any, pose: pd.DataFrame) -> Any:
        """The result, which may be changed, with the pose of each of its rows.

        ``pose`` has rows in the order of the faces, numbered from 0, and columns ``Pitch, Roll,
        Yaw, X, Y, Z`` in convention ``feat``, then those that options add.
        """
        raise NotImplementedError


def _make_estimator(
    pose_model: str | PoseBackend | None, options: dict[str, object]
) -> PoseEstimator | None:
    """What estimates, its weights found and verified; None for the detector's own pose."""
    if pose_model is None:
        if options:
            raise DetectorError(f"pose_options={options!r} need a pose_model that takes them.")
        return None
    decided = sorted(_DECIDED & options.keys())
    if decided:
        raise DetectorError(
            f"pose_options cannot hold {', '.join(map(repr, decided))}: the pose model and the "
            "detector decide. Use feat_pose_plugin.estimate_pose on the detector's landmarks."
        )
    of_estimator = {field.name for field in fields(PoseEstimator)} & options.keys()
    settings: dict[str, Any] = {name: options.pop(name) for name in of_estimator}
    if isinstance(pose_model, PoseBackend):
        backend, ignored = pose_model, options
    else:
        backend = get_pose_backend(pose_model, **options)
        ignored = settings if isinstance(backend, NativePose) else {}
    if ignored:
        raise DetectorError(f"pose_options={ignored!r} have no effect on {pose_model!r}.")
    return PoseEstimator(backend=backend, **settings)
