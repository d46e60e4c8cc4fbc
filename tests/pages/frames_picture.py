"""The picture of docs/translation-and-trust.md: three heads and a camera, from above.

::

    python tests/pages/frames_picture.py
"""

from __future__ import annotations

import math

import torch
from documents import ROOT
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from matplotlib.transforms import Affine2D

from feat_pose_plugin.pose.camera import find_camera, line_of_sight
from feat_pose_plugin.pose.conventions import from_rotvec_pose
from feat_pose_plugin.pose.rotations import matrix_to_rotvec

PICTURE = ROOT / "docs" / "rotation-frames.png"

SIZE = (1080, 1920)
HEADS_AT = (60.0, 960.0, 1860.0)  # pixels from the left, at half of the height
AWAY = 8.0
FACES_CAMERA = HEADS_AT[0]  # the others look along the optical axis
INK, RAY = "0.15", "tab:blue"


def main() -> None:
    """Draw the picture and write it."""
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set(aspect="equal", xlim=(-4.6, 4.6), ylim=(-1.2, 10.4))
    axes.set_axis_off()
    camera = find_camera(SIZE)
    focal, middle = camera[0].item(), camera[1].item()
    for edge in (0, SIZE[1]):
        reach = AWAY + 0.8
        axes.plot([0, reach * (edge - middle) / focal], [0, reach], ":", color="0.6")
    axes.add_patch(Rectangle((-0.3, -0.4), 0.6, 0.4, color=INK))
    axes.text(0.45, -0.35, "camera")
    axes.text(0.1, 3.0, "optical axis", rotation=90, va="center", color=RAY)
    for pixel in HEADS_AT:
        ray = line_of_sight(torch.tensor([[pixel, SIZE[0] / 2]]), camera)
        x = AWAY * (pixel - middle) / focal
        axes.plot([0, x], [0, AWAY], color=RAY, linewidth=1, zorder=1)
        # The head's rotation in the axes of the camera.
        rotation = ray if pixel == FACES_CAMERA else torch.eye(3)[None]
        _draw_head(axes, x, _yaw_deg(rotation))
        frames = {"camera": rotation, "line of sight": ray.mT @ rotation}
        text = "\n".join(f"{name} {_yaw_deg(turn)}°" for name, turn in frames.items())
        axes.text(x, AWAY + 1.0, text, ha="center", va="bottom", fontsize="small")
    axes.text(
        0, -1.1, "Yaw of three heads, seen from above; + is to the subject's right", ha="center"
    )
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


def _draw_head(axes: Axes, x: float, yaw_deg: int) -> None:
    """A head with its nose; at yaw 0 it looks down the page."""
    turn = Affine2D().rotate(-math.radians(yaw_deg)).translate(x, AWAY) + axes.transData
    nose = Polygon([(-0.12, -0.38), (0.12, -0.38), (0, -0.62)], closed=True)
    ears = (Circle((x, 0), 0.1) for x in (-0.42, 0.42))
    for part in (nose, *ears, Circle((0, 0), 0.42)):
        part.set(facecolor="0.93", edgecolor=INK, transform=turn, zorder=2)
        axes.add_patch(part)
    arrow = {"arrowstyle": "->", "color": INK}
    axes.annotate("", (0, -1.05), (0, -0.62), xycoords=turn, textcoords=turn, arrowprops=arrow)


def _yaw_deg(rotation: torch.Tensor) -> int:
    pose = torch.nn.functional.pad(matrix_to_rotvec(rotation), (0, 3))
    return round(math.degrees(from_rotvec_pose(pose, "feat")[0, 2].item()))


if __name__ == "__main__":
    main()
