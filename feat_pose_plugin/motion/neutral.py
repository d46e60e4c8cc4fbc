"""Pose relative to a neutral pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import MotionError
from feat_pose_plugin.motion.series import PoseSeries, read_series

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MEDIAN = "median"
_ITERATIONS = 50
_CLOSE = 1e-5  # radians; a two thousandth of a degree


def relative_pose(
    table: pd.DataFrame,
    *,
    neutral: str | int | pd.DataFrame | Sequence[bool] | NDArray[np.bool_] | pd.Series[Any],
    by: str | Sequence[str] | None = None,
    convention: str | None = None,
    use_flagged: bool = False,
) -> pd.DataFrame:
    """Pose of each head from its own neutral pose: ``R0.T @ R``.

    To subtract the angles instead is wrong by degrees, because rotations do not add up by angles.
    X, Y, Z become the way from the neutral place, along the axes of the neutral head.

    Args:
        table: With pose columns, as in :func:`smooth_pose`.
        neutral: What the neutral pose is. ``"median"``: the geodesic median of all rows of each
            person. Truth values, one for each row: the median of the marked rows of each person.
            An integer: the row at that position, for everybody. Another table in the same
            convention: the median of its rows, for everybody.
        by: As in :func:`smooth_pose`.
        convention: As in :func:`smooth_pose`.
        use_flagged: As in :func:`smooth_pose`; flagged rows become NaN otherwise.

    Returns:
        A copy of the table with its pose columns replaced, in the same convention; zero is the
        neutral pose. Rows of a person without a neutral pose are NaN.

    Raises:
        MotionError: ``neutral`` is none of these or holds no pose; or as :func:`smooth_pose`.
        ConventionError: As :func:`smooth_pose`.
    """
    import pandas as pd

    series = read_series(table, by=by, convention=convention, use_flagged=use_flagged)
    source, marked, of_all = series, series.known, True
    if isinstance(neutral, pd.DataFrame):
        name = series.convention.name
        source = read_series(neutral, by=by, convention=name, use_flagged=use_flagged)
        marked = source.known
    elif isinstance(neutral, int | np.integer) and not isinstance(neutral, bool):
        if not -len(table) <= neutral < len(table):
            raise MotionError(f"neutral={neutral} is no row: the table has {len(table)} rows.")
        marked = marked & (series.rows == neutral % len(table))
    else:
        of_all = False
        if not (isinstance(neutral, str) and neutral == MEDIAN):
            marked = marked & _marks(neutral, len(table))[series.rows]
    if not marked.any():
        raise MotionError(
            "none of the rows that neutral selects has a pose. Mark rows with a pose, or pass "
            f"neutral={MEDIAN!r}."
        )
    person, of = series.person, source.person
    if of_all:
        person, of = np.zeros_like(person), np.zeros_like(of)
    turn, place = _medians(source, marked, of)
    away = Rotation.from_quat(turn[person]).inv()
    axes = np.array(series.convention.axes, np.float64)
    moved = axes * away.apply(axes * (series.translation - place[person]))
    known = series.known & np.isin(person, of[marked])
    tag = replace(series.tag, rotation_frame="neutral")
    return series.write(table, away * series.turn, moved, known, tag)


def geodesic_median(turn: Rotation) -> Rotation:
    """The rotation with the least sum of angles to all of these.

    By Weiszfeld's iteration in the tangent space (Hartley, Trumpf, Dai and Li 2013, Rotation
    Averaging). Outliers hardly move it.
    """
    middle = turn.mean()
    for _ in range(_ITERATIONS):
        away = (middle.inv() * turn).as_rotvec()
        share = 1 / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
        step = (share * away).sum(axis=0) / share.sum()
        middle = middle * Rotation.from_rotvec(step)
        if np.linalg.norm(step) < _CLOSE:
            break
    return middle


def _medians(
    series: PoseSeries, marked: NDArray[np.bool_], person: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median rotation ``[persons, 4]`` and place ``[persons, 3]`` of the marked rows of each."""
    persons = int(person.max(initial=-1)) + 1
    turn, place = np.tile([0.0, 0.0, 0.0, 1.0], (persons, 1)), np.zeros((persons, 3))
    for number in np.unique(person[marked]):
        rows = np.flatnonzero(marked & (person == number))
        turn[number] = geodesic_median(series.turn[rows]).as_quat()
        place[number] = np.median(series.translation[rows], axis=0)
    return turn, place


def _marks(neutral: object, rows: int) -> NDArray[np.bool_]:
    marks = np.asarray(neutral)
    if marks.dtype != bool or marks.shape != (rows,):
        raise MotionError(
            f"neutral must be {MEDIAN!r}, the position of a row, a table, or {rows} truth values, "
            f"got {str(neutral)[:80]!r}."
        )
    return marks
