"""Two pose tables of the same frames, side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.convert import convert_pose, find_pose_columns
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.tables.frames import first_frame, frame_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

ANGLES = ["Pitch", "Roll", "Yaw"]
_LIMITS = 1.96  # standard deviations: 95 of 100 differences, if they are normal
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
    one, other = (
        _angles(table, convention, keys)
        for table, convention in ((a, convention_a), (b, convention_b))
    )
    if _FRAME in one and _FRAME in other:
        on = [*keys, _FRAME]
        for name, table in (("first", one), ("second", other)):
            if table.duplicated(on).any():
                row = table[table.duplicated(on)].iloc[0]
                raise EvaluationError(
                    f"the {name} table has two rows of frame {row[_FRAME]:g}. Pass by=, the column "
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
    turn_a, turn_b = (_turns(both, table) for table in "ab")
    for name in ANGLES:
        both[f"{name}_difference"] = (both[f"{name}_a"] - both[f"{name}_b"] + 180) % 360 - 180
    both["Angle"] = np.rad2deg((turn_b.inv() * turn_a).magnitude())
    statistics = []
    for person, rows in _persons(both, keys):
        constant = (turn_b[rows].inv() * turn_a[rows]).mean()
        left = (turn_b[rows] * constant).inv() * turn_a[rows]
        table = _describe(both.iloc[rows], constant, left)
        for key, value in zip(reversed(keys), reversed(person), strict=True):
            table.insert(0, key, value)
        statistics.append(table)
    return Comparison(both, pd.concat(statistics, ignore_index=True))


def _angles(table: pd.DataFrame, convention: str | None, keys: list[str]) -> pd.DataFrame:
    """Angles in degrees with the signs of ``feat``, beside the columns that rows are matched by."""
    tag = read_tag(table)
    if convention is None and tag is None:
        names = {str(label).strip() for label in table.columns}
        is_openface = set(find_convention("openface").table_names.values()) <= names
        convention = "openface" if is_openface and not set(ANGLES) <= names else "feat"
    here = find_convention(convention or tag.convention)  # type: ignore[union-attr]
    pose = table[find_pose_columns(table, here)].copy()
    converted = convert_pose(pose, here.name, "feat")[ANGLES]
    found = pd.DataFrame(np.rad2deg(converted.to_numpy(np.float64)), columns=ANGLES)
    label_of: dict[str, Hashable] = {str(label).strip(): label for label in table.columns}
    for key in keys:
        if key not in label_of:
            raise EvaluationError(f"a table has no column {key!r} to tell persons apart.")
        found[key] = table[label_of[key]].to_numpy()
    frames = frame_numbers(table)
    if frames is not None:
        found[_FRAME] = frames - first_frame(table)
        found = found[found[_FRAME].notna()]
    return found


def _turns(both: pd.DataFrame, table: str) -> Rotation:
    angles = np.deg2rad(both[[f"{name}_{table}" for name in ANGLES]].to_numpy(np.float64))
    return Rotation.from_matrix(convert_pose(angles, "feat", "matrix"))


def _persons(both: pd.DataFrame, keys: list[str]) -> list[tuple[tuple[Any, ...], NDArray[np.intp]]]:
    """Each person of the frames and its rows; one without a name where nothing tells them apart."""
    if not keys:
        return [((), np.arange(len(both)))]
    return [
        (person if isinstance(person, tuple) else (person,), np.asarray(rows))
        for person, rows in both.groupby(keys).indices.items()
    ]


def _describe(frames: pd.DataFrame, constant: Rotation, left: Rotation) -> pd.DataFrame:
    """Statistics of one person: a row for each angle, and one for the whole rotation."""
    constants, rest = (
        np.rad2deg(convert_pose(turn.as_matrix(), "matrix", "feat")) for turn in (constant, left)
    )
    rows: list[dict[str, object]] = []
    for place, name in enumerate(ANGLES):
        difference = frames[f"{name}_difference"].to_numpy()
        one, other = frames[f"{name}_a"].to_numpy(), frames[f"{name}_b"].to_numpy()
        moves = len(frames) > 1 and other.std() > 0 and one.std() > 0
        slope, offset = np.polyfit(other, one, 1) if moves else (np.nan, np.nan)
        rows.append(
            {
                "Angle": name,
                **_limits(difference),
                "Slope": slope,
                "Offset": offset,
                "Correlation": np.corrcoef(one, other)[0, 1] if moves else np.nan,
                "Constant": constants[place],
                "AroundConstant": np.sqrt(np.square(rest[:, place]).mean()),
            }
        )
    around = np.rad2deg(left.magnitude())
    rows.append(
        {
            "Angle": "Rotation",
            **_limits(frames["Angle"].to_numpy()),
            "Constant": np.rad2deg(constant.magnitude()),
            "AroundConstant": np.sqrt(np.square(around).mean()),
        }
    )
    return pd.DataFrame(rows)


def _limits(difference: NDArray[np.float64]) -> dict[str, float]:
    mean = float(difference.mean())
    sd = float(difference.std(ddof=1)) if len(difference) > 1 else np.nan
    return {
        "Frames": len(difference),
        "Difference": mean,
        "SD": sd,
        "LimitLow": mean - _LIMITS * sd,
        "LimitHigh": mean + _LIMITS * sd,
    }
