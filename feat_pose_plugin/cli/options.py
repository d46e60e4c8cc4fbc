"""Arguments and options that several commands share, each written once.

A help text begins with what the value is, and has its unit; typer adds the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

PANELS = POSE, LOOK, MEASURE, TRAIN, MACHINE = "Pose", "Look", "Measure", "Train", "This machine"
"""The panels of the help, in order."""

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
ANGLES = "feat, degrees (feat in degrees), img2pose, 300w-lp, openface, feat-0.6, feat-0.7, feat-mp"
CONVENTIONS = f"{ANGLES}, rotvec, quaternion, matrix, mediapipe"
LANDMARK_MODELS = (
    "auto (by the table), 2d (the jaw is the contour in the picture), 3d (points of the head), "
    "mobilefacenet, mobilenet, pfld, dlib, openface, openseeface, mediapipe, detectorv2"
)


def _complete(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Names that begin as what was typed; imported when a shell asks."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def _conventions() -> Iterable[str]:
    from feat_pose_plugin.pose.conventions import CONVENTIONS

    return CONVENTIONS


def _pose_models() -> Iterable[str]:
    from feat_pose_plugin.pose.registry import available_pose_backends

    return available_pose_backends()


def _landmark_models() -> Iterable[str]:
    from feat_pose_plugin.pose.landmark_models import available_landmark_models

    return ["auto", *(model.name for model in available_landmark_models())]


def _go_offline(wanted: bool) -> None:
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported


complete_conventions = _complete(_conventions)

LandmarkTables = Annotated[
    list[Path],
    typer.Argument(metavar="IN", help="Tables with landmarks, .csv or .parquet, or folders."),
]
PoseTables = Annotated[
    list[Path],
    typer.Argument(metavar="TABLE", help="Tables with pose columns, .csv or .parquet, or folders."),
]
PoseTable = Annotated[
    Path, typer.Argument(metavar="TABLE", help="Table with pose columns, .csv or .parquet.")
]
Reference = Annotated[
    Path,
    typer.Argument(
        metavar="REFERENCE",
        help="Faces with a known pose: an .npz file, or a .csv or .parquet table.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Output: a .csv or .parquet file for one table, an existing folder for several.",
    ),
]
Picture = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT", help="Output: a .png, .pdf or .svg file.")
]
AlsoPicture = Annotated[
    Path | None, typer.Option(metavar="OUT", help="Also write a picture, .png, .pdf or .svg.")
]
AlsoTable = Annotated[
    Path | None, typer.Option(metavar="OUT", help="Also write a table, .csv or .parquet.")
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Pose model, a name that `feat-pose models` lists.",
        autocompletion=_complete(_pose_models),
    ),
]
LandmarkModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"What made the landmarks: {LANDMARK_MODELS}.",
        autocompletion=_complete(_landmark_models),
    ),
]
Landmarks = Annotated[
    str, typer.Option(metavar="NAME", help="Array of an .npz file that holds the landmarks.")
]
Convention = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"Convention of the pose that is written: {ANGLES}.",
        autocompletion=complete_conventions,
    ),
]
GivenConvention = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Convention of the table's pose. By default what the file or the feat-pose.jsonl "
        "beside it says, or else feat.",
        autocompletion=complete_conventions,
    ),
]
KnownConvention = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Convention of a table's known pose.",
        autocompletion=complete_conventions,
    ),
]
InterOcular = Annotated[
    float | None,
    typer.Option(
        metavar="MM",
        help="Distance of the outer eye corners in millimetres, for X, Y, Z in millimetres.",
    ),
]
Quality = Annotated[
    bool,
    typer.Option(
        "--quality",
        help="Also write how far each row can be trusted: PoseError, PoseResidual, PoseFlags.",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(metavar="N", help="Frames per second of the video, for time in seconds."),
]
FirstFrame = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of the video's first frame in the table. By default 1 for OpenFace's tables, "
        "0 for others.",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column that tells persons apart; may be repeated. By default input, Identity and "
        "face_id.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Connect to nothing, as with HF_HUB_OFFLINE=1.", callback=_go_offline
    ),
]
"""Of every command that makes a pose model by its name."""
