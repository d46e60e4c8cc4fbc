"""Commands that train weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from feat_pose_plugin.cli.application import app

if TYPE_CHECKING:
    from feat_pose_plugin.pose.landmark_models import LandmarkKind

train = typer.Typer(no_args_is_help=True, help="Train weights of your own.")
app.add_typer(train, name="train")

_Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
_Weights = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="NAME.safetensors",
        help="NAME.json is written beside it.",
        callback=lambda path: _checkpoint(path),
    ),
]
_Hidden = Annotated[
    str | None,
    typer.Option(metavar="N-N-...", help="Units of the hidden layers.", show_default=False),
]


@train.command()
def synth(
    face_model: Annotated[
        Path,
        typer.Option(metavar="PATH", help="ICT-FaceKit: an NPZ file, or a checkout of it."),
    ],
    output: _Weights,
    landmark_kind: Annotated[str, typer.Option(help="2d or 3d.")],
    hidden: _Hidden = None,
    faces: Annotated[
        int | None, typer.Option(min=1, help="How many faces to train on.", show_default=False)
    ] = None,
    seed: _Seed = 0,
) -> None:
    """Train on synthetic faces.

    Interrupted, it goes on from the last evaluation when it is started again.
    """
    from dataclasses import replace

    from feat_pose_plugin.training.face_model import read_face_model
    from feat_pose_plugin.training.run import settings_for, train_synth

    settings = settings_for(landmark_kind)
    if hidden is not None:
        settings = replace(settings, hidden=_layers(hidden))
    if faces is not None:
        settings = replace(settings, faces=faces)
    error = train_synth(
        read_face_model(face_model),
        output,
        cast("LandmarkKind", landmark_kind),  # checked by what reads it
        settings=settings,
        seed=seed,
        progress=True,
    )
    typer.echo(f"wrote {output}: {error:.2f} degrees on synthetic faces it was not trained on")


@train.command()
def distill(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP...", help="Tables with landmarks and the teacher's pose."),
    ],
    output: _Weights,
    convention: Annotated[str, typer.Option(help="What the pose columns mean.")] = "feat",
    v1: Annotated[
        bool, typer.Option("--v1", help="256-128-64 with ReLU in place of v2's 512-256-128.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="30 by default.", show_default=False)
    ] = None,
    seed: _Seed = 0,
) -> None:
    """Train to answer as a teacher does, by py-feat's own recipe."""
    from dataclasses import replace

    from feat_pose_plugin.training.distill import RECIPES, train_distill

    settings = RECIPES["v1" if v1 else "v2"]
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    train_distill(clips, output, settings=settings, convention=convention, seed=seed, progress=True)
    typer.echo(f"wrote {output}")


def _checkpoint(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise typer.BadParameter(f"{path} must end in .safetensors.")
    return path


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in text.split("-"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not like 256-128-64.") from error
