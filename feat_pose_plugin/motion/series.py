"""A pose table as rotations in the order of time, person by person."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import MotionError
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import Convention, find_convention
from feat_pose_plugin.pose.convert import find_pose_columns, pose_numbers, require_radians
from feat_pose_plugin.pose.quality import FLAGS_COLUMN, is_flagged
from feat_pose_plugin.pose.rotations import matrix_to_rotvec
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.tables.frames import PERSON_COLUMNS, frame_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

GROUP_COLUMNS = ("input", *PERSON_COLUMNS)
"""What tells files and persons apart where nobody says."""
WEIGHT_COLUMN = "PoseError"
_DEFAULT_CONVENTION = "feat"


@dataclass(frozen=True)
class PoseSeries:
    """The samples of a table, sorted by person and frame.

    Attributes:
        convention: Of the table's pose.
        labels: Its pose columns, in the order of the convention.
        rows: ``[n]`` row of the table of each sample, by position. Rows without a person
            or a frame are left out.
        person: ``[n]`` number of the person, ascending.
        frame: ``[n]`` number of the frame, ascending within a person.
        turn: ``[n]`` rotations in camera axes from the convention's own zero; identity where there
            is no pose.
        translation: ``[n, 3]`` X, Y, Z as in the table; 0 where there is no pose.
        weight: ``[n]`` 1 for a pose, or ``1 / PoseError**2``; 0 where there is none.
    """

    convention: Convention
    labels: list[Hashable]
    rows: NDArray[np.intp]
    person: NDArray[np.intp]
    frame: NDArray[np.int64]
    turn: Rotation
    translation: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def zero(self) -> Rotation:
        """From img2pose's zero of the head to that of the convention."""
        return Rotation.from_matrix(self.convention.zero_turn.numpy())

    @property
    def known(self) -> NDArray[np.bool_]:
        """``[n]`` which samples have a pose that counts."""
        return self.weight > 0

    def neighbours(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """``[n]`` the last sample with a pose up to each, and the first from each on.

        Only of the same person; -1 where there is none.
        """
        places = np.arange(len(self.rows))
        before = np.maximum.accumulate(np.where(self.known, places, -1))
        after = np.minimum.accumulate(np.where(self.known, places, len(places))[::-1])[::-1]
        after = np.where(after == len(places), -1, after)
        for found in (before, after):
            found[(found >= 0) & (self.person[found] != self.person)] = -1
        return before, after

    def write(
        self, table: pd.DataFrame, turn: Rotation, translation: NDArray[np.float64],
        known: NDArray[np.bool_], tag: PoseTag,
    ) -> pd.DataFrame:  # fmt: skip
        """A copy of the table with another pose in its pose columns.

        Args:
            table: The table that the series was read from.
            turn: ``[n]`` rotations of the samples.
            translation: ``[n, 3]``.
            known: ``[n]`` which of the samples have a pose; all other rows become NaN.
            tag: What the new columns are.
        """
        angles = self.convention.from_matrix(torch.from_numpy(turn.as_matrix())).numpy()
        width = len(self.convention.rotation_columns)
        values = np.full((len(table), len(self.labels)), np.nan)
        values[self.rows, :width] = np.where(known[:, None], angles, np.nan)
        if len(self.labels) > width:
            values[self.rows, width:] = np.where(known[:, None], translation, np.nan)
        result = table.copy()
        for label, column in zip(self.labels, values.T, strict=True):
            result[label] = column
        write_tag(result, tag)
        return result


def read_series(
    table: pd.DataFrame,
    *,
    by: str | Sequence[str] | None,
    convention: str | None,
    use_flagged: bool,
) -> tuple[PoseSeries, PoseTag]:
    """Read the pose of a table as series.

    Args:
        table: With pose columns. The column ``frame`` says which frame a row is about; without it
            the rows of a person are consecutive frames.
        by: The columns that tell files and persons apart; None for those of ``input``,
            ``Identity`` and ``face_id`` that the table has.
        convention: Of the pose; None for what the table's tag says, and ``feat`` without one.
        use_flagged: Whether rows with ``PoseFlags`` count; otherwise they are gaps.

    Returns:
        The series, and the tag of the table.

    Raises:
        MotionError: A person has two rows in one frame, a frame has no whole number, or a column
            of ``by`` is missing.
        ConventionError: The table has no pose in the convention, or has radians beyond pi.
    """
    found = read_tag(table)
    name = convention or (found.convention if found else _DEFAULT_CONVENTION)
    check_tag(found, name, "the table")
    here = find_convention(name)
    labels = find_pose_columns(table, here)
    values = pose_numbers(table, labels)
    require_radians(values, here)
    width = len(here.rotation_columns)
    rotvec = matrix_to_rotvec(here.to_matrix(values[:, :width])).numpy()
    translation = values[:, width:].numpy() if len(labels) > width else np.zeros((len(table), 3))

    known = np.isfinite(rotvec).all(axis=1)
    flags = find_column(table, FLAGS_COLUMN)
    if flags is not None and not use_flagged:
        flagged = is_flagged(flags)
        if known.any() and not (known & ~flagged).any():
            raise MotionError(
                f"every row with a pose is flagged, the first one {flags[known].iloc[0]!r}. See "
                "what the flags say; with use_flagged=True (--use-flagged) the rows count."
            )
        known &= ~flagged
    weight = known.astype(np.float64)
    error = find_column(table, WEIGHT_COLUMN)
    if error is not None:
        certain = error.to_numpy(np.float64, na_value=np.nan)
        weight *= np.nan_to_num(1 / np.maximum(certain, 0.1) ** 2, nan=0.0)

    person = _persons(table, by)
    frame = _frames(table, person)
    rows = np.lexsort((frame, person))
    rows = rows[(person[rows] >= 0) & np.isfinite(frame[rows])]
    person, whole = person[rows], frame[rows].astype(np.int64)
    twice = (np.diff(person) == 0) & (np.diff(whole) == 0)
    if twice.any():
        raise MotionError(
            f"frame {whole[:-1][twice][0]} has two rows of one person. Pass by=, the column that "
            "tells persons apart (py-feat's Identity, OpenFace's face_id), or keep one row a frame."
        )
    known = weight[rows] > 0
    series = PoseSeries(
        convention=here,
        labels=labels,
        rows=rows,
        person=person,
        frame=whole,
        turn=Rotation.from_rotvec(np.where(known[:, None], rotvec[rows], 0.0)),
        translation=np.where(known[:, None], translation[rows], 0.0),
        weight=weight[rows],
    )
    return series, found or PoseTag(name)


def group_columns(table: pd.DataFrame, by: str | Sequence[str] | None) -> list[Hashable]:
    """The labels of the columns that tell series apart; none for a table of one series.

    Raises:
        MotionError: A column of ``by`` is missing.
    """
    label_of = {str(label).strip(): label for label in table.columns}
    if by is None:
        return [label_of[name] for name in GROUP_COLUMNS if name in label_of]
    names = [by] if isinstance(by, str) else list(by)
    missing = [name for name in names if name not in label_of]
    if missing:
        raise MotionError(
            f"the table has no column {missing[0]!r} to tell persons apart. Its columns begin with "
            f"{', '.join(map(str, list(label_of)[:6]))}."
        )
    return [label_of[name] for name in names]


def require_rate(fps: float) -> None:
    """Refuse what is no number of frames per second.

    Raises:
        MotionError: It is not a positive number.
    """
    if not (isinstance(fps, int | float) and 0 < fps < np.inf):
        raise MotionError(
            f"fps must be the video's frames per second, a number above 0, got {fps!r}."
        )


def require_length(seconds: float) -> None:
    """Refuse what is no length of time.

    Raises:
        MotionError: It is not a number of seconds, 0 or more.
    """
    if not (isinstance(seconds, int | float) and 0 <= seconds < np.inf):
        raise MotionError(f"a length in seconds must be a number from 0, got {seconds!r}.")


def _persons(table: pd.DataFrame, by: str | Sequence[str] | None) -> NDArray[np.intp]:
    """``[rows]`` a number for each person of each file, -1 where the row says none."""
    labels = group_columns(table, by)
    if not labels:
        return np.zeros(len(table), np.intp)
    return table.groupby(labels, sort=False).ngroup().to_numpy().astype(np.intp)


def _frames(table: pd.DataFrame, person: NDArray[np.intp]) -> NDArray[np.float64]:
    """``[rows]`` whole numbers, NaN where the row says none."""
    numbers = frame_numbers(table)
    if numbers is None:
        import pandas as pd

        return pd.Series(person).groupby(person).cumcount().to_numpy().astype(np.float64)
    if (numbers % 1 > 0).any():
        raise MotionError(
            "the column 'frame' holds numbers that are not whole. Number the frames from 0, or "
            "drop the column: the rows are consecutive frames then."
        )
    return numbers
