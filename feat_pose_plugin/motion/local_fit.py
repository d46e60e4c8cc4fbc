"""Local polynomials on rotations: the value and the rate of change at each sample.

Around each sample the rotations of a short window are written as rotation vectors from that
sample's own rotation (its tangent space), and a parabola is fitted to them by weighted least
squares, as Savitzky and Golay (1964) do for numbers. So nothing depends on the angles of a
convention, and a tilt through 180 degrees is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import MotionError
from feat_pose_plugin.motion.series import PoseSeries

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES_AT_ONCE = 1 << 15
_RIDGE = 1e-7  # two samples leave the curvature open, one the slope too: they are 0 then


@dataclass(frozen=True)
class LocalFit:
    """The fitted parabolas at their middles.

    Attributes:
        turn: ``[n]`` smoothed rotations; identity where there is no pose.
        translation: ``[n, 3]`` smoothed translations.
        velocity: ``[n, 3]`` pitch, roll and yaw of the angular velocity, about the head's own axes
            with the signs of ``feat``, degrees per second; NaN without a neighbour.
    """

    turn: Rotation
    translation: NDArray[np.float64]
    velocity: NDArray[np.float64]


def fit_locally(series: PoseSeries, fps: float, seconds: float) -> LocalFit:
    """Fit a parabola around each sample that has a pose, in a window of at least so many seconds.

    The shortest window has three samples. The parabola goes through all of them: nothing is
    smoothed, and the rate is the central difference.
    """
    if not (isinstance(fps, int | float) and 0 < fps < np.inf):
        raise MotionError(
            f"fps must be the video's frames per second, a number above 0, got {fps!r}."
        )
    require_length(seconds)
    half = max(1, math.ceil(seconds * fps / 2 - 1e-9))  # frames to each side
    samples = len(series.rows)
    turns = series.turn.as_quat()
    quaternion = turns.copy()
    translation, velocity = np.zeros((samples, 3)), np.full((samples, 3), np.nan)
    sample_at, place = _grid(series, half)
    for start in range(0, samples, _SAMPLES_AT_ONCE):
        part = np.arange(start, min(start + _SAMPLES_AT_ONCE, samples))
        part = part[series.known[part]]
        if not len(part):
            continue
        moments, sums = np.zeros((len(part), 5)), np.zeros((len(part), 3, 6))
        others = np.zeros(len(part), int)
        for offset in range(-half, half + 1):
            other = sample_at[place[part] + offset]
            weight = np.where(other >= 0, series.weight[other], 0.0)
            away = _turns_between(turns[part], turns[other])
            moved = series.translation[other] - series.translation[part]
            power = (offset / half) ** np.arange(5)
            moments += weight[:, None] * power
            weighted = weight[:, None] * np.concatenate([away, moved], axis=1)
            sums += power[:3, None] * np.where(weight[:, None] > 0, weighted, 0)[:, None]
            others += (weight > 0) & (offset != 0)
        normal = moments[:, np.add.outer(np.arange(3), np.arange(3))]
        normal += moments[:, :1, None] * np.diag([0, _RIDGE**2, _RIDGE])
        value, slope, _ = np.linalg.solve(normal, sums).transpose(1, 0, 2)
        turned, rate = value[:, :3], slope[:, :3] / half
        quaternion[part] = (series.turn[part] * Rotation.from_rotvec(turned)).as_quat()
        translation[part] = series.translation[part] + value[:, 3:]
        # From the tangent space at the sample to the head's axes, to the first order.
        rate = rate - 0.5 * np.cross(turned, rate)
        velocity[part] = np.where(others[:, None] > 0, rate, np.nan)
    # The head's x points to the subject's left, y down, z to the back, as at img2pose's zero.
    velocity = np.rad2deg(series.zero.apply(velocity)[:, [0, 2, 1]] * [-1, -1, 1]) * fps
    return LocalFit(Rotation.from_quat(quaternion), translation, velocity)


def require_length(seconds: float) -> None:
    """Refuse what is no length of time."""
    if not (isinstance(seconds, int | float) and 0 <= seconds < np.inf):
        raise MotionError(f"a length in seconds must be a number from 0, got {seconds!r}.")


def _turns_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n, 3]`` rotation vectors from one to the other, in the axes of the first.

    As ``(first.inv() * second).as_rotvec()``, which takes eight times as long, of ``[n, 4]``
    quaternions with the scalar last.
    """
    (a, b, c, w), (x, y, z, v) = first.T, second.T
    axis = np.stack(
        [
            w * x - a * v - b * z + c * y,
            w * y - b * v - c * x + a * z,
            w * z - c * v - a * y + b * x,
        ]
    )
    cosine = w * v + a * x + b * y + c * z
    sine = np.sqrt(np.square(axis).sum(axis=0))
    angle = 2 * np.arctan2(sine, np.abs(cosine))
    factor = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-12)
    rotvec: NDArray[np.float64] = (axis * np.copysign(factor, cosine)).T
    return rotvec


def _grid(series: PoseSeries, half: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which sample stands at each place of a grid of frames (-1 for none), and each one's place.

    Gaps are no longer than a window on it, nor are those between persons.
    """
    steps = np.where(np.diff(series.person) == 0, np.diff(series.frame), half + 1)
    place = half + np.concatenate([[0], np.cumsum(np.minimum(steps, half + 1))])
    place = place[: len(series.rows)].astype(np.intp)
    sample_at = np.full(int(place[-1] if len(place) else 0) + half + 1, -1, np.intp)
    sample_at[place] = np.arange(len(place))
    return sample_at, place
