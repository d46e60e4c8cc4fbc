"""An evaluation, and a comparison of two tables, as pictures.

Each function returns a figure of its own, no global state; ``figure.savefig(path)`` writes it.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feat_pose_plugin.evaluation.angles import angle_names
from feat_pose_plugin.evaluation.compare import ANGLES, LIMITS, Comparison
from feat_pose_plugin.evaluation.figures import Evaluation

_YAW_STEP_DEG = 10


def plot_evaluation(evaluation: Evaluation) -> Figure:
    """Draw estimated against reference angles, and the geodesic error by yaw.

    Args:
        evaluation: What :func:`~feat_pose_plugin.evaluation.evaluate` returned.

    Returns:
        A figure of its own.
    """
    names, faces = angle_names(evaluation.convention), evaluation.faces
    figure = Figure(figsize=(16, 4.5), layout="constrained")
    figure.suptitle(
        f"{evaluation.provenance.name} on {evaluation.reference}: {len(faces)} faces, "
        f"angles of {evaluation.convention}"
    )
    *for_angles, by_yaw = figure.subplots(1, 4)
    for axes, name in zip(for_angles, names, strict=True):
        reference, estimated = faces[f"{name}_reference"], faces[f"{name}_estimated"]
        limit = 1.05 * max(reference.abs().max(), estimated.abs().max())
        _scatter(axes, reference, estimated, (-limit, limit))
        error = faces[f"{name}_error"].abs().mean()
        axes.set(
            title=f"{name}: mean absolute error {error:.2f}°",
            xlabel="reference, degrees",
            ylabel="estimated, degrees",
        )
    yaw = faces[f"{names[1]}_reference"].abs()
    by_range = faces["geodesic_error"].groupby((yaw // _YAW_STEP_DEG + 0.5) * _YAW_STEP_DEG)
    median = by_range.median()
    by_yaw.plot(median.index, median, "o-")
    by_yaw.fill_between(median.index, by_range.quantile(0.25), by_range.quantile(0.75), alpha=0.2)
    by_yaw.set(
        title="Error by yaw: median and quartiles",
        xlabel="|yaw| of the reference, degrees",
        ylabel="geodesic error, degrees",
        ylim=(0, None),
    )
    return figure


def plot_comparison(comparison: Comparison, name_a: str, name_b: str) -> Figure:
    """Draw one table over the other, and their differences over their means.

    Args:
        comparison: What :func:`~feat_pose_plugin.evaluation.compare.compare_pose` returned.
        name_a: What to call the first table.
        name_b: What to call the second one.

    Returns:
        A figure of its own. Above, the angles of the first table over those of the second, with the
        line of equality; below, the differences over the means with the limits of agreement. The
        three angles have the same scale.
    """
    frames = comparison.frames
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    above, below = figure.subplots(2, 3, sharex="row", sharey="row")
    angles = frames[[f"{name}_{table}" for name in ANGLES for table in "ab"]].to_numpy()
    ends = angles.min() - 1, angles.max() + 1
    figure.suptitle(f"{name_a} and {name_b}: {len(frames)} frames")
    for axes, under, name in zip(above, below, ANGLES, strict=True):
        one, other = frames[f"{name}_a"], frames[f"{name}_b"]
        difference = frames[f"{name}_difference"]
        _scatter(axes, other, one, ends)
        axes.set(title=name, xlabel=f"{name_b}, degrees")
        mean, limit = difference.mean(), LIMITS * difference.std()
        under.axhline(0, color="0.6", linewidth=1)
        under.scatter((one + other) / 2, difference, s=8, alpha=0.4, linewidths=0)
        under.axhline(mean, color="C1")
        for end in (mean - limit, mean + limit):
            under.axhline(end, color="C1", linestyle="--")
        under.set(title=f"{mean:+.1f} ± {limit:.1f} degrees", xlabel="mean of both, degrees")
        under.set_xlim(ends)
    above[0].set_ylabel(f"{name_a}, degrees")
    below[0].set_ylabel("difference, degrees")
    return figure


def _scatter(
    axes: Axes, x: pd.Series[float], y: pd.Series[float], ends: tuple[float, float]
) -> None:
    """Points, and the line on which both are equal."""
    axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
    axes.scatter(x, y, s=8, alpha=0.4, linewidths=0)
    axes.set(xlim=ends, ylim=ends, box_aspect=1)
