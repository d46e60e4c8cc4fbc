"""Pose for the detectors of any framework.

A detector class that keeps the protocol :class:`FaceDetector` takes a pose model after
:func:`with_pose_model`. This module knows no framework.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import wraps
from types import new_class
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch

from feat_pose_plugin.errors import DetectorError
from feat_pose_plugin.frameworks.native_pose import NativePose
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import Landmarks, read_landmarks
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


class FaceDetector(Protocol):
    """What a detector must say of itself to take a pose model.

    Attributes:
        landmark_model: The kind of landmarks it finds, see
            :func:`~feat_pose_plugin.estimate_pose`.
        native_pose: The name of the pose that this instance estimates by itself, which a user can
            select as any other pose model; None if it has none. Read after its constructor.
    """

    @property
    def landmark_model(self) -> str: ...  # noqa: D102

    @property
    def native_pose(self) -> str | None: ...  # noqa: D102

    def accept_pose_model(self, description: str) -> None:
        """Note which pose model was chosen. Called once, after the constructor.

        Args:
            description: The model and its weights, see
                :meth:`~feat_pose_plugin.Provenance.describe`.

        Raises:
            DetectorError: This instance finds no landmarks.
        """

    def read_faces(self, result: Any) -> Faces:
        """The faces in a result.

        Args:
            result: What the method returned that finds faces.
        """

    def write_pose(self, result: Any, pose: pd.DataFrame) -> Any:
        """The result with the pose of each of its rows.

        Args:
            result: As in :meth:`read_faces`; it may be changed.
            pose: Rows in the order of the faces, numbered from 0; columns ``Pitch, Roll, Yaw, X,
                Y, Z`` in convention ``feat``, and those that options add.
        """


Detector = TypeVar("Detector", bound=FaceDetector)

_PROTOCOL = [name for name in vars(FaceDetector) if not name.startswith("_")]


def with_pose_model(detector: type[Detector], method: str) -> type[Detector]:
    """A detector class whose users choose the pose model.

    Args:
        detector: A class that keeps :class:`FaceDetector`.
        method: The name of its method that finds faces; what this returns is what
            ``detector.read_faces`` reads.

    Returns:
        A subclass of the same name. Its constructor takes two more arguments by name:
        ``pose_model``, a name of :func:`~feat_pose_plugin.available_pose_backends` or a backend,
        and ``pose_options``, see :func:`make_estimator`. With ``pose_model=None`` all is as in
        ``detector``. Its attribute ``pose_estimator``, set before the constructor of ``detector``
        runs, is what estimates, or None where the detector's own pose stays.

    Raises:
        DetectorError: ``detector`` lacks part of the protocol, or the method.
    """
    missing = [name for name in (*_PROTOCOL, method) if not hasattr(detector, name)]
    if missing:
        raise DetectorError(
            f"{detector.__qualname__} cannot take a pose model: it has no {', '.join(missing)}. "
            "What a detector needs is in feat_pose_plugin.frameworks.protocol.FaceDetector."
        )
    build: Callable[..., None] = detector.__init__
    find: Callable[..., Any] = getattr(detector, method)

    @wraps(build)
    def __init__(  # noqa: N807
        self: Any,
        *args: object,
        pose_model: str | PoseBackend | None = None,
        pose_options: Mapping[str, object] | None = None,
        **kwargs: object,
    ) -> None:
        # First, because weights that are missing should not wait for the detector's own.
        estimator = make_estimator(pose_model, pose_options, self.landmark_model)
        backend = None if estimator is None else estimator.backend
        self.pose_estimator = None if isinstance(backend, NativePose) else estimator
        build(self, *args, **kwargs)
        if isinstance(backend, NativePose):
            if self.native_pose != backend.provenance.name:
                raise DetectorError(
                    f"pose_model={backend.provenance.name!r} needs {backend.needs}. For this "
                    f"{detector.__qualname__} take 'pose_mlp_synth' or another pose model."
                )
        elif backend is not None:
            self.accept_pose_model(backend.provenance.describe(self.landmark_model))

    @wraps(find)
    def find_with_pose(self: Any, *args: object, **kwargs: object) -> Any:
        result = find(self, *args, **kwargs)
        if self.pose_estimator is None:
            return result
        faces = self.read_faces(result)
        landmarks = _without_empty(faces, self.landmark_model)
        return self.write_pose(result, self.pose_estimator(landmarks, frame_size=faces.frame_size))

    __init__.__signature__ = _with_pose_arguments(build, __init__)  # type: ignore[attr-defined]
    body = {
        "__doc__": detector.__doc__,
        "__module__": detector.__module__,
        "__qualname__": detector.__qualname__,
        "__init__": __init__,
        method: find_with_pose,
    }
    return new_class(detector.__name__, (detector,), exec_body=lambda space: space.update(body))


def make_estimator(
    pose_model: str | PoseBackend | None,
    pose_options: Mapping[str, object] | None,
    landmark_model: str,
) -> PoseEstimator | None:
    """What estimates pose in a detector, its weights found and verified.

    Args:
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, a backend, or None
            for the detector's own pose.
        pose_options: Options of :class:`~feat_pose_plugin.pose.estimate.PoseEstimator` by name; all
            others go to the backend of that name.
        landmark_model: The kind of landmarks that the detector finds.

    Returns:
        The estimator; None for the detector's own pose.

    Raises:
        DetectorError: Options that would have no effect.
        UnknownBackendError: ``pose_model`` is unknown.
        BackendError: The backend cannot be made, or does not take the options.
        WeightsError: Its weights cannot be had or are not sound.
    """
    options = dict(pose_options or {})
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
    settings = {
        field.name: options.pop(field.name)
        for field in fields(PoseEstimator)
        if field.name in options
    }
    if isinstance(pose_model, PoseBackend):
        backend = pose_model
        ignored = options
    else:
        backend = get_pose_backend(pose_model, **options)
        ignored = settings if isinstance(backend, NativePose) else {}
    if ignored:
        raise DetectorError(f"pose_options={ignored!r} have no effect on {pose_model!r}.")
    return PoseEstimator(backend=backend, landmark_model=landmark_model, **settings)  # type: ignore[arg-type]


def _without_empty(faces: Faces, landmark_model: str) -> Landmarks:
    """The landmarks, NaN in rows without a face."""
    read = read_landmarks(faces.landmarks, landmark_model)
    empty = torch.tensor(faces.empty, device=read.points.device)
    if empty.shape != read.which.shape:
        raise DetectorError(
            f"Faces.empty has shape {list(empty.shape)} for {len(read.points)} rows of landmarks; "
            "it must say of each row whether it holds no face."
        )
    return replace(read, points=read.points.masked_fill(empty[:, None, None], torch.nan))


def _with_pose_arguments(
    build: Callable[..., None], with_pose: Callable[..., None]
) -> inspect.Signature:
    """The signature of a constructor, and the arguments that were added to it by name."""
    signature = inspect.signature(build)
    added = inspect.signature(with_pose, follow_wrapped=False).parameters
    parameters = [*signature.parameters.values(), added["pose_model"], added["pose_options"]]
    return signature.replace(parameters=sorted(parameters, key=lambda p: p.kind))
