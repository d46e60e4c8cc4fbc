"""Commands about what is on this machine.

Versions come from the metadata of what is installed: importing py-feat takes seconds, and what
cannot be imported has a version all the same.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from feat_pose_plugin import __version__
from feat_pose_plugin.cli.application import app, require_new, stay_offline
from feat_pose_plugin.cli.options import MACHINE, command
from feat_pose_plugin.errors import BackendError, OptionError, WeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    from feat_pose_plugin.pose.landmark_models import LandmarkKind

EXTRAS = ("dask", "onnx", "video")

_DISTRIBUTION = "feat-pose-plugin"
_TURN = 20.0  # degrees
_TOLERANCE = 5.0  # degrees, three times the error on a face like this one


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
    from feat_pose_plugin.mlp.weights import (
        DEFAULT_REVISION,
        OFFICIAL_NAME,
        PATH_VARIABLE,
        fetch_official,
    )

    if name not in ("pose_mlp", OFFICIAL_NAME):
        raise OptionError(
            f"{name!r} has nothing to fetch. pose_mlp has; pose_mlp_synth comes with this package, "
            "and other models bring their own."
        )
    fetched = fetch_official(revision)
    typer.echo(f"{fetched.path}\nSHA-256 {fetched.sha256}\nrevision {fetched.path.parent.name}")
    if revision != DEFAULT_REVISION:
        typer.echo(f"To use this revision, set {PATH_VARIABLE}={fetched.path}")


@command(app, MACHINE)
def doctor() -> None:
    """Say what is here and what is missing, for an issue.

    Versions, extras, weights with their hash, and whether poses can be estimated. Nothing is
    downloaded. Exit status 0 if they can, 1 otherwise.
    """
    stay_offline()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    looks: dict[str, Callable[[], str]] = {
        _DISTRIBUTION: lambda: __version__,
        "Python": platform.python_version,
        "platform": platform.platform,
        "OMP_NUM_THREADS": lambda: f"{threads}; {os.cpu_count()} processors",
        "packages": _packages,
        **{f"extra {extra}": partial(_packages, extra) for extra in EXTRAS},
        "official weights": _official_weights,
    }
    needed: dict[str, Callable[[], str]] = {
        "weights 2d": partial(_bundled_weights, "2d"),
        "weights 3d": partial(_bundled_weights, "3d"),
        "weights mesh": partial(_bundled_weights, "mesh"),
        "estimates": _estimate_known_face,
    }
    status = 0
    for name, look in (looks | needed).items():
        try:
            found = look()
        except Exception as error:  # one broken piece must not hide the others
            found = f"no, {type(error).__name__}: {error}"
            status |= name in needed
        typer.echo(f"{name:16}  " + found.rstrip().replace("\n", "\n" + " " * 18))
    raise typer.Exit(status)


def _packages(extra: str = "") -> str:
    """What the package, or an extra, requires: its version if it serves, or what would bring it."""
    from packaging.requirements import Requirement

    said = []
    for needed in map(Requirement, metadata.requires(_DISTRIBUTION) or ()):
        is_needed = needed.marker.evaluate({"extra": extra}) if needed.marker else not extra
        if not is_needed:
            continue
        bringer = f"{_DISTRIBUTION}[{extra}]" if extra else f"{needed.name}{needed.specifier}"
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            said.append(f'{needed.name} is missing: pip install "{bringer}"')
            continue
        state = f"{needed.name} {version}"
        if not needed.specifier.contains(version, prereleases=True):
            state += f' is not supported, {needed.specifier} is: pip install "{bringer}"'
        said.append(state)
    return "\n".join(said)


def _official_weights() -> str:
    from feat_pose_plugin.mlp.pose_mlp import official_backend

    try:
        file = official_backend().provenance.weights["2d"]
    except WeightsNotFoundError:
        return "not here. Only pose_mlp needs them: feat-pose fetch pose_mlp"
    return f"{file.path}, SHA-256 {file.sha256[:12]}"


def _bundled_weights(kind: LandmarkKind) -> str:
    from feat_pose_plugin.mlp.pose_mlp import synthetic_backend
    from feat_pose_plugin.mlp.weights import load_checkpoint

    file = synthetic_backend().provenance.weights[kind]
    if load_checkpoint(file.path).card.get("weights_sha256") != file.sha256:
        raise WeightsError(
            f"{file.path} (SHA-256 {file.sha256[:12]}) is not the file that its model card "
            f"describes. Install {_DISTRIBUTION} again."
        )
    return f"{file.path.name}, SHA-256 {file.sha256[:12]}, as its model card says"


def _estimate_known_face() -> str:
    import torch

    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.testing import project_face

    turn = torch.tensor([[0.0, _TURN, 0.0]]).deg2rad()
    pose = estimate_pose(project_face(turn), landmark_model="3d", convention="300w-lp")
    yaw = pose["Yaw"].item()
    if not abs(yaw - _TURN) < _TOLERANCE:  # NaN is not near either
        raise BackendError(f"a turn of {_TURN:.0f} degrees is read as {yaw:.1f}.")
    return f"yes, a turn of {_TURN:.0f} degrees as {yaw:.1f}"
