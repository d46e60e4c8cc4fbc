"""Commands about what is on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from feat_pose_plugin.cli.application import app, require_new, stay_offline
from feat_pose_plugin.cli.options import MACHINE, command


@command(app, MACHINE)
def models() -> None:
    """List the pose models and their weights, and the landmark models.

    Where the weights lie, their hash and licence, or why they are not available here; and what is
    known of the landmarks of each detector. Nothing is downloaded.
    """
    stay_offline()
    from feat_pose_plugin.pose.landmark_models import available_landmark_models
    from feat_pose_plugin.pose.registry import available_pose_backends

    rows = [row for name in available_pose_backends() for row in _weights_of(name)]
    _print_table("NAME,LANDMARKS,SHA256,LICENCE,WEIGHTS", rows)
    typer.echo("")
    rows = [
        (m.name, m.kind, f"{m.pitch_zero_deg:.1f} deg", f"{m.residual_limit:.3f}", m.measured)
        for m in available_landmark_models()
    ]
    _print_table("LANDMARK MODEL,KIND,PITCH ZERO,RESIDUAL LIMIT,MEASURED ON", rows)


def _weights_of(name: str) -> Iterator[tuple[str, ...]]:
    from feat_pose_plugin.frameworks.native_pose import NativePose
    from feat_pose_plugin.pose.registry import get_pose_backend

    try:
        backend = get_pose_backend(name)
    except Exception as error:  # one broken model must not hide the others
        reason = str(error).partition("\n")[0].partition(". ")[0]
        yield name, "-", "-", "-", f"not available, {type(error).__name__}: {reason}"
        return
    licence, weights = backend.provenance.licence, backend.provenance.weights
    for kind, file in weights.items():
        yield name, kind, file.sha256[:12], licence, str(file.path)
    if isinstance(backend, NativePose):
        yield name, "none", "-", licence, f"needs {backend.needs}"
    elif not weights:
        yield name, "any", "-", licence, "needs none"


def _print_table(heads: str, rows: list[tuple[str, ...]]) -> None:
    table = [tuple(heads.split(",")), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    for *cells, last in table:
        typer.echo("  ".join([*map(str.ljust, cells, widths), last]))


@command(app, MACHINE)
def export(
    graph: Path,
    model: str = "pose_mlp_synth",
    landmark_model: str = "2d",
    convention: str = "feat",
    force: bool = False,
) -> None:
    """Write a network as an ONNX graph.

    Its input is landmarks in pixels, its output angles.
    """
    from feat_pose_plugin.mlp.onnx_export import export_onnx

    require_new(force, graph)
    export_onnx(graph, pose_model=model, landmark_model=landmark_model, convention=convention)
    typer.echo(f"wrote {graph}")


@command(app, MACHINE)
def fetch(name: str, revision: str = "main", offline: bool = False) -> None:
    """Download the weights of a pose model and verify them.

    Offline, those that lie there are verified.
    """
    stay_offline(offline)
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
