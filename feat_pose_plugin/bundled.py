"""The weights that come with this package, and what they must be."""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "weights"

RELEASED = {
    "pose_mlp_synth_2d": {
        "safetensors": "0a1254399ef95f4eb1100f9c6303e02e913deb654ff6d57b498cdcb73eab395c",
        "json": "3919ac4773eed4b6075ae4b538b45af7e25f652d264003ece8ab47e026feff4c",
        "reference.json": "5afcc478fe599ee97b7461bcb7db470fb7e731182a861bd18bef1ef8cd9c009e",
    },
    "pose_mlp_synth_3d": {
        "safetensors": "286ded2193b22fb24ed5579b3b6bd36e54bd412f56c8bcb1597f558dcec48c85",
        "json": "5601243fb1dc82c684f71a3da7751c8f586674ccff9e06fb5504f2e35437f0ea",
        "reference.json": "16e18f62828e4f4e29eb4514d228d8225195f52316067f9583037c279f3936d9",
    },
}
"""SHA-256 of each file, by name and suffix. Who puts other weights there puts their hashes here."""


def bundled_path(name: str) -> Path:
    """The safetensors file of weights that come with this package."""
    return _FOLDER / f"{name}.safetensors"


def require_released(path: Path, data: bytes) -> None:
    """Refuse a file of the bundled weights that is not as released; other files may be anything.

    Args:
        path: Where it was read.
        data: Its bytes.

    Raises:
        ValueError: They are not those that were released.
    """
    if path.parent != _FOLDER:
        return
    name, _, suffix = path.name.partition(".")
    found, released = hashlib.sha256(data).hexdigest(), RELEASED[name][suffix]
    if found != released:
        raise ValueError(
            f"its SHA-256 is {found[:12]}..., that of the released file {released[:12]}.... It was "
            "changed since; install the package again"
        )
