"""Commands that train weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from feat_pose_plugin.cli.application import app, require_new
from feat_pose_plugin.cli.options import TRAIN, command

train = typer.Typer(no_args_is_help=True, help="Train weights of your own.")
app.add_typer(train, name="train", rich_help_panel=TRAIN)


@command(train)
def synth(
    face_model: Path,
    output: Path,
    landmark_kind: Literal["2d", "3d", "mesh"],
    hidden: str | None = None,
    faces: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Train on synthetic faces."""
    _require_weights(output)
    from dataclasses import replace

    from feat_pose_plugin.training.face_model import read_face_model
    from feat_pose_plugin.training.run import Training, train_synth

    require_new(force, output)
    settings = Training()
    if hidden is not None:
        settings = replace(settings, hidden=_layers(hidden))
    settings = replace(settings, faces=faces or settings.faces)
    model = read_face_model(face_model)
    error = train_synth(model, output, landmark_kind, settings=settings, seed=seed, progress=True)
    typer.echo(f"wrote {output}: {error:.2f} degrees on synthetic faces it was not trained on")


@command(train)
def distill(
    clips: list[Path],
    output: Path,
    convention: str = "feat",
    v1: bool = False,
    epochs: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Train to answer as a teacher does, by py-feat's own recipe."""
    _require_weights(output)
    from dataclasses import replace

    from feat_pose_plugin.training.distill import RECIPES, train_distill

    require_new(force, output)
    settings = RECIPES["v1" if v1 else "v2"]
    settings = replace(settings, epochs=epochs or settings.epochs)
    train_distill(clips, output, settings=settings, convention=convention, seed=seed, progress=True)
    typer.echo(f"wrote {output}")


def _require_weights(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise typer.BadParameter(f"{path} must end in .safetensors.")


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in text.split("-"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not like 256-128-64.") from error
