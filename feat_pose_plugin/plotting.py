"""Pictures of pose. Each function returns a matplotlib figure and touches no global state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from feat_pose_plugin.tag import check_tag, read_tag

if TYPE_CHECKING:
    import pandas as pd

ANGLE_LABELS = {
    "Pitch": "pitch (deg)\n+ up",
    "Yaw": "yaw (deg)\n+ to the subject's right",
    "Roll": "roll (deg)\n+ to the subject's right",
}


def plot_time_lines(poses: Mapping[str, pd.DataFrame]) -> Figure:
    """Pitch, yaw and roll over time.

    Args:
        poses: A title and the pose columns (convention ``feat``, radians) of each table, a row
            per frame. Rows without a pose leave a gap.

    Returns:
        A figure with a column of plots for each table and a row for each angle, in degrees.

    Raises:
        ConventionError: A table says that it is in another convention.
    """
    for title, pose in poses.items():
        check_tag(read_tag(pose.attrs), "feat", title)
    figure = Figure(figsize=(1.5 + 3.5 * len(poses), 7.5), layout="constrained")
    plots = figure.subplots(3, len(poses), sharex="col", sharey="row", squeeze=False)
    for column, (title, pose) in zip(plots.T, poses.items(), strict=True):
        column[0].set_title(title)
        column[-1].set_xlabel("frame")
        for plot, name in zip(column, ANGLE_LABELS, strict=True):
            plot.axhline(0, color="0.8", linewidth=1)
            plot.plot(np.rad2deg(pose[name].to_numpy()), linewidth=1.5)
            plot.grid(color="0.93")
    for plot, label in zip(plots[:, 0], ANGLE_LABELS.values(), strict=True):
        plot.set_ylabel(label)
    figure.align_ylabels()
    return figure
