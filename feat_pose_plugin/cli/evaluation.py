"""Commands that measure accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import (
    MEASURE,
    AlsoPicture,
    Force,
    KnownConvention,
    LandmarkModel,
    Landmarks,
    Model,
    Offline,
    Reference,
)


@app.command(rich_help_panel=MEASURE)
def evaluate(
    reference: Reference,
    model: Model = "pose_mlp_synth",
    landmarks: Landmarks = "landmarks",
    landmark_model: LandmarkModel = "auto",
    convention: KnownConvention = "300w-lp",
    json: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Also write the figures as JSON.")
    ] = None,
    picture: AlsoPicture = None,
    force: Force = False,
    offline: Offline = False,
) -> None:
    """Measure a pose model against faces whose pose is known."""
    del offline
    from feat_pose_plugin import evaluation
    from feat_pose_plugin.files import write_whole
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(reference, path) for path in (json, picture) if path])
    known = evaluation.read_reference(reference, landmarks=landmarks, convention=convention)
    measured = evaluation.evaluate(model, known, landmark_model=landmark_model)
    typer.echo(measured.to_string())
    if json is not None:
        with write_whole(json) as part:
            part.write_text(measured.to_json() + "\n", encoding="utf-8")
    if picture is not None:
        with write_whole(picture) as part:
            evaluation.plot_evaluation(measured).savefig(part)


@app.command(rich_help_panel=MEASURE)
def calibrate(
    reference: Reference,
    model: Model = "pose_mlp_synth",
    landmarks: Landmarks = "landmarks",
    landmark_model: LandmarkModel = "auto",
    convention: KnownConvention = "300w-lp",
    groups: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Array or column that says which faces belong together."),
    ] = None,
    offline: Offline = False,
) -> None:
    """Measure the turn between two zeros of the head.

    It is the constant turn from a model's zero to a reference's.
    """
    del offline
    from feat_pose_plugin import evaluation

    known = evaluation.read_reference(
        reference, landmarks=landmarks, convention=convention, groups=groups
    )
    typer.echo(evaluation.calibrate(model, known, landmark_model=landmark_model).to_string())


@app.command(rich_help_panel=MEASURE)
def turns(
    pictures: Annotated[
        Path, typer.Argument(metavar="FACES", help="Faces turned by known angles, an .npz file.")
    ],
    landmarks: Landmarks,
    model: Model = "pose_mlp_synth",
    landmark_model: LandmarkModel = "auto",
    offline: Offline = False,
) -> None:
    """Measure how much of a known turn is read."""
    del offline
    from feat_pose_plugin import evaluation

    turned = evaluation.read_turns(pictures, {landmarks: landmark_model})
    typer.echo(evaluation.turn_gains(model, turned).round(3).to_string())
    typer.echo("\nMean geodesic error of the turn over the yaw sweep to 50 degrees:")
    typer.echo(evaluation.turn_errors(model, turned).round(2).to_string())
