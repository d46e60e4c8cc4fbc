"""Commands about what is on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import MACHINE, Convention, Force, LandmarkModel, Model, Offline


@app.command(rich_help_panel=MACHINE)
def models() -> None:
    """List the pose models and their weights, and the landmark models.

    Where the weights lie, their hash and licence, or why they are not available here; and what is
    known of the landmarks of each detector. Nothing is downloaded.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
    from feat_pose_plugin.frameworks.native_pose import NativePose
    from feat_pose_plugin.pose.landmark_models import available_landmark_models
    from feat_pose_plugin.pose.registry import available_pose_backends, get_pose_backend

    rows = [("NAME", "LANDMARKS", "SHA256", "LICENCE", "WEIGHTS")]
    for name in available_pose_backends():
        try:
            backend = get_pose_backend(name)
        except Exception as error:  # one broken model must not hide the others
            reason = str(error).partition("\n")[0].partition(". ")[0]
            why = f"not available, {type(error).__name__}: {reason}"
            rows.append((name, "-", "-", "-", why))
            continue
        provenance = backend.provenance
        for kind, file in provenance.weights.items():
            rows.append((name, kind, file.sha256[:12], provenance.licence, str(file.path)))
        if isinstance(backend, NativePose):
            rows.append((name, "none", "-", provenance.licence, f"needs {backend.needs}"))
        elif not provenance.weights:
            rows.append((name, "any", "-", provenance.licence, "needs none"))
    _print_table(rows)
    typer.echo("")
    profiles = [("LANDMARK MODEL", "KIND", "PITCH ZERO", "RESIDUAL LIMIT", "MEASURED ON")]
    for model in available_landmark_models():
        numbers = f"{model.pitch_zero_deg:.1f} deg", f"{model.residual_limit:.3f}"
        profiles.append((model.name, model.kind, *numbers, model.measured))
    _print_table(profiles)


def _print_table(rows: list[tuple[str, str, str, str, str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        typer.echo("  ".join(map(str.ljust, cells, widths)) + "  " + last)


@app.command(rich_help_panel=MACHINE)
def export(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Output: an .onnx file.")],
    model: Model = "pose_mlp_synth",
    landmark_model: LandmarkModel = "2d",
    convention: Convention = "feat",
    force: Force = False,
) -> None:
    """Write a network as an ONNX graph.

    Its input is landmarks in pixels, its output angles.
    """
    from feat_pose_plugin.mlp.onnx_export import export_onnx
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(None, output)])
    export_onnx(output, pose_model=model, landmark_model=landmark_model, convention=convention)
    typer.echo(f"wrote {output}")


@app.command(rich_help_panel=MACHINE)
def doctor() -> None:
    """Say what is here and what is missing, for an issue.

    Versions, extras, weights with their hash, and whether poses can be estimated. Nothing is
    downloaded. Exit status 0 if they can, 1 otherwise.
    """
    from feat_pose_plugin.cli.doctor import examine

    text, able = examine()
    typer.echo(text)
    raise typer.Exit(0 if able else 1)


@app.command(rich_help_panel=MACHINE)
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Pose model to fetch: pose_mlp, py-feat's.")
    ],
    revision: Annotated[
        str, typer.Option(metavar="REV", help="Branch, tag or commit of the hub repository.")
    ] = "main",
    offline: Offline = False,
) -> None:
    """Download the weights of a pose model and verify them.

    Offline, those that lie there are verified.
    """
    del offline
    from feat_pose_plugin.errors import OptionError
    from feat_pose_plugin.mlp.fetch import DEFAULT_REVISION, OFFICIAL_NAME, fetch_official
    from feat_pose_plugin.mlp.weights import PATH_VARIABLE

    if name not in ("pose_mlp", OFFICIAL_NAME):
        raise OptionError(
            f"{name!r} has nothing to fetch. pose_mlp has; pose_mlp_synth comes with this package, "
            "and other models bring their own."
        )
    fetched = fetch_official(revision)
    typer.echo(f"{fetched.path}\nSHA-256 {fetched.sha256}\nrevision {fetched.commit}")
    if revision != DEFAULT_REVISION:
        typer.echo(f"To use this revision, set {PATH_VARIABLE}={fetched.path}")
