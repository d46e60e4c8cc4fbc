"""py-feat's detectors with a choice of pose model. The only module that imports feat."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import feat.detector
import feat.detector_v2
import feat.MPDetector
import torch

from feat_pose_plugin.errors import DetectorError
from feat_pose_plugin.frameworks.protocol import Faces, WithPoseModel
from feat_pose_plugin.frameworks.pyfeat_models import models_of_feat
from feat_pose_plugin.pose.frame_sizes import FRAME_SIZE_COLUMNS
from feat_pose_plugin.pose.registry import available_pose_backends

if TYPE_CHECKING:
    import pandas as pd
    from feat import Fex

    from feat_pose_plugin.pose.estimate import PoseEstimator


class _SupportedModels:
    """py-feat's table of the models that a detector takes, with the pose models of this moment."""

    def __init__(self, of_feat: Mapping[str, object], without: str = "") -> None:
        self._of_feat = of_feat
        self._without = without

    def __get__(self, detector: object, owner: type) -> dict[str, object]:
        names = [name for name in available_pose_backends() if name != self._without]
        return {**self._of_feat, "facepose_model": {"options": [None, *names], "default": None}}


class _FaceTable(WithPoseModel):
    """What py-feat's detectors find: a table, a row for each face.

    A frame without a face has one row, with score 0. The landmarks are in pixels of the original
    frame, and the table has its size.
    """

    info: dict[str, Any]

    def accept_pose_model(self, description: str) -> None:
        """In ``info``, which a Fex keeps."""
        if self.info.get("landmark_model", "mesh") is None:
            raise DetectorError(
                f"{type(self).__qualname__}(landmark_model=None) finds no landmarks for pose_model "
                f"{description!r}. Leave landmark_model at its default, or pose_model away."
            )
        self.info["facepose_model"] = description

    def read_faces(self, result: pd.DataFrame) -> Faces:
        """The whole table, which names its landmarks."""
        return Faces(
            landmarks=result,
            empty=(result["FaceScore"] == 0).to_numpy(),
            frame_size=result[FRAME_SIZE_COLUMNS].to_numpy(copy=True),
        )

    def write_pose(self, result: pd.DataFrame, pose: pd.DataFrame) -> pd.DataFrame:
        """The table with other numbers in the pose columns."""
        table = result.copy()  # in one piece; pandas warns of new columns in a table of many
        table[pose.columns] = pose.set_axis(table.index)
        return table


class _Loading:
    """Stands before py-feat's class and watches over it while it loads its models."""

    pose_estimator: PoseEstimator | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with models_of_feat(type(self).__qualname__), warnings.catch_warnings():
            if self.pose_estimator is not None:
                message = "face_model='retinaface' does not regress 6DoF head pose"
                warnings.filterwarnings("ignore", message)
            super().__init__(*args, **kwargs)


class Detectorv1(_FaceTable, _Loading, feat.detector.Detectorv1):  # type: ignore[misc]
    """py-feat's Detectorv1; ``pose_model`` says what fills the pose columns.

    Its arguments are py-feat's and, by name, ``pose_model`` and ``pose_options``. Pose is
    estimated from the 68 points of the landmark model.
    """

    SUPPORTED_MODELS = _SupportedModels(feat.detector.Detectorv1.SUPPORTED_MODELS)

    @property
    def landmark_model(self) -> str:  # type: ignore[override]
        """The name that py-feat has for it: ``mobilefacenet``, ``mobilenet`` or ``pfld``."""
        return self.info["landmark_model"] or "2d"

    @property
    def native_pose(self) -> str | None:  # type: ignore[override]
        """``img2pose``, if this is the face model."""
        return "img2pose" if self.info["face_model"] == "img2pose" else None

    def forward(self, faces_data: list[dict[str, Any]], batch_data: dict[str, Any]) -> pd.DataFrame:
        """As py-feat's, with our pose."""
        if self.pose_estimator is not None:
            # Where a pose is NaN py-feat runs its own network, and asks the hub for its weights.
            faces_data = [
                {**faces, "poses": torch.zeros_like(faces["poses"])} for faces in faces_data
            ]
        table: pd.DataFrame = self.add_pose(super().forward(faces_data, batch_data))
        return table


class Detectorv2(_FaceTable, _Loading, feat.detector_v2.Detectorv2):  # type: ignore[misc]
    """py-feat's Detectorv2; ``pose_model`` says what fills the pose columns.

    Its arguments are py-feat's and, by name, ``pose_model`` and ``pose_options``. Pose is
    estimated from the mesh, not from the 68 points that py-feat picks of it.
    """

    SUPPORTED_MODELS = _SupportedModels(
        feat.detector_v2.Detectorv2.SUPPORTED_MODELS, without="img2pose"
    )
    landmark_model = "detectorv2"

    def forward(self, faces_data: list[dict[str, Any]], batch_data: dict[str, Any]) -> pd.DataFrame:
        """As py-feat's, with our pose."""
        table: pd.DataFrame = self.add_pose(super().forward(faces_data, batch_data))
        return table


class MPDetector(_FaceTable, _Loading, feat.MPDetector.MPDetector):  # type: ignore[misc]
    """py-feat's MPDetector; ``pose_model`` says what fills the pose columns.

    Its arguments are py-feat's and, by name, ``pose_model`` and ``pose_options``. Pose is
    estimated from MediaPipe's mesh.
    """

    SUPPORTED_MODELS = _SupportedModels(
        feat.MPDetector.MPDetector.SUPPORTED_MODELS, without="img2pose"
    )
    landmark_model = "mediapipe"

    def detect(self, *args: Any, **kwargs: Any) -> Fex:
        """As py-feat's, which lays its own pose of the mesh into the table here."""
        fex: Fex = self.add_pose(super().detect(*args, **kwargs))
        return fex


_OURS = {
    feat.detector.Detectorv1: Detectorv1,
    feat.detector_v2.Detectorv2: Detectorv2,
    feat.MPDetector.MPDetector: MPDetector,
}
_lock = threading.Lock()


def install() -> None:
    """Put the detectors of this module in the place of py-feat's.

    Afterwards ``from feat import Detectorv1`` gives a class that takes ``pose_model``, and
    ``feat.detector_capabilities()`` lists the pose models. A name that a script imported before
    stays py-feat's. Installing again changes nothing.
    """
    _replace(_OURS)


def uninstall() -> None:
    """Undo :func:`install`: all attributes of py-feat's modules are what they were."""
    _replace({ours: theirs for theirs, ours in _OURS.items()})


def _replace(classes: Mapping[type, type]) -> None:
    with _lock:
        modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "feat"]
        for module in modules:
            for name, value in list(vars(module).items()):
                if isinstance(value, type) and value in classes:
                    setattr(module, name, classes[value])
