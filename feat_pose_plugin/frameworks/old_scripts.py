"""``Detector``, as scripts for older versions of py-feat name it, made of py-feat 2."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from feat_pose_plugin.errors import DetectorError
from feat_pose_plugin.frameworks.pyfeat_detectors import Detectorv1
from feat_pose_plugin.frameworks.successors import (
    ARGUMENTS,
    DETECT_ARGUMENTS,
    LANDMARK_MODELS_WITH_HOG,
    MODELS,
    translate_arguments,
    translate_model,
    translate_pose,
    translate_pose_options,
)

if TYPE_CHECKING:
    import torch
    from feat import Fex

    from feat_pose_plugin.pose.backend import PoseBackend


class Detector(Detectorv1):
    """A Detectorv1 for scripts that were written for py-feat 0.4 to 0.7.

    What py-feat 2 no longer has becomes its successor, with one FutureWarning that names both;
    what has none is an error. ``docs/old-scripts.md`` lists them all. What a script leaves out is
    what py-feat 2 does by itself. Names are read in any case of letters.

    Args:
        face_model: ``"retinaface"`` or ``"img2pose"``, or a name that py-feat had.
        landmark_model: ``"mobilefacenet"``, ``"mobilenet"`` or ``"pfld"``.
        au_model: ``"xgb"``, ``"svm"`` or None, or a name that py-feat had.
        emotion_model: ``"resmasknet"``, ``"svm"`` or None, or a name that py-feat had.
        facepose_model: A name of :func:`~feat_pose_plugin.available_pose_backends` or one that
            py-feat had; None for the pose of py-feat 2, which is always there.
        identity_model: ``"arcface"``, ``"facenet"`` or None.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``, or a torch device.
        n_jobs: Without effect, as it was.
        verbose: Without effect.
        gaze_model: ``"l2cs"`` or None.
        pose_model: As in :class:`~feat_pose_plugin.Detectorv1`; it goes before ``facepose_model``.
        pose_options: As in :class:`~feat_pose_plugin.Detectorv1`.
        facepose_model_kwargs: Becomes ``pose_options`` if ``facepose_model`` is a pose backend.
        **arguments: Others that py-feat had.

    Raises:
        DetectorError: An argument or a value is unknown, or nothing took its place.
        BackendError: The pose backend cannot be made.
        WeightsError: Its weights cannot be had or are not sound.
    """

    def __init__(
        self,
        face_model: str | None = "retinaface",
        landmark_model: str | None = "mobilefacenet",
        au_model: str | None = "xgb",
        emotion_model: str | None = "resmasknet",
        facepose_model: str | None = None,
        identity_model: str | None = "arcface",
        device: str | torch.device = "cpu",
        n_jobs: int | None = 1,
        verbose: bool | None = False,
        *,
        gaze_model: str | None = "l2cs",
        pose_model: str | PoseBackend | None = None,
        pose_options: Mapping[str, object] | None = None,
        facepose_model_kwargs: Mapping[str, object] | None = None,
        **arguments: object,
    ) -> None:
        messages: list[str] = []
        translate_arguments(
            {"n_jobs": n_jobs, "verbose": verbose, **arguments},
            ARGUMENTS,
            [name for name in _argument_names(Detector) if name not in ARGUMENTS],
            messages,
        )
        supported: dict[str, Any] = self.SUPPORTED_MODELS
        models: dict[str, Any] = {
            argument: translate_model(
                argument, name, MODELS.get(argument, {}), supported[argument]["options"], messages
            )
            for argument, name in {
                "face_model": face_model,
                "au_model": au_model,
                "emotion_model": emotion_model,
                "identity_model": identity_model,
                "gaze_model": gaze_model,
            }.items()
        }
        with_hog = models["au_model"] is not None or models["emotion_model"] == "svm"
        models["landmark_model"] = translate_model(
            "landmark_model",
            landmark_model,
            LANDMARK_MODELS_WITH_HOG if with_hog else {},
            supported["landmark_model"]["options"],
            messages,
        )
        pose_model = translate_pose(models["face_model"], facepose_model, pose_model, messages)
        options = translate_pose_options(facepose_model, facepose_model_kwargs or {}, messages)
        for message in messages:
            warnings.warn(message, FutureWarning, stacklevel=2)
        super().__init__(
            **models,
            device=device.lower() if isinstance(device, str) else device,
            pose_model=pose_model,
            pose_options={**options, **(pose_options or {})},
        )

    def detect_image(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in image files.

        Args:
            *args: A path, or a list of paths. All else is passed by name.
            **arguments: As for :meth:`detect`.

        Raises:
            DetectorError: As :meth:`detect`.
        """
        return self._detect(args, {"data_type": "image", **arguments})

    def detect_video(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in a video file.

        Args:
            *args: A path. All else is passed by name.
            **arguments: As for :meth:`detect`.

        Raises:
            DetectorError: As :meth:`detect`.
        """
        return self._detect(args, {"data_type": "video", **arguments})

    def detect(self, *args: Any, **arguments: Any) -> Fex:
        """Faces in images, a video or a tensor.

        Args:
            *args: As py-feat's Detectorv1 takes them.
            **arguments: By the names of py-feat's Detectorv1, or by those that older versions had.

        Raises:
            DetectorError: An argument is unknown or passed twice, or nothing took its place.
        """
        return self._detect(args, arguments)

    def _detect(self, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> Fex:
        messages: list[str] = []
        accepted = _argument_names(super().detect)
        translated = translate_arguments(arguments, DETECT_ARGUMENTS, accepted, messages)
        for name in accepted[: len(args)]:
            if name in translated:
                raise DetectorError(
                    f"{name} is passed by position and by name. Their order changed between "
                    "versions of py-feat: pass all but the first argument by name."
                )
        for message in messages:
            warnings.warn(message, FutureWarning, stacklevel=3)
        return super().detect(*args, **translated)


def _argument_names(function: Callable[..., object]) -> list[str]:
    """The names under which a function takes arguments, any others left aside."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
