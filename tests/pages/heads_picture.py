"""The picture of docs/pictures.md: what a drawn head looks like at each turn.

Run it from the root of the repository: ``python tests/pages/heads_picture.py``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from documents import ROOT
from matplotlib.figure import Figure

from feat_pose_plugin.pose.tag import PoseTag, write_tag
from feat_pose_plugin.show.overlay import draw_poses

PICTURE = ROOT / "docs" / "heads.png"
TURNS = {
    "no turn": {},
    "pitch +25: up": {"Pitch": 25},
    "yaw +30: to the\nsubject's right": {"Yaw": 30},
    "roll +20: to the\nsubject's right": {"Roll": 20},
}
SIDE = 260


def draw() -> Figure:
    """A head looking at the camera, and one turned in each angle."""
    figure = Figure(figsize=(8.6, 2.75), layout="constrained")
    for axes, (title, turn) in zip(figure.subplots(1, len(TURNS)), TURNS.items(), strict=True):
        degrees = {"Pitch": 0, "Roll": 0, "Yaw": 0, **turn}
        pose = pd.DataFrame({name: [np.deg2rad(value)] for name, value in degrees.items()})
        write_tag(pose, PoseTag("feat", "camera"))
        ground = np.full((SIDE, SIDE, 3), 170, np.uint8)
        axes.imshow(draw_poses(ground, pose.assign(X=0.0, Y=0.0, Z=6.5)))
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=100)
