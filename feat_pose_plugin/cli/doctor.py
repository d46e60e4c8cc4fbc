"""What is here, what is missing, and whether it can estimate: text to paste into an issue.

Versions come from the metadata of what is installed: importing py-feat takes seconds, and what
cannot be imported has a version all the same.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import BackendError, WeightsError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from feat_pose_plugin.pose.landmark_models import LandmarkKind

EXTRAS = ("dask", "onnx", "video")

_DISTRIBUTION = "feat-pose-plugin"
_TURN = 20.0  # degrees
_TOLERANCE = 5.0  # degrees, three times the error on a face like this one


def examine() -> tuple[str, bool]:
    """Look at this installation. Nothing is downloaded.

    Returns:
        A line or more for each thing looked at, what is broken among them; and whether
        ``pose_mlp_synth`` estimates here, by the weights that its model cards describe.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
    needed: dict[str, Callable[[], str]] = {
        "weights 2d": partial(_bundled_weights, "2d"),
        "weights 3d": partial(_bundled_weights, "3d"),
        "weights mesh": partial(_bundled_weights, "mesh"),
        "estimates": _estimate_known_face,
    }
    looks: dict[str, Callable[[], str]] = {
        _DISTRIBUTION: lambda: __version__,
        "Python": platform.python_version,
        "platform": platform.platform,
        "OMP_NUM_THREADS": _threads,
        "packages": _packages,
        **{f"extra {extra}": partial(_extra, extra) for extra in EXTRAS},
        "pose models": _pose_models,
        "official weights": _official_weights,
        **needed,
    }
    width = max(map(len, looks))
    lines, able = [], True
    for name, look in looks.items():
        try:
            found = look()
        except Exception as error:  # one broken piece must not hide the others
            found = f"no, {type(error).__name__}: {error}"
            able &= name not in needed
        lines.append(f"{name:{width}}  " + found.rstrip().replace("\n", "\n" + " " * (width + 2)))
    return "\n".join(lines), able


def _threads() -> str:
    return f"{os.environ.get('OMP_NUM_THREADS', 'not set')}; {os.cpu_count()} processors"


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]


def _packages() -> str:
    return "\n".join(
        _state(needed, f"{needed.name}{needed.specifier}")
        for needed in _requirements()
        if needed.marker is None
    )


def _extra(extra: str) -> str:
    return "\n".join(
        _state(needed, f"{_DISTRIBUTION}[{extra}]")
        for needed in _requirements()
        if needed.marker is not None and needed.marker.evaluate({"extra": extra})
    )


def _state(needed: Requirement, bringer: str) -> str:
    """A package's version if it serves, otherwise what would bring it."""
    cure = f'pip install "{bringer}"'
    try:
        version = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return f"{needed.name} is missing: {cure}"
    if not needed.specifier.contains(version, prereleases=True):
        return f"{needed.name} {version} is not supported, {needed.specifier} is: {cure}"
    return f"{needed.name} {version}"


def _pose_models() -> str:
    from feat_pose_plugin.pose.registry import available_pose_backends

    return ", ".join(available_pose_backends())


def _official_weights() -> str:
    from feat_pose_plugin.mlp.pose_mlp import official_backend

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = official_backend().provenance.weights["2d"]
    found = f"{file.path}, SHA-256 {file.sha256[:12]}"
    return "\n".join([found, *(str(warning.message) for warning in caught)])


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
