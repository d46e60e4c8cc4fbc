"""A comparison of two tables as a picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from feat_pose_plugin.evaluation.compare import ANGLES, Comparison


def plot_comparison(comparison: Comparison, name_a: str, name_b: str) -> Figure:
    """Draw one table over the other, and their differences over their means.

    Args:
        comparison: What :func:`~feat_pose_plugin.evaluation.compare_pose` returned.
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
        axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
        axes.scatter(other, one, s=8, alpha=0.5, linewidths=0)
        axes.set(title=name, xlabel=f"{name_b}, degrees", xlim=ends, ylim=ends)
        axes.set_box_aspect(1)
        mean, sd = difference.mean(), difference.std()
        under.axhline(0, color="0.6", linewidth=1)
        under.scatter((one + other) / 2, difference, s=8, alpha=0.5, linewidths=0)
        under.axhline(mean, color="C1")
        for limit in (mean - 1.96 * sd, mean + 1.96 * sd):
            under.axhline(limit, color="C1", linestyle="--")
        under.set(title=f"{mean:+.1f} ± {1.96 * sd:.1f} degrees", xlabel="mean of both, degrees")
        under.set_xlim(ends)
    above[0].set_ylabel(f"{name_a}, degrees")
    below[0].set_ylabel("difference, degrees")
    return figure
