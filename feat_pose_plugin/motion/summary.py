"""A row for each person: where the head points and how much it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from feat_pose_plugin.motion.local_fit import LocalFit, fit_locally
from feat_pose_plugin.motion.series import PoseSeries, group_columns, read_series
from feat_pose_plugin.pose.conventions import find_convention

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SECONDS = 0.2
"""Of the window in which velocities are taken."""
_ANGLES = ["Pitch", "Roll", "Yaw"]


def summarise_motion(
    table: pd.DataFrame,
    *,
    fps: float,
    by: str | Sequence[str] | None = None,
    facing_deg: float = 15.0,
    convention: str | None = None,
    use_flagged: bool = False,
) -> pd.DataFrame:
    """Describe the head movement of each person in each file.

    Args:
        table: With pose columns, as in :func:`smooth_pose`.
        fps: Frames per second of the video.
        by: The columns that tell files and persons apart, as in :func:`smooth_pose`.
        facing_deg: The head faces the camera up to this angle, in degrees.
        convention: As in :func:`smooth_pose`.
        use_flagged: As in :func:`smooth_pose`.

    Returns:
        A row for each person, which begins with the columns of ``by``. All angles in degrees, signs
        as in ``feat``.

        - ``Frames``, ``ShareWithPose``: rows, and the share of them with a pose.
        - ``MeanPitch, MeanRoll, MeanYaw``: the mean rotation, not the mean of the angles.
        - ``Dispersion``: root mean square of the angle between head and mean rotation.
        - ``RangePitch, RangeRoll, RangeYaw``: from the 5th to the 95th percentile, about the mean.
        - ``DisplacementPitch`` ...: root mean square of the angles from the mean, and
          ``VelocityPitch`` ...: root mean square of the angular velocity, degrees per second: the
          measures of Hammal, Cohn and George (2014), Interpersonal coordination of head motion in
          distressed couples, IEEE Transactions on Affective Computing 5, taken from rotations.
        - ``MeanSpeed``: mean angular speed, degrees per second.
        - ``ShareFacing``: share of the rows with a pose whose face points at the camera within
          ``facing_deg``.

        NaN where a person has no pose.

    Raises:
        MotionError: As :func:`smooth_pose`.
        ConventionError: As :func:`smooth_pose`.
    """
    series = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    fit = fit_locally(series, fps, SECONDS)
    return summarise(table, series, fit, by=by, facing_deg=facing_deg)


def summarise(
    table: pd.DataFrame,
    series: PoseSeries,
    fit: LocalFit,
    *,
    by: str | Sequence[str] | None,
    facing_deg: float = 15.0,
) -> pd.DataFrame:
    """As :func:`summarise_motion`, of a fit with a window of ``SECONDS``."""
    import pandas as pd

    labels = group_columns(table, by)
    summaries = []
    for number in range(int(series.person.max(initial=-1)) + 1):
        samples = np.flatnonzero(series.person == number)
        first = table.iloc[series.rows[samples[0]]]
        named = {str(label).strip(): first[label] for label in labels}
        summaries.append(named | _summarise(series, samples, fit.velocity, facing_deg))
    return pd.DataFrame(summaries)


def _summarise(
    series: PoseSeries,
    samples: NDArray[np.intp],
    velocity: NDArray[np.float64],
    facing_deg: float,
) -> dict[str, float]:
    known = samples[series.known[samples]]
    summary = {"Frames": len(samples), "ShareWithPose": len(known) / len(samples)}
    if not len(known):
        return summary
    turn = series.turn[known] * series.zero.inv()
    mean = turn.mean()
    away = mean.inv() * turn
    angles, speeds = _feat_degrees(away), velocity[known]
    low, high = np.percentile(angles, [5, 95], axis=0)
    summary |= _named("Mean", _feat_degrees(mean))
    summary["Dispersion"] = float(_rms(np.rad2deg(away.magnitude())))
    summary |= _named("Range", high - low)
    summary |= _named("Displacement", _rms(angles))
    summary |= _named("Velocity", _rms(speeds))
    summary["MeanSpeed"] = float(np.nanmean(np.linalg.norm(speeds, axis=1)))
    facing = turn.as_matrix()[:, 2, 2] >= np.cos(np.deg2rad(facing_deg))
    summary["ShareFacing"] = float(facing.mean())
    return summary


def _feat_degrees(turn: Rotation) -> NDArray[np.float64]:
    """``[..., 3]`` pitch, roll, yaw in degrees."""
    matrix = torch.from_numpy(turn.as_matrix())
    angles: NDArray[np.float64] = find_convention("feat-degrees").from_matrix(matrix).numpy()
    return angles


def _rms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    root: NDArray[np.float64] = np.sqrt(np.nanmean(np.square(values), axis=0))
    return root


def _named(prefix: str, values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip((prefix + name for name in _ANGLES), values.tolist(), strict=True))
