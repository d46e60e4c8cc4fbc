"""Two pose tables of the same frames, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.convert import convention_of, convert_pose, find_pose_columns
from feat_pose_plugin.tables.frames import first_frame, frame_numbers

ANGLES = ["Pitch", "Roll", "Yaw"]
LIMITS = 1.96  # standard deviations: 95 of 100 differences, if they are normal
_FEWEST = 3
_FRAME = "frame"


@dataclass(frozen=True)
class Comparison:
    """How two tables agree.

    Attributes:
        frames: A row for each frame that has a pose in both: the columns it was matched by,
            ``Pitch_a``, ``Pitch_b``, ``Pitch_difference`` (a less b) and so on, and ``Angle``, the
            angle between the two rotations. Degrees, signs of ``feat``.
        statistics: For each person a row for pitch, roll and yaw, and one for the whole rotation;
            see :func:`compare_pose`.
    """

    frames: pd.DataFrame
    statistics: pd.DataFrame


def compare_pose(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    convention_a: str | None = None,
    convention_b: str | None = None,
    by: str | Sequence[str] = (),
) -> Comparison:
    """Compare two pose tables of the same frames, each in its own convention.

    Rows belong together that have the same ``frame`` and the same values in the columns of ``by``.
    OpenFace's frames, which count from 1, are recognised. Where one of the tables has no frames,
    rows belong together by their order.

    Args:
        a: A table with pose columns.
        b: Another one.
        convention_a: Of its pose; by default what the table says, ``openface`` where it has
            OpenFace's columns, and ``feat`` otherwise.
        convention_b: The same for ``b``.
        by: Columns that both tables have and that tell persons apart. Each person gets statistics
            of its own.

    Returns:
        The frames and these statistics, in degrees with the signs of ``feat``:

        - ``Frames``: how many were compared.
        - ``Difference``, ``SD``: mean and standard deviation of a less b.
        - ``LimitLow``, ``LimitHigh``: the limits of agreement, 1.96 SD around the mean (Bland and
          Altman 1986).
        - ``Slope``, ``Offset``, ``Correlation``: of the line through a over b by least squares.
        - ``Constant``: the constant rotation between them, ``mean(R_b.T @ R_a)``, as an angle.
        - ``AroundConstant``: root mean square of what is left of the difference without it.

        The row ``Rotation`` holds the angle between the rotations.

    Raises:
        EvaluationError: The tables have no frames in common, or a person has two rows in one frame.
        ConventionError: A table has no pose in its convention.
    """
    keys = [by] if isinstance(by, str) else list(by)
    one, other = _angles(a, convention_a, keys), _angles(b, convention_b, keys)
    if _FRAME in one and _FRAME in other:
        on = [*keys, _FRAME]
        for name, table in (("first", one), ("second", other)):
            if table.duplicated(on).any():
                frame = table.loc[table.duplicated(on), _FRAME].iloc[0]
                raise EvaluationError(
                    f"the {name} table has two rows of frame {frame:g}. Pass by=, the column "
                    "that tells persons apart, or keep one row a frame."
                )
        both = one.merge(other, on=on, suffixes=("_a", "_b"))
    elif len(one) == len(other):
        both = one.join(other[ANGLES], lsuffix="_a", rsuffix="_b")
    else:
        raise EvaluationError(
            f"the tables have {len(one)} and {len(other)} rows and no frames to match them by. Add "
            "a column 'frame' to both, or compare tables of the same rows."
        )
    both = both.dropna(subset=[f"{name}_{table}" for name in ANGLES for table in "ab"])
    if len(both) < _FEWEST:
        raise EvaluationError(
            f"only {len(both)} frames have a pose in both tables. Are they about the same video? "
            "Rows are matched by the column 'frame' and by those in by=."
        )
    both = both.reset_index(drop=True)
    turn_a, turn_b = (
        Rotation.from_matrix(convert_pose(np.deg2rad(angles), "feat", "matrix"))
        for angles in (both[[f"{name}_{table}" for name in ANGLES]].to_numpy() for table in "ab")
    )
    for name in ANGLES:
        both[f"{name}_difference"] = (both[f"{name}_a"] - both[f"{name}_b"] + 180) % 360 - 180
    both["Angle"] = np.rad2deg((turn_b.inv() * turn_a).magnitude())
    statistics = []
    persons = both.groupby(keys).ngroup().to_numpy() if keys else np.zeros(len(both))
    for person in np.unique(persons[persons >= 0]):
        rows = np.flatnonzero(persons == person)
        constant = (turn_b[rows].inv() * turn_a[rows]).mean()
        left = (turn_b[rows] * constant).inv() * turn_a[rows]
        who = both.loc[rows[0], keys].to_dict()
        statistics += [who | row for row in _describe(both.iloc[rows], constant, left)]
    return Comparison(both, pd.DataFrame(statistics))


def _angles(table: pd.DataFrame, convention: str | None, keys: list[str]) -> pd.DataFrame:
    """Angles in degrees with the signs of ``feat``, beside the columns that rows are matched by."""
    here = convention_of(table, convention)
    pose = table[find_pose_columns(table, here)].copy()
    radians = convert_pose(pose, here.name, "feat")[ANGLES].to_numpy(np.float64)
    found = pd.DataFrame(np.rad2deg(radians), columns=ANGLES)
    for key in keys:
        column = find_column(table, key)
        if column is None:
            raise EvaluationError(f"a table has no column {key!r} to tell persons apart.")
        found[key] = column.to_numpy()
    frames = frame_numbers(table)
    if frames is not None:
        found[_FRAME] = frames - first_frame(table)
        found = found[found[_FRAME].notna()]
    return found


def _describe(
    frames: pd.DataFrame, constant: Rotation, left: Rotation
) -> Iterator[dict[str, object]]:
    """Statistics of one person: a row for each angle, and one for the whole rotation.

    ``left`` is what is left of the rotations between the tables without the constant one.
    """
    constants, rest = (
        np.rad2deg(convert_pose(turn.as_matrix(), "matrix", "feat")) for turn in (constant, left)
    )
    for place, name in enumerate(ANGLES):
        one, other = frames[f"{name}_a"].to_numpy(), frames[f"{name}_b"].to_numpy()
        moves = other.std() > 0 and one.std() > 0  # not so in a single frame
        slope, offset = np.polyfit(other, one, 1) if moves else (np.nan, np.nan)
        yield {
            "Angle": name,
            **_limits(frames[f"{name}_difference"]),
            "Slope": slope,
            "Offset": offset,
            "Correlation": np.corrcoef(one, other)[0, 1] if moves else np.nan,
            "Constant": constants[place],
            "AroundConstant": _root_mean_square(rest[:, place]),
        }
    yield {
        "Angle": "Rotation",
        **_limits(frames["Angle"]),
        "Constant": np.rad2deg(constant.magnitude()),
        "AroundConstant": _root_mean_square(np.rad2deg(left.magnitude())),
    }


def _limits(difference: pd.Series[float]) -> dict[str, float]:
    mean, sd = difference.mean(), difference.std()
    return {
        "Frames": len(difference),
        "Difference": mean,
        "SD": sd,
        "LimitLow": mean - LIMITS * sd,
        "LimitHigh": mean + LIMITS * sd,
    }


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean()))
