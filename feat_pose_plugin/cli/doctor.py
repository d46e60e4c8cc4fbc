"""What is here, what is missing, and whether it can estimate: text to paste into an issue.

Versions come from the metadata of what is installed: importing py-feat takes seconds, and what
cannot be imported has a version all the same.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from feat_pose_plugin import __version__
from feat_pose_plugin.cli.application import app, stay_offline
from feat_pose_plugin.cli.options import MACHINE, command
from feat_pose_plugin.errors import BackendError, WeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    from feat_pose_plugin.pose.landmark_models import LandmarkKind

EXTRAS = ("dask", "onnx", "video")

_DISTRIBUTION = "feat-pose-plugin"
_TURN = 20.0  # degrees
_TOLERANCE = 5.0  # degrees, three times the error on a face like this one


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
