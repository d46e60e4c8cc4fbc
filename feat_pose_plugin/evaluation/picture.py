"""An evaluation as a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feat_pose_plugin.evaluation.angles import angles_of
from feat_pose_plugin.evaluation.figures import YAW_RANGES, Evaluation

# Columns of Evaluation.faces, and how the two stages are drawn.
STAGES = {
    "geodesic_error": ("as estimated", "C0"),
    "geodesic_error_constant_removed": ("constant removed", "C1"),
}
YAW_STEP_DEG = 10


def plot_evaluation(evaluation: Evaluation) -> Figure:
    """Draw estimated against reference angles, errors by yaw, and how errors are distributed.

    Args:
        evaluation: What :func:`~feat_pose_plugin.evaluation.evaluate` returned.

    Returns:
        A figure of its own, no global state; ``figure.savefig(path)`` writes it.
    """
    names = angles_of(evaluation.convention).names
    figure = Figure(figsize=(12, 8), layout="constrained")
    grid = figure.subplots(2, 3)
    figure.suptitle(
        f"{evaluation.provenance.name} on {evaluation.reference}: {len(evaluation.faces)} faces, "
        f"angles of {evaluation.convention}"
    )
    for axes, name in zip(grid[0], names, strict=True):
        _draw_angle(axes, evaluation, name)
    rest = evaluation.faces[~evaluation.faces["fitted"]]
    _draw_by_yaw(grid[1, 0], rest, rest[f"{names[1]}_reference"].abs())
    _draw_distribution(grid[1, 1], rest)
    _draw_axes_by_yaw(grid[1, 2], evaluation, names)
    return figure


def _draw_angle(axes: Axes, evaluation: Evaluation, name: str) -> None:
    reference = evaluation.faces[f"{name}_reference"]
    estimated = evaluation.faces[f"{name}_estimated"]
    limit = 1.05 * max(reference.abs().max(), estimated.abs().max())
    axes.axline((0, 0), slope=1, color="0.5", linewidth=1)
    axes.scatter(reference, estimated, s=8, alpha=0.4, linewidths=0)
    error = evaluation.faces[f"{name}_error"].abs().mean()
    axes.set(
        title=f"{name}: mean absolute error {error:.2f}°",
        xlabel="reference, degrees",
        ylabel="estimated, degrees",
        xlim=(-limit, limit),
        ylim=(-limit, limit),
        aspect="equal",
    )


def _draw_by_yaw(axes: Axes, faces: pd.DataFrame, yaw: pd.Series[float]) -> None:
    middle = (yaw // YAW_STEP_DEG + 0.5) * YAW_STEP_DEG
    for column, (label, colour) in STAGES.items():
        quartiles = faces[column].groupby(middle).quantile(np.array([0.25, 0.5, 0.75])).unstack()
        axes.plot(quartiles.index, quartiles[0.5], "o-", color=colour, markersize=4, label=label)
        axes.fill_between(
            quartiles.index, quartiles[0.25], quartiles[0.75], color=colour, alpha=0.2, linewidth=0
        )
    axes.set(
        title="Error by yaw: median and quartiles",
        xlabel="|yaw| of the reference, degrees",
        ylabel="geodesic error, degrees",
        ylim=(0, None),
    )
    axes.legend()


def _draw_distribution(axes: Axes, faces: pd.DataFrame) -> None:
    for column, (label, colour) in STAGES.items():
        axes.ecdf(faces[column], color=colour, label=f"{label}, mean {faces[column].mean():.2f}°")
    limit = faces[list(STAGES)].quantile(0.99).max()
    beyond = (faces["geodesic_error"] > limit).mean()
    axes.set(
        title=f"Distribution ({beyond:.1%} as estimated lie beyond)",
        xlabel="geodesic error, degrees",
        ylabel="share of faces within",
        xlim=(0, limit),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _draw_axes_by_yaw(axes: Axes, evaluation: Evaluation, names: tuple[str, str, str]) -> None:
    labels = ["all", *(f"{low}-{high}" for low, high in YAW_RANGES)]
    ranges = evaluation.figures.loc[[("as estimated", label) for label in labels]]
    position = np.arange(len(ranges))
    for shift, name in zip((-0.25, 0, 0.25), names, strict=True):
        value = ranges[name]
        interval = (value - ranges[f"{name}_low"], ranges[f"{name}_high"] - value)
        axes.bar(position + shift, value, width=0.23, yerr=interval, capsize=2, label=name)
    counts = [f"{count} faces" for count in ranges["faces"]]
    axes.set_xticks(position, [f"{label}\n{n}" for label, n in zip(labels, counts, strict=True)])
    axes.set(
        title="As estimated, by axis, 95 % intervals",
        xlabel="|yaw| of the reference, degrees",
        ylabel="mean absolute error, degrees",
    )
    axes.legend()
