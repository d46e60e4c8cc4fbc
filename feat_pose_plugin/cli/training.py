"""Commands that train weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import TRAIN, Force, KnownConvention, Seed

train = typer.Typer(no_args_is_help=True, help="Train weights of your own.")
app.add_typer(train, name="train", rich_help_panel=TRAIN)

_Weights = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="NAME.safetensors",
        help="Output: the weights; NAME.json is written beside them.",
        callback=lambda path: _checkpoint(path),
    ),
]
_Hidden = Annotated[str | None, typer.Option(metavar="N-N-...", help="Units of the hidden layers.")]


@train.command()
def synth(
    face_model: Annotated[
        Path, typer.Option(metavar="PATH", help="ICT-FaceKit: an .npz file, or a checkout of it.")
    ],
    output: _Weights,
    landmark_kind: Annotated[
        Literal["2d", "3d", "mesh"], typer.Option(help="Kind of landmarks that the network reads.")
    ],
    hidden: _Hidden = None,
    faces: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of faces. By default as for the bundled weights."
        ),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Train on synthetic faces."""
    from dataclasses import replace

    from feat_pose_plugin.tables.run import refuse_existing
    from feat_pose_plugin.training.face_model import read_face_model
    from feat_pose_plugin.training.run import Training, train_synth

    if not force:
        refuse_existing([(None, output)])
    settings = Training()
    if hidden is not None:
        settings = replace(settings, hidden=_layers(hidden))
    if faces is not None:
        settings = replace(settings, faces=faces)
    error = train_synth(
        read_face_model(face_model),
        output,
        landmark_kind,
        settings=settings,
        seed=seed,
        progress=True,
    )
    typer.echo(f"wrote {output}: {error:.2f} degrees on synthetic faces it was not trained on")


@train.command()
def distill(
    clips: Annotated[
        list[Path],
        typer.Argument(
            metavar="CLIP", help="Tables with landmarks and a teacher's pose, .csv or .parquet."
        ),
    ],
    output: _Weights,
    convention: KnownConvention = "feat",
    v1: Annotated[
        bool, typer.Option("--v1", help="Train 256-128-64 with ReLU in place of v2's 512-256-128.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Epochs. By default 30.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Train to answer as a teacher does, by py-feat's own recipe."""
    from dataclasses import replace

    from feat_pose_plugin.tables.run import refuse_existing
    from feat_pose_plugin.training.distill import RECIPES, train_distill

    if not force:
        refuse_existing([(None, output)])
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
