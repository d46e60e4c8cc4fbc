"""``Detector``, as scripts for older versions of py-feat name it, made of py-feat 2."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feat_pose_plugin.frameworks.pyfeat_detectors import Detectorv1
from feat_pose_plugin.frameworks.successors import (
    WITH_HOG,
    WITH_IMG2POSE,
    WITHOUT_IMG2POSE,
    by_name,
    translate,
)

if TYPE_CHECKING:
    from feat import Fex

# Of py-feat 0.6.
_POSITIONS = (
    *("face_model", "landmark_model", "au_model", "emotion_model", "facepose_model"),
    *("identity_model", "device", "n_jobs", "verbose"),
)


class Detector(Detectorv1):
    """A Detectorv1 for scripts that were written for py-feat 0.4 to 0.7.

    What py-feat 2 no longer has becomes its successor, with one FutureWarning that names both.
    What has none is an error. ``docs/old-scripts.md`` lists them all. What a script leaves out is
    what py-feat 2 does by itself. Names of models are read in any case of letters.

    Args:
        *args: In the order of py-feat 0.6: ``face_model``, ``landmark_model``, ``au_model``,
            ``emotion_model``, ``facepose_model``, ``identity_model``, ``device``, ``n_jobs``,
            ``verbose``.
        **arguments: These and others that py-feat had, and those of
            :class:`~feat_pose_plugin.Detectorv1`. ``facepose_model`` is a name of
            :func:`~feat_pose_plugin.available_pose_backends` or one that py-feat had, or None for
            the pose of py-feat 2. ``pose_model`` goes before it.

    Raises:
        DetectorError: An argument or a value is unknown, or nothing took its place.
        BackendError: The pose backend cannot be made.
        WeightsError: Its weights are not available or are damaged, or py-feat's models cannot.
    """

    def __init__(self, *args: Any, **arguments: Any) -> None:
        said = by_name(args, arguments, _POSITIONS)
        gives_way = []
        if (pose_model := said.get("pose_model")) is not None:
            old = said.pop("facepose_model", None)
            if old not in (None, pose_model):
                gives_way = [f"facepose_model={old!r} gives way to pose_model={pose_model!r}."]
        supported: dict[str, Any] = self.SUPPORTED_MODELS
        asked = {model: str(said.get(model, supported[model]["default"])) for model in supported}
        asked = {model: name.lower() for model, name in asked.items()}
        with_hog = asked["au_model"] != "none" or asked["emotion_model"] == "svm"
        with_img2pose = asked["face_model"].startswith("img2pose")
        conditions = [WITH_IMG2POSE if with_img2pose else WITHOUT_IMG2POSE]
        translated, messages = translate(
            "Detector",
            said,
            (*_POSITIONS[:7], "gaze_model", "pose_model", "pose_options"),
            choices={name: model["options"] for name, model in supported.items()},
            conditions=[*conditions, WITH_HOG] if with_hog else conditions,
        )
        for message in (*gives_way, *messages):
            warnings.warn(message, FutureWarning, stacklevel=2)
        if "facepose_model" in translated:
            translated["pose_model"] = translated.pop("facepose_model")
        if isinstance(device := translated.get("device"), str):
            translated["device"] = device.lower()
        super().__init__(**translated)

    def detect_image(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in image files: a path or a list of paths, all else by name as for detect."""
        return self._detect(args, {"data_type": "image", **arguments})

    def detect_video(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in a video file: a path, all else by name as for detect."""
        return self._detect(args, {"data_type": "video", **arguments})

    def detect(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in images, a video or a tensor, as py-feat's Detectorv1 takes them.

        By the names of its arguments, or by those that older versions had; a DetectorError if one
        is unknown or passed twice, or nothing took its place.
        """
        return self._detect(args, arguments)

    def _detect(self, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> Fex:
        parameters = inspect.signature(super().detect).parameters.values()
        accepted = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        translated, messages = translate("detect", by_name(args, arguments, accepted), accepted)
        for message in messages:
            warnings.warn(message, FutureWarning, stacklevel=3)
        fex: Fex = super().detect(**translated)
        return fex
