"""The words of every argument and option, each written once.

A command is a function with plain parameters; :func:`command` gives each of them its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

PANELS = POSE, LOOK, MEASURE, TRAIN, MACHINE = "Pose", "Look", "Measure", "Train", "This machine"
"""The panels of the help, in order."""

ANGLES = "feat, degrees (feat in degrees), img2pose, 300w-lp, openface, feat-0.6, feat-0.7, feat-mp"
CONVENTIONS = f"{ANGLES}, rotvec, quaternion, matrix, mediapipe"
LANDMARK_MODELS = (
    "auto (by the table), 2d (the jaw is the contour in the picture), 3d (points of the head), "
    "mobilefacenet, mobilenet, pfld, dlib, openface, openseeface, mediapipe, detectorv2"
)
_NOTED = "By default what the file or the feat-pose.jsonl beside it says, or else feat."
_OF_TABLE = f"NAME | Convention of the table's pose. {_NOTED}"
_KNOWN = "NAME | Convention of a table's known pose."
_MODEL = "NAME | Pose model, a name that `feat-pose models` lists."
_WEIGHTS = "NAME.safetensors | Output: the weights; NAME.json is written beside them."

# What stands for a value in the help, and what the value is, with its unit; typer adds the default.
# "plot.output" is the output of plot.
_ARGUMENTS = {
    "clips": "CLIP | Tables with landmarks and a teacher's pose, .csv or .parquet.",
    "detect.inputs": "IN | Videos and pictures.",
    "first": "A | Table with pose columns, .csv or .parquet.",
    "graph": "OUT | Output: an .onnx file.",
    "inputs": "IN | Tables with landmarks, .csv or .parquet, or folders.",
    "name": "NAME | Pose model to fetch: pose_mlp, py-feat's.",
    "overlay.table": "TABLE | Table with pose columns and landmarks or face boxes, .csv or "
    ".parquet.",
    "plot.tables": "TABLE | Tables with pose columns, .csv or .parquet.",
    "reference": "REFERENCE | Faces with a known pose: an .npz file, or a .csv or .parquet table.",
    "second": "B | Table of the same frames. By default our pose from the landmarks of A.",
    "source": "VIDEO|IMAGE | What the table is about.",
    "table": "TABLE | Table with pose columns, .csv or .parquet.",
    "tables": "TABLE | Tables with pose columns, .csv or .parquet, or folders.",
    "turned": "FACES | Faces turned by known angles, an .npz file.",
}
_OPTIONS = {
    "batch_size": "N | Frames at a time.",
    "by": "COLUMN | Column that tells persons apart; may be repeated. By default input, Identity "
    "and face_id.",
    "calibrate.convention": _KNOWN,
    "compare.by": "COLUMN | Column of both tables that tells persons apart; may be repeated.",
    "compare.output": "OUT | Also write the statistics, a .csv or .parquet file.",
    "convention": f"NAME | Convention of the pose that is written: {ANGLES}.",
    "demo.output": "FOLDER | Folder of the two files.",
    "detect.landmark_model": "Model of the landmarks.",
    "detect.output": "OUT | Output: a .csv or .parquet file for all, or an existing folder for a "
    "table each.",
    "device": "Device of py-feat's models.",
    "distill.convention": _KNOWN,
    "distill.output": _WEIGHTS,
    "evaluate.convention": _KNOWN,
    "epochs": "N | Epochs. By default 30.",
    "face_model": "Model of the faces.",
    "faces": "N | Number of faces. By default as for the bundled weights.",
    "first_frame": "N | Number of the video's first frame in the table. By default 1 for "
    "OpenFace's tables, 0 for others.",
    "focal_length": "PIXELS | Focal length in pixels. By default height + width.",
    "force": "Replace outputs that exist.",
    "fps": "N | Frames per second of the video, for time in seconds.",
    "from_": "NAME | Convention of the table's pose. May be left out if a Parquet file says it.",
    "from_a": "NAME | Convention of A's pose. By default what the file says, openface by its "
    "columns, or else feat.",
    "from_b": "NAME | Convention of B's pose, likewise.",
    "groups": "NAME | Array or column that says which faces belong together.",
    "height": "PIXELS | Height of the video frame in pixels. By default the column FrameHeight.",
    "hidden": "N-N-... | Units of the hidden layers.",
    "identity_model": "Model of the persons. By default none.",
    "inter_ocular_mm": "MM | Distance of the outer eye corners in millimetres, for X, Y, Z in "
    "millimetres.",
    "jobs": "N | Tables at a time, a process each.",
    "json": "OUT | Also write the figures as JSON.",
    "landmark_kind": "Kind of landmarks that the network reads.",
    "landmark_model": f"NAME | What made the landmarks: {LANDMARK_MODELS}.",
    "landmarks": "NAME | Array of an .npz file that holds the landmarks.",
    "longest_gap": "S | Longest gap in seconds that is bridged.",
    "model": _MODEL,
    "motion.convention": "NAME | Convention of the table's pose. By default what a Parquet file "
    "says, or feat.",
    "motion.fps": "N | Frames per second of the video.",
    "normalized": "Landmarks are shares of the frame, from 0 to 1. Needs the frame size.",
    "offline": "Connect to nothing, as with HF_HUB_OFFLINE=1.",
    "orientation": "Where heads point: the density of rows over yaw and pitch.",
    "output": "OUT | Output: a .csv or .parquet file for one table, an existing folder for "
    "several.",
    "overlay.convention": _OF_TABLE,
    "overlay.output": "OUT | Output: a video, .mp4, or a picture, .png.",
    "picture": "OUT | Also write a picture, .png, .pdf or .svg.",
    "plot.convention": "NAME | Convention of the tables' pose; once for all, or once for each in "
    f"their order. {_NOTED}",
    "plot.output": "OUT | Output: a .png, .pdf or .svg file.",
    "pose_model": _MODEL,
    "principal_point": "X Y | Principal point in pixels. By default the middle of the frame.",
    "quality": "Also write how far each row can be trusted: PoseError, PoseResidual, PoseFlags.",
    "relative": "Pose measured from the median pose of each person.",
    "report.convention": _OF_TABLE,
    "report.output": "OUT | Output: an .html file.",
    "revision": "REV | Branch, tag or commit of the hub repository.",
    "rotation_frame": "What a rotation is measured from. camera needs the frame size.",
    "scheduler": "ADDRESS | Address of a Dask cluster whose workers do the work.",
    "seconds": "S | Window of smoothing in seconds; 0 for no smoothing.",
    "seed": "N | Seed of everything random.",
    "summary": "OUT | Also write a row for each person: mean pose, range, speed; .csv or .parquet.",
    "synth.face_model": "PATH | ICT-FaceKit: an .npz file, or a checkout of it.",
    "synth.output": _WEIGHTS,
    "to": f"NAME | Convention that is wanted: {CONVENTIONS}.",
    "translation": "Where X, Y, Z come from. By default the model, or geometry where it has none.",
    "use_flagged": "Use rows with PoseFlags, which are gaps otherwise.",
    "v1": "Train 256-128-64 with ReLU in place of v2's 512-256-128.",
    "video": "VIDEO | Video that the table is about, for pictures of the rows in doubt.",
    "width": "PIXELS | Width of the video frame in pixels. By default the column FrameWidth.",
}
_COUNTS = {"batch_size", "epochs", "faces", "height", "jobs", "width"}  # from 1
_NAMED = {"convention", "from_", "from_a", "from_b", "landmark_model", "model", "pose_model", "to"}

Function = TypeVar("Function", bound=Callable[..., None])


def command(group: typer.Typer, panel: str | None = None) -> Callable[[Function], Function]:
    """Make a function a command of a group, and give its parameters their words."""

    def join(function: Function) -> Function:
        hints = get_type_hints(function)
        del hints["return"]
        annotated: Any = Annotated
        for name, hint in hints.items():
            hints[name] = annotated[hint, _parameter(function.__name__, name)]
        function.__annotations__ = hints
        return group.command(rich_help_panel=panel)(function)

    return join


def _parameter(function: str, name: str) -> Any:
    """An argument or option, for typer."""
    own = f"{function}.{name}"
    is_argument = name in _ARGUMENTS or own in _ARGUMENTS
    texts = _ARGUMENTS if is_argument else _OPTIONS
    value, _, text = texts[own if own in texts else name].rpartition(" | ")
    if is_argument:
        return typer.Argument(metavar=value, help=text)

    def complete(incomplete: str) -> list[str]:
        return [known for known in _known_names(name) if known.startswith(incomplete)]

    return typer.Option(
        *(["-o"] if name == "output" else []),
        f"--{name.strip('_').replace('_', '-')}",
        metavar=value or None,
        help=text,
        min=1 if name in _COUNTS else None,
        autocompletion=complete if value and name in _NAMED else None,
    )


def _known_names(option: str) -> Iterable[str]:
    """What a shell completes; imported when it asks."""
    from feat_pose_plugin.pose.conventions import CONVENTIONS
    from feat_pose_plugin.pose.landmark_models import available_landmark_models
    from feat_pose_plugin.pose.registry import available_pose_backends

    if option == "landmark_model":
        return ["auto", *(model.name for model in available_landmark_models())]
    return available_pose_backends() if option.endswith("model") else CONVENTIONS
