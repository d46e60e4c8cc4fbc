"""What scripts for older versions of py-feat say, and what says it now.

One table, and the function that reads it; feat is not imported. ``docs/old-scripts.md`` has the
same table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from feat_pose_plugin.errors import DetectorError


class Successor(NamedTuple):
    """What took the place of something that py-feat had."""

    call: str  # "Detector", or "detect" for the methods that find faces
    argument: str
    value: str | None  # that was replaced, in lower case; None if the argument was
    new: str | None  # a value, or an argument, or what the result has instead; None: nothing
    until: str  # the last version of py-feat that had the old one
    note: str = ""  # what is different, or why nothing took its place
    only: str = ""  # the condition under which it is replaced
    idle: tuple[object, ...] = ()  # values that ask for nothing, so that there is nothing to say


WITH_HOG = "with action units or SVM emotions"
WITH_IMG2POSE = "with face_model='img2pose'"
WITHOUT_IMG2POSE = "with another face_model"

_ANOTHER = "another network finds the faces"
_AUS = "probabilities of 20 action units"
_NO_OPTIONS = "py-feat 2 passes no options to this model"
_EMPTY_ROWS = "a frame without a face is a row of NaN and no failure"

SUCCESSORS = (
    Successor("Detector", "face_model", "faceboxes", "retinaface", "0.6", _ANOTHER),
    Successor("Detector", "face_model", "mtcnn", "retinaface", "0.6", _ANOTHER),
    Successor("Detector", "face_model", "img2pose-c", "img2pose", "0.6", "one of the two is left"),
    Successor("Detector", "face_model", "retinaface_r34", "retinaface", "0.7", "the same network"),
    Successor(
        *("Detector", "landmark_model", "mobilenet", "mobilefacenet", "0.6"),
        note="py-feat 2 cannot read them from the larger crops of mobilenet",
        only=WITH_HOG,
    ),
    Successor("Detector", "au_model", "drml", "xgb", "0.3", f"{_AUS}, not of 12"),
    Successor("Detector", "au_model", "jaanet", "xgb", "0.4", f"{_AUS}, not of 12"),
    Successor("Detector", "au_model", "logistic", "xgb", "0.4", _AUS),
    Successor("Detector", "au_model", "rf", "xgb", "0.3", _AUS),
    Successor("Detector", "emotion_model", "fer", "resmasknet", "0.4", "the same 7 emotions"),
    Successor("Detector", "emotion_model", "rf", "resmasknet", "0.3", "the same 7 emotions"),
    Successor("Detector", "identity_model", "arcface_r50", "arcface", "0.7", "the same network"),
    Successor("Detector", "facepose_model", "img2pose-c", "img2pose", "0.6", only=WITH_IMG2POSE),
    *(
        Successor(
            *("Detector", "facepose_model", name, "pose_mlp_synth", "0.6"),
            note="from the landmarks of each face, not from the picture",
            only=WITHOUT_IMG2POSE,
        )
        for name in ("img2pose", "img2pose-c")
    ),
    Successor(
        "Detector", "facepose_model", "pnp", "pose_mlp_synth", "0.4", "from the same landmarks"
    ),
    Successor(
        *("Detector", "facepose_model_kwargs", None, "pose_options", "0.6"),
        note="RETURN_DIM is not needed, there are always six columns",
        idle=({}, None, {"RETURN_DIM": 3}, {"RETURN_DIM": 6}),
    ),
    Successor("Detector", "n_jobs", None, "num_workers of detect", "0.6", idle=(1, None)),
    Successor("Detector", "verbose", None, "progress_bar of detect", "0.6", idle=(False, None)),
    Successor("detect", "inputFname", None, "inputs", "0.4"),
    Successor("detect", "input_file_list", None, "inputs", "0.6"),
    Successor("detect", "video_path", None, "inputs", "0.6"),
    Successor("detect", "outputFname", None, "save", "0.4", idle=(None,)),
    Successor("detect", "threshold", None, "face_detection_threshold", "0.6"),
    Successor("detect", "verbose", None, "progress_bar", "0.3", idle=(False,)),
    Successor("detect", "return_detection", None, "the result", "0.4", idle=(True,)),
    *(
        Successor("detect", name, None, "the row of each frame", "0.5", _EMPTY_ROWS, idle=(False,))
        for name in ("singleframe4error", "skip_failed_detections")
    ),
    Successor("detect", "frame_counter", None, None, "0.6", "frames count from 0", idle=(0,)),
    Successor("detect", "facepose_model_kwargs", None, None, "0.6", _NO_OPTIONS, idle=({}, None)),
    *(
        Successor(call, f"{model}_model_kwargs", None, None, "0.6", _NO_OPTIONS, idle=({}, None))
        for call in ("Detector", "detect")
        for model in ("face", "landmark", "au", "emotion", "identity")
    ),
)


def by_name(
    args: Sequence[object], arguments: Mapping[str, object], names: Sequence[str]
) -> dict[str, object]:
    """All arguments of a call by name; ``names`` are those of the positions."""
    positional = dict(zip(names, args, strict=False))
    if len(args) > len(names):
        raise DetectorError(f"{len(args)} arguments by position are passed, {len(names)} at most.")
    for name in positional.keys() & arguments.keys():
        raise DetectorError(
            f"{name} is passed by position and by name. Their order changed between versions of "
            "py-feat: pass all but the first argument by name."
        )
    return {**positional, **arguments}


def translate(
    call: str,
    arguments: Mapping[str, object],
    accepted: Collection[str],
    *,
    choices: Mapping[str, Collection[str | None]] = {},
    conditions: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a call as py-feat 2 takes them, and a message for each thing replaced.

    ``accepted`` are the arguments that there are, ``choices`` the values that some of them take,
    ``conditions`` those of the table that hold. What became something else than an argument is
    left out. A DetectorError if nothing took the place of an argument or a value, nobody knows it,
    or it says a second time what another one says.
    """
    translated: dict[str, Any] = {}
    messages = []
    rows = [row for row in SUCCESSORS if row.call == call and row.only in ("", *conditions)]
    for name, value in arguments.items():
        word = _lower(value)
        row = next((r for r in rows if r.argument == name and r.value in (None, word)), None)
        target, new = name, value
        if row is not None:
            if value in row.idle:
                continue
            if row.new is None:
                raise DetectorError(f"{name}={value!r} has no successor: {row.note}. Leave it out.")
            said, now = name, row.new
            if row.value is not None:
                said, now, new = f"{name}={value!r}", f"{name}={row.new!r}", row.new
            messages.append(f"{said} became {now}" + (f": {row.note}." if row.note else "."))
            if row.value is None:
                target = row.new
                if target not in accepted:
                    continue
        elif name not in accepted:
            known = [*accepted, *(r.argument for r in rows)]
            close = get_close_matches(name.lower(), known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {_listed(accepted)}."
            raise DetectorError(f"unknown argument {name!r}. {hint}")
        elif name in choices:
            same = [choice for choice in choices[name] if _lower(choice) == word]
            if not same:
                raise DetectorError(
                    f"{name}={value!r} has no successor in py-feat 2. It takes "
                    f"{_listed(choices[name])}."
                )
            new = same[0]
        if target in translated:
            raise DetectorError(f"{name} says {target} a second time. Pass one of them.")
        translated[target] = new
    return translated, messages


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _listed(names: Collection[str | None]) -> str:
    return ", ".join(map(repr, names))
