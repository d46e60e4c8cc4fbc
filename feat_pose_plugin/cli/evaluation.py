"""Commands that measure accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import Offline, app

_Reference = Annotated[
    Path,
    typer.Argument(help="Faces with a known pose: an NPZ file, or a table with pose columns."),
]
_Model = Annotated[str, typer.Option(help="A name that `feat-pose models` lists.")]
_Landmarks = Annotated[str, typer.Option(help="Which array of an NPZ file holds the landmarks.")]
_LandmarkType = Annotated[str, typer.Option(help="2d, 3d or auto.")]
_Convention = Annotated[str, typer.Option(help="What a table's pose columns mean.")]


@app.command()
def evaluate(
    reference: _Reference,
    model: _Model = "pose_mlp_synth",
    landmarks: _Landmarks = "landmarks",
    landmark_model: _LandmarkType = "auto",
    convention: _Convention = "300w-lp",
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture, .png or .pdf.")] = None,
    offline: Offline = False,
) -> None:
    """Measure a pose model against faces whose pose is known."""
    del offline
    from feat_pose_plugin import evaluation
    from feat_pose_plugin.files import write_whole

    known = evaluation.read_reference(reference, landmarks=landmarks, convention=convention)
    measured = evaluation.evaluate(model, known, landmark_model=landmark_model)
    typer.echo(measured.to_string())
    if json is not None:
        with write_whole(json) as part:
            part.write_text(measured.to_json() + "\n", encoding="utf-8")
    if picture is not None:
        with write_whole(picture) as part:
            evaluation.plot_evaluation(measured).savefig(part)


@app.command()
def calibrate(
    reference: _Reference,
    model: _Model = "pose_mlp_synth",
    landmarks: _Landmarks = "landmarks",
    landmark_model: _LandmarkType = "auto",
    convention: _Convention = "300w-lp",
    groups: Annotated[
        str | None, typer.Option(help="Array or column that says which faces belong together.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Measure the constant turn from a model's zero of the head to a reference's."""
    del offline
    from feat_pose_plugin import evaluation

    known = evaluation.read_reference(
        reference, landmarks=landmarks, convention=convention, groups=groups
    )
    typer.echo(evaluation.calibrate(model, known, landmark_model=landmark_model).to_string())


@app.command()
def turns(
    pictures: Annotated[Path, typer.Argument(help="An NPZ file of faces turned by known angles.")],
    landmarks: _Landmarks,
    model: _Model = "pose_mlp_synth",
    landmark_model: _LandmarkType = "auto",
    offline: Offline = False,
) -> None:
    """Measure how much of a known turn is read."""
    del offline
    from feat_pose_plugin import evaluation

    turned = evaluation.read_turns(pictures, {landmarks: landmark_model})
    typer.echo(evaluation.turn_gains(model, turned).round(3).to_string())
    typer.echo("\nMean geodesic error of the turn over the yaw sweep to 50 degrees:")
    typer.echo(evaluation.turn_errors(model, turned).round(2).to_string())
