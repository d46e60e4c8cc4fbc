"""Head pose from 68 face landmarks, for py-feat and frameworks of its style.

The import itself loads neither feat, torch nor pandas; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feat_pose_plugin.backend import PoseBackend, Provenance
    from feat_pose_plugin.conventions import FEAT_FACEPOSE_COLUMNS_6D
    from feat_pose_plugin.convert import convert_pose
    from feat_pose_plugin.detectors import (
        Detectorv1,
        Detectorv2,
        MPDetector,
        install,
        uninstall,
    )
    from feat_pose_plugin.errors import FeatPoseError
    from feat_pose_plugin.estimate import estimate_pose
    from feat_pose_plugin.mlp.backend import pose_from_landmarks_mlp
    from feat_pose_plugin.old_scripts import Detector
    from feat_pose_plugin.registry import (
        available_pose_backends,
        get_pose_backend,
        register_pose_backend,
    )

__version__ = version("feat-pose-plugin")

_HOMES = {
    "Detector": "old_scripts",
    "Detectorv1": "detectors",
    "Detectorv2": "detectors",
    "FEAT_FACEPOSE_COLUMNS_6D": "conventions",
    "FeatPoseError": "errors",
    "MPDetector": "detectors",
    "PoseBackend": "backend",
    "Provenance": "backend",
    "available_pose_backends": "registry",
    "convert_pose": "convert",
    "estimate_pose": "estimate",
    "get_pose_backend": "registry",
    "install": "detectors",
    "pose_from_landmarks_mlp": "mlp.backend",
    "register_pose_backend": "registry",
    "uninstall": "detectors",
}

__all__ = [  # noqa: RUF022 - the version last
    "Detector",
    "Detectorv1",
    "Detectorv2",
    "FEAT_FACEPOSE_COLUMNS_6D",
    "FeatPoseError",
    "MPDetector",
    "PoseBackend",
    "Provenance",
    "available_pose_backends",
    "convert_pose",
    "estimate_pose",
    "get_pose_backend",
    "install",
    "pose_from_landmarks_mlp",
    "register_pose_backend",
    "uninstall",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
