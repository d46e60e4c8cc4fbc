"""The parts of docs/conventions.md that the code decides: `python tests/pages/conventions_page.py`.

Signs, ranges and drawings come out of the functions that convert, so that the page cannot say
something else than they do.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from documents import ROOT, Part, table
from matplotlib.figure import Figure

from feat_pose_plugin import convert_pose
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.pose.conventions import CONVENTIONS, Convention
from feat_pose_plugin.pose.rotations import rotvec_to_matrix
from feat_pose_plugin.testing import FACE_68

PART = Part("conventions.md", __file__)

AXES = {
    (1, 1, 1): "x right, y down, z away from the camera",
    (1, -1, -1): "x right, y up, z towards the camera",
}
UNITS = {"img2pose": "img2pose's reference face", "mm": "mm", "cm": "cm", "px": "pixels"}
DRAWN = ("Pitch", "Yaw", "Roll")  # of convention feat
DRAWN_DEG = 25.0

FACE_LINES = [
    *(range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36)),
    *([*range(36, 42), 36], [*range(42, 48), 42], [*range(48, 60), 48], [*range(60, 68), 60]),
]
_ARC = torch.linspace(0, torch.pi, 40)
SKULL = torch.stack([-7.4 * _ARC.cos(), -3.7 - 9 * _ARC.sin(), torch.full_like(_ARC, -3.7)], dim=1)


def turn_of(column: str, degrees: float) -> torch.Tensor:
    """``[3]`` the rotation vector of a turn that feat has in one column."""
    columns = CONVENTIONS["feat"].rotation_columns
    values = torch.zeros(3, dtype=torch.float64)
    values[columns.index(column)] = degrees
    return convert_pose(values, "feat-degrees", "rotvec")


def pointer_of(column: str) -> torch.Tensor:
    """A point that shows the turn: before the nose, or for a roll above the head."""
    return torch.tensor([0.0, -14, -3.7] if column == "Roll" else [0.0, -0.4, -17])


def where_to(column: str) -> str:
    """In words, where a turn that feat counts as positive leads, as the pointer moves."""
    end = rotvec_to_matrix(turn_of(column, DRAWN_DEG).float()) @ pointer_of(column)
    x, y, _ = end - pointer_of(column)
    if abs(y) > abs(x):
        return "looks up" if y < 0 else "looks down"
    verb = "tilts" if column == "Roll" else "turns"
    return f"{verb} to the subject's {'right' if x < 0 else 'left'}"


def signs() -> str:
    """The table of what grows and what shrinks."""
    return table(
        ["convention", *(f"the head {where_to(column)}" for column in DRAWN)],
        (
            [f"`{name}`", *(_changes(name, turn_of(column, 10)) for column in DRAWN)]
            for name in CONVENTIONS
        ),
    )


def _changes(name: str, rotvec: torch.Tensor) -> str:
    convention = CONVENTIONS[name]
    rotvec = torch.stack([rotvec, torch.zeros_like(rotvec)])
    after, before = convert_pose(rotvec, "rotvec", name).reshape(2, -1).numpy()
    change = after - before
    labels = [convention.table_names.get(c, c) for c in convention.rotation_columns]
    return ", ".join(
        f"`{label}` {'+' if value > 0 else '-'}"
        for label, value in zip(labels, change, strict=True)
        if abs(value) > np.abs(change).max() / 2
    )


def places() -> str:
    """The table of X, Y, Z."""
    rows = []
    for name, convention in CONVENTIONS.items():
        ways = (
            f"`{convention.table_names.get(axis, axis)}` {'+' if sign > 0 else '-'}"
            for axis, sign in zip("XYZ", convention.axes, strict=True)
        )
        rows.append([f"`{name}`", *ways, UNITS[convention.translation_unit]])
    ways = ("right in the picture", "down in the picture", "away from the camera")
    return table(["convention", *ways, "unit"], rows)


def contents() -> str:
    """The table of how each convention says a rotation."""
    rows = []
    for name, convention in CONVENTIONS.items():
        rotation, limits = _rotation_and_range(convention)
        rows.append([f"`{name}`", AXES[convention.axes], rotation, convention.unit, limits])
    return table(["convention", "axes", "rotation", "unit", "range"], rows)


def _rotation_and_range(convention: Convention) -> tuple[str, str]:
    half, quarter = ("180", "90") if convention.degrees else ("π", "π/2")
    parts = [
        f"{'-' if sign < 0 else ''}{convention.table_names.get(name, name)}"
        for name, sign in convention.parts.items()
    ]
    about = [f"R{axis}({part})" for axis, part in zip("xyz", parts, strict=False)]
    middle = list(convention.parts)[1]
    middle = convention.table_names.get(middle, middle)
    match convention.representation:
        case "rotvec":
            return f"rotation vector `({', '.join(parts)})`", f"length up to {half}"
        case "euler_xyz":
            return f"`R = {' '.join(about)}`", f"`{middle}` ±{quarter}, others ±{half}"
        case "euler_zyx":
            return f"`R = {' '.join(reversed(about))}`", f"`{middle}` ±{quarter}, others ±{half}"
        case "quaternion":
            return f"`({', '.join(parts)})`", f"length 1, `{parts[0]}` not negative"
    return f"matrix, `{parts[0]}` to `{parts[-1]}` row by row", "a rotation"


def text() -> str:
    """The generated part of the page, markers excluded."""
    drawings = "\n".join(f"![{title_of(c)}]({drawing_path(c).name})" for c in DRAWN)
    return "\n\n".join(
        [
            drawings,
            "### Which column, which sign",
            signs(),
            "### What the rotation is",
            contents(),
            "### X, Y, Z: which way they grow",
            places(),
        ]
    )


def drawing_path(column: str) -> Path:
    return ROOT / "docs" / f"conventions-{column.lower()}.svg"


def title_of(column: str) -> str:
    return f"+{column} in feat: the head {where_to(column)}"


def description_of(column: str) -> str:
    """What the drawing was made from."""
    degrees = ", ".join(f"{each:z.1f}" for each in turn_of(column, DRAWN_DEG).rad2deg().tolist())
    return f"rotation vector ({degrees}) degrees"


def draw(column: str) -> Figure:
    """A head before and after a turn, as the camera sees it; the arrow is the pointer's way."""
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    turned = rotvec_to_matrix(turn_of(column, DRAWN_DEG).float())
    for rotation, style in (
        (torch.eye(3), {"color": "0.75", "linewidth": 1.2}),
        (turned, {"color": "C0", "linewidth": 1.8}),
    ):
        face = FACE_68 @ rotation.mT
        for line in [*(face[list(points)] for points in FACE_LINES), SKULL @ rotation.mT]:
            axes.plot(line[:, 0], line[:, 1], **style)
    steps = torch.stack([turn_of(column, angle) for angle in np.linspace(0, DRAWN_DEG, 30)])
    way = (rotvec_to_matrix(steps.float()) @ pointer_of(column))[:, :2].numpy()
    axes.plot(way[:-1, 0], way[:-1, 1], color="C3", linewidth=2.5)
    axes.annotate(
        "", way[-1], way[-4], arrowprops={"arrowstyle": "-|>", "color": "C3", "mutation_scale": 22}
    )
    side = {"rotation": 90, "va": "center", "ha": "center", "color": "0.4"}
    axes.text(-13.2, -2, "subject's right", **side)
    axes.text(13.2, -2, "subject's left", **side)
    axes.text(0, 12, f"grey: 0, blue: +{DRAWN_DEG:g}°", ha="center", color="0.4")
    title = title_of(column).replace(": ", "\n")
    axes.set(xlim=(-14, 14), ylim=(13, -16), aspect="equal", title=title)
    axes.set_axis_off()
    return figure


def main() -> None:
    """Write the drawings and the generated part of the page."""
    style = {"svg.hashsalt": "feat-pose-plugin", "svg.fonttype": "none"}
    for column in DRAWN:
        metadata = {
            "Date": None, "Title": title_of(column), "Description": description_of(column)
        }  # fmt: skip
        with mpl.rc_context(style), write_whole(drawing_path(column)) as part:
            draw(column).savefig(part, metadata=metadata)
    PART.write(text())


if __name__ == "__main__":
    main()
