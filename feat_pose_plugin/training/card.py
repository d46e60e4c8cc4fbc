"""What the model card of every training run begins with."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from feat_pose_plugin import __version__

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def start_card(output: Path, settings: DataclassInstance, seed: int) -> dict[str, object]:
    """Name, settings, seed and versions; the caller adds its data and figures."""
    return {
        "name": output.stem,
        "training": asdict(settings),
        "seed": seed,
        "versions": {
            "feat-pose-plugin": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
