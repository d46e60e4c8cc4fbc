"""Angular velocity of the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from feat_pose_plugin.motion.local_fit import LocalFit, fit_locally
from feat_pose_plugin.motion.series import PoseSeries, read_series

if TYPE_CHECKING:
    import pandas as pd

VELOCITY_COLUMNS = ["AngularSpeed", "PitchVelocity", "RollVelocity", "YawVelocity"]


def angular_velocity(
    table: pd.DataFrame,
    *,
    fps: float,
    seconds: float = 0.2,
    by: str | Sequence[str] | None = None,
    convention: str | None = None,
    use_flagged: bool = False,
) -> pd.DataFrame:
    """How fast each head turns, and about which of its own axes.

    The velocity is the rate of change of the rotation, not of its angles: it is the same in every
    convention. It is the slope of the parabola that :func:`smooth_pose` fits.

    Args:
        table: As in :func:`smooth_pose`.
        fps: Frames per second of the video.
        seconds: Length of the window of smoothing; 0 for the difference of the frames before and
            after.
        by: As in :func:`smooth_pose`.
        convention: As in :func:`smooth_pose`.
        use_flagged: As in :func:`smooth_pose`.

    Returns:
        Columns ``AngularSpeed``, ``PitchVelocity``, ``RollVelocity``, ``YawVelocity`` in degrees
        per second, with the index of the table. The three are the parts of the velocity about the
        head's own axes, with the signs of ``feat``: + pitch turns the face up, + yaw to the
        subject's right, + roll tilts the head towards the subject's right shoulder. NaN where a row
        has no pose, or no neighbour within the window.

    Raises:
        MotionError: As :func:`smooth_pose`.
        ConventionError: As :func:`smooth_pose`.
    """
    series = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    return velocities(table, series, fit_locally(series, fps, seconds))


def velocities(table: pd.DataFrame, series: PoseSeries, fit: LocalFit) -> pd.DataFrame:
    """The columns of :func:`angular_velocity`, of a fit."""
    import pandas as pd

    found = np.full((len(table), 4), np.nan)
    found[series.rows, 0] = np.linalg.norm(fit.velocity, axis=1)
    found[series.rows, 1:] = fit.velocity
    return pd.DataFrame(found, table.index, VELOCITY_COLUMNS)
