"""What scripts for older versions of py-feat say, and what says it now.

Tables and the rules that read them; feat is not imported. The tables of ``docs/old-scripts.md``
are written from those below.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from feat_pose_plugin.errors import DetectorError
from feat_pose_plugin.pose.registry import available_pose_backends

if TYPE_CHECKING:
    from feat_pose_plugin.pose.backend import PoseBackend


class Successor(NamedTuple):
    """What took the place of something that py-feat had.

    Attributes:
        new: What says it now; None where nothing does.
        until: The last versions of py-feat that had the old one.
        note: What is different, or why nothing took its place.
        idle: Values of an argument that ask for nothing, so that there is nothing to say.
    """

    new: str | None
    until: str
    note: str = ""
    idle: tuple[object, ...] = ()


_ANOTHER_DETECTOR = Successor("retinaface", "0.6", "another network finds the faces")
_ONE_IMG2POSE = Successor("img2pose", "0.6", "one network is left of the two")

MODELS: dict[str, dict[str, Successor]] = {
    "face_model": {
        "faceboxes": _ANOTHER_DETECTOR,
        "mtcnn": _ANOTHER_DETECTOR,
        "img2pose-c": _ONE_IMG2POSE,
        "retinaface_r34": Successor("retinaface", "0.7", "the same network"),
    },
    "au_model": {
        "drml": Successor("xgb", "0.3", "probabilities of 20 action units, not of 12"),
        "jaanet": Successor("xgb", "0.4", "probabilities of 20 action units, not of 12"),
        "logistic": Successor("xgb", "0.4", "probabilities of 20 action units"),
        "rf": Successor("xgb", "0.3", "probabilities of 20 action units"),
    },
    "emotion_model": {
        "fer": Successor("resmasknet", "0.4", "probabilities of the same 7 emotions"),
        "rf": Successor("resmasknet", "0.3", "probabilities of the same 7 emotions"),
    },
    "identity_model": {
        "arcface_r50": Successor("arcface", "0.7", "the same network"),
    },
}
"""By argument and name."""

LANDMARK_MODELS_WITH_HOG: dict[str, Successor] = {
    "mobilenet": Successor(
        "mobilefacenet", "0.6", "py-feat 2 cannot read them from the larger crops of mobilenet"
    ),
}
"""By name, if action units or SVM emotions are wanted: both read histograms of gradients."""

_PNP = Successor("pose_mlp_synth", "0.4", "from the same landmarks, by a network")
_FROM_LANDMARKS = Successor(
    "pose_mlp_synth", "0.6", "from the landmarks of each face, not from the picture"
)

POSES: dict[str, Successor] = {
    "img2pose": _FROM_LANDMARKS,
    "img2pose-c": _FROM_LANDMARKS,
    "pnp": _PNP,
}
"""By name, if the face model has no pose of its own."""

POSES_WITH_IMG2POSE: dict[str, Successor] = {"img2pose-c": _ONE_IMG2POSE, "pnp": _PNP}
"""By name, if the face model is img2pose."""

POSE_OPTIONS: dict[str, Successor] = {
    "RETURN_DIM": Successor("six columns", "0.6", "always Pitch, Roll, Yaw, X, Y, Z"),
}
"""By key of ``facepose_model_kwargs``."""

_NO_OPTIONS = Successor(None, "0.6", "py-feat 2 passes no options to this model", ({}, None))

ARGUMENTS: dict[str, Successor] = {
    "n_jobs": Successor("num_workers of detect", "0.6", "it did nothing", (1, None)),
    "verbose": Successor("progress_bar of detect", "0.6", idle=(False, None)),
    "face_model_kwargs": _NO_OPTIONS,
    "landmark_model_kwargs": _NO_OPTIONS,
    "au_model_kwargs": _NO_OPTIONS,
    "emotion_model_kwargs": _NO_OPTIONS,
    "identity_model_kwargs": _NO_OPTIONS,
}
"""By argument of ``Detector``."""

_EMPTY_ROWS = "a frame without a face is a row of NaN and no failure"

DETECT_ARGUMENTS: dict[str, Successor] = {
    "inputFname": Successor("inputs", "0.4"),
    "input_file_list": Successor("inputs", "0.6"),
    "video_path": Successor("inputs", "0.6"),
    "outputFname": Successor("save", "0.4", "the result is returned as well", (None,)),
    "threshold": Successor("face_detection_threshold", "0.6"),
    "verbose": Successor("progress_bar", "0.3", idle=(False,)),
    "return_detection": Successor("the result", "0.4", "it is always returned", (True,)),
    "singleframe4error": Successor("the row of each frame", "0.4", _EMPTY_ROWS, (False,)),
    "skip_failed_detections": Successor("the row of each frame", "0.5", _EMPTY_ROWS, (False,)),
    "frame_counter": Successor(None, "0.6", "py-feat 2 counts frames from 0", (0,)),
    "face_model_kwargs": _NO_OPTIONS,
    "landmark_model_kwargs": _NO_OPTIONS,
    "facepose_model_kwargs": _NO_OPTIONS,
    "au_model_kwargs": _NO_OPTIONS,
    "emotion_model_kwargs": _NO_OPTIONS,
    "identity_model_kwargs": _NO_OPTIONS,
}
"""By argument of ``detect``, ``detect_image`` and ``detect_video``."""


def translate_model(
    argument: str,
    name: str | None,
    successors: Mapping[str, Successor],
    supported: Collection[str | None],
    messages: list[str],
) -> str | None:
    """The name of a model in py-feat 2.

    Args:
        argument: Which model, such as ``"face_model"``.
        name: The name that a script passes, in any case of letters; None for no model.
        successors: The names that are replaced.
        supported: What the installed py-feat takes.
        messages: Gets one message if the name is replaced.

    Returns:
        One of ``supported``.

    Raises:
        DetectorError: Nothing took the place of the name, or nobody knows it.
    """
    lower = _lower(name)
    successor = successors.get(str(lower))
    if successor is not None:
        new = f"{argument}={successor.new!r}"
        messages.append(_became(f"{argument}={name!r}", new, successor))
        return successor.new
    if lower not in supported:
        raise DetectorError(
            f"{argument}={name!r} has no successor in py-feat 2. It takes {_listed(supported)}."
        )
    return lower


def translate_pose(
    face_model: str | None,
    facepose_model: str | None,
    pose_model: str | PoseBackend | None,
    messages: list[str],
) -> str | PoseBackend | None:
    """The ``pose_model`` of a detector.

    Args:
        face_model: Name of the face model in py-feat 2.
        facepose_model: The name that a script passes, in any case of letters: one that py-feat had,
            or a registered backend. None for py-feat's own pose.
        pose_model: What a script passes by this argument; it goes before ``facepose_model``.
        messages: Gets one message if ``facepose_model`` is replaced.

    Raises:
        DetectorError: Nothing took the place of the name, or nobody knows it.
    """
    if facepose_model is None:
        return pose_model
    said, lower = f"facepose_model={facepose_model!r}", _lower(facepose_model)
    if pose_model is not None:
        if lower != pose_model:
            messages.append(f"{said} gives way to pose_model={pose_model!r}.")
        return pose_model
    successors = POSES_WITH_IMG2POSE if face_model == "img2pose" else POSES
    if lower in successors:
        successor = successors[lower]
        messages.append(_became(said, f"facepose_model={successor.new!r}", successor))
        return successor.new
    backends = {name.lower(): name for name in available_pose_backends()}
    if lower not in backends:
        raise DetectorError(
            f"{said} has no successor. It takes {_listed(sorted({*backends.values(), *POSES}))}, "
            "or None for py-feat's own pose."
        )
    return backends[lower]


def translate_pose_options(
    facepose_model: str | None, facepose_model_kwargs: Mapping[str, object], messages: list[str]
) -> dict[str, object]:
    """The ``pose_options`` of a detector.

    Args:
        facepose_model: The name that a script passes.
        facepose_model_kwargs: The options that it passes.
        messages: Gets one message for each thing that is replaced.

    Returns:
        Options of the pose backend, if ``facepose_model`` is the name of one.

    Raises:
        DetectorError: Nothing took the place of an option.
    """
    options = {}
    for key, value in facepose_model_kwargs.items():
        if key in POSE_OPTIONS:
            said = f"facepose_model_kwargs={{{key!r}: {value!r}}}"
            messages.append(_became(said, POSE_OPTIONS[key].new, POSE_OPTIONS[key]))
        else:
            options[key] = value
    if not options:
        return {}
    if facepose_model is None or _lower(facepose_model) in POSES:
        raise DetectorError(
            f"facepose_model_kwargs={options!r} has no successor: py-feat 2 passes no options to "
            "this model. Leave it out; options of a pose backend are pose_options."
        )
    messages.append(f"facepose_model_kwargs={options!r} became pose_options.")
    return options


def translate_arguments(
    arguments: Mapping[str, object],
    successors: Mapping[str, Successor],
    accepted: Collection[str],
    messages: list[str],
) -> dict[str, object]:
    """Arguments by the names of py-feat 2.

    Args:
        arguments: What a script passes by name.
        successors: The arguments that py-feat had.
        accepted: The arguments that there are.
        messages: Gets one message for each argument that is replaced.

    Returns:
        Arguments whose names are ``accepted``. Those that became something else are left out.

    Raises:
        DetectorError: Nothing took the place of an argument, nobody knows it, or it says a second
            time what another one says.
    """
    translated: dict[str, object] = {}
    for name, value in arguments.items():
        target = name if name in accepted else _target(name, value, successors, accepted, messages)
        if target is None:
            continue
        if target in translated:
            raise DetectorError(f"{name} says {target} a second time. Pass one of them.")
        translated[target] = value
    return translated


def _target(
    name: str,
    value: object,
    successors: Mapping[str, Successor],
    accepted: Collection[str],
    messages: list[str],
) -> str | None:
    """The accepted argument that an old one became; None if there is nothing to pass."""
    if name not in successors:
        raise DetectorError(_unknown(name, [*accepted, *successors]))
    successor = successors[name]
    if value in successor.idle:
        return None
    if successor.new is None:
        raise DetectorError(f"{name}={value!r} has no successor: {successor.note}. Leave it out.")
    messages.append(_became(name, successor.new, successor))
    return successor.new if successor.new in accepted else None


def _lower(name: str | None) -> str | None:
    return name.lower() if isinstance(name, str) else name


def _listed(names: Collection[str | None]) -> str:
    return ", ".join(map(repr, names))


def _became(said: str, new: str | None, successor: Successor) -> str:
    return f"{said} became {new}" + (f": {successor.note}." if successor.note else ".")


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are {_listed(sorted(known))}."
    return f"unknown argument {name!r}. {hint}"
