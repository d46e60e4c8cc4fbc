"""An evaluation as a picture."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feat_pose_plugin.evaluation.angles import angles_of
from feat_pose_plugin.evaluation.figures import Evaluation

YAW_STEP_DEG = 10


def plot_evaluation(evaluation: Evaluation) -> Figure:
    """Draw estimated against reference angles, and the geodesic error by yaw.

    Args:
        evaluation: What :func:`~feat_pose_plugin.evaluation.evaluate` returned.

    Returns:
        A figure of its own, no global state; ``figure.savefig(path)`` writes it.
    """
    names = angles_of(evaluation.convention).names
    figure = Figure(figsize=(16, 4.5), layout="constrained")
    figure.suptitle(
        f"{evaluation.provenance.name} on {evaluation.reference}: {len(evaluation.faces)} faces, "
        f"angles of {evaluation.convention}"
    )
    *for_angles, by_yaw = figure.subplots(1, 4)
    for axes, name in zip(for_angles, names, strict=True):
        _draw_angle(axes, evaluation, name)
    yaw = evaluation.faces[f"{names[1]}_reference"].abs()
    middle = (yaw // YAW_STEP_DEG + 0.5) * YAW_STEP_DEG
    by_range = evaluation.faces["geodesic_error"].groupby(middle)
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
