"""Commands that measure how well poses agree."""

from __future__ import annotations

from pathlib import Path

import typer

from feat_pose_plugin.cli.application import app, require_new, stay_offline
from feat_pose_plugin.cli.options import MEASURE, command


@command(app, MEASURE)
def compare(
    first: Path,
    second: Path | None = None,
    output: Path | None = None,
    picture: Path | None = None,
    from_a: str | None = None,
    from_b: str | None = None,
    by: list[str] | None = None,
    force: bool = False,
) -> None:
    """Compare two pose tables of the same frames."""
    import pandas as pd

    from feat_pose_plugin.evaluation.compare import compare_pose
    from feat_pose_plugin.evaluation.picture import plot_comparison
    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.show.plots import save_figure
    from feat_pose_plugin.tables.stream import read_table, write_table

    require_new(force, output, picture, source=first)
    one = read_table(first)
    if second is None:
        other, name = estimate_pose(one), "pose_mlp_synth"
        for key in ("frame", "timestamp", *(by or [])):
            found = [label for label in one.columns if str(label).strip() == key]
            other[[key] * len(found)] = one[found]
    else:
        other, name = read_table(second), second.name
    comparison = compare_pose(one, other, convention_a=from_a, convention_b=from_b, by=by or ())
    with pd.option_context("display.width", 200, "display.max_columns", None):
        typer.echo(comparison.statistics.round(2).to_string(index=False, na_rep=""))
    for path, table in ((first, one), (name, other)):
        left_out = len(table) - len(comparison.frames)
        if left_out > 0:
            typer.echo(f"{path}: {left_out} of {len(table)} rows have no pose in both tables.")
    if output:
        write_table(comparison.statistics, output)
    if picture:
        save_figure(plot_comparison(comparison, first.name, name), picture)


@command(app, MEASURE)
def evaluate(
    reference: Path,
    model: str = "pose_mlp_synth",
    landmarks: str = "landmarks",
    landmark_model: str = "auto",
    convention: str = "300w-lp",
    json: Path | None = None,
    picture: Path | None = None,
    force: bool = False,
    offline: bool = False,
) -> None:
    """Measure a pose model against faces whose pose is known."""
    stay_offline(offline)
    from feat_pose_plugin import evaluation
    from feat_pose_plugin.files import write_whole
    from feat_pose_plugin.show.plots import save_figure

    require_new(force, json, picture, source=reference)
    known = evaluation.read_reference(reference, landmarks=landmarks, convention=convention)
    measured = evaluation.evaluate(model, known, landmark_model=landmark_model)
    typer.echo(measured.to_string())
    if json is not None:
        with write_whole(json) as part:
            part.write_text(measured.to_json() + "\n", encoding="utf-8")
    if picture is not None:
        save_figure(evaluation.plot_evaluation(measured), picture)


@command(app, MEASURE)
def calibrate(
    reference: Path,
    model: str = "pose_mlp_synth",
    landmarks: str = "landmarks",
    landmark_model: str = "auto",
    convention: str = "300w-lp",
    groups: str | None = None,
    offline: bool = False,
) -> None:
    """Measure the turn between two zeros of the head.

    It is the constant turn from a model's zero to a reference's.
    """
    stay_offline(offline)
    from feat_pose_plugin import evaluation

    known = evaluation.read_reference(
        reference, landmarks=landmarks, convention=convention, groups=groups
    )
    typer.echo(evaluation.calibrate(model, known, landmark_model=landmark_model).to_string())


@command(app, MEASURE)
def turns(
    turned: Path,
    landmarks: str,
    model: str = "pose_mlp_synth",
    landmark_model: str = "auto",
    offline: bool = False,
) -> None:
    """Measure how much of a known turn is read."""
    stay_offline(offline)
    from feat_pose_plugin import evaluation

    known = evaluation.read_turns(turned, {landmarks: landmark_model})
    typer.echo(evaluation.turn_gains(model, known).round(3).to_string())
    typer.echo("\nMean geodesic error of the turn over the yaw sweep to 50 degrees:")
    typer.echo(evaluation.turn_errors(model, known).round(2).to_string())
