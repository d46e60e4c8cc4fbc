"""A pose table as rotations in the order of time, person by person."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import MotionError, PoseWarning
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import Convention
from feat_pose_plugin.pose.convert import (
    convention_of,
    find_pose_columns,
    pose_numbers,
    require_radians,
)
from feat_pose_plugin.pose.quality import ERROR_COLUMN, FLAGS_COLUMN, is_flagged
from feat_pose_plugin.pose.rotations import matrix_to_rotvec
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.tables.frames import PERSON_COLUMNS, frame_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

GROUP_COLUMNS = ("input", *PERSON_COLUMNS)
"""What tells files and persons apart where nobody says."""
_LEAST_ERROR = 0.1  # degrees; no row outweighs all others


@dataclass(frozen=True)
class PoseSeries:
    """The samples of a table that have a person and a frame, sorted by both.

    Attributes:
        convention: Of the table's pose.
        tag: Of the table.
        labels: Its pose columns, in the order of the convention.
        rows: ``[n]`` row of the table of each sample, by position.
        person: ``[n]`` number of the person.
        frame: ``[n]`` number of the frame.
        turn: ``[n]`` rotations in camera axes from the convention's own zero; identity where there
            is no pose.
        translation: ``[n, 3]`` X, Y, Z as in the table; 0 where there is no pose.
        weight: ``[n]`` 1 for a pose that counts, or ``1 / PoseError**2``; 0 where there is none.
    """

    convention: Convention
    tag: PoseTag
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

    def write(
        self,
        table: pd.DataFrame,
        turn: Rotation,
        translation: NDArray[np.float64],
        known: NDArray[np.bool_],
        tag: PoseTag,
    ) -> pd.DataFrame:
        """A copy of the table with these rotations and X, Y, Z of the samples, NaN elsewhere."""
        angles = self.convention.from_matrix(torch.from_numpy(turn.as_matrix())).numpy()
        values = np.full((len(table), len(self.labels)), np.nan)
        pose = np.concatenate([angles, translation], axis=1)[:, : len(self.labels)]
        values[self.rows] = np.where(known[:, None], pose, np.nan)
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
) -> PoseSeries:
    """The pose of a table as series; see :func:`smooth_pose` for what is read and refused."""
    here = convention_of(table, convention)
    tag = read_tag(table) or PoseTag(here.name)
    check_tag(tag, here.name, "the table")
    labels = find_pose_columns(table, here)
    values = pose_numbers(table, labels)
    require_radians(values, here)
    width = len(here.rotation_columns)
    rotvec = matrix_to_rotvec(here.to_matrix(values[:, :width])).numpy()
    translation = values[:, width:].numpy() if len(labels) > width else np.zeros((len(table), 3))

    weight = np.isfinite(rotvec).all(axis=1).astype(np.float64)
    flags = find_column(table, FLAGS_COLUMN)
    if flags is not None and not use_flagged:
        flagged = is_flagged(flags)
        if weight.any() and not weight[~flagged].any():
            raise MotionError(
                f"every row with a pose is flagged, the first one {flags[weight > 0].iloc[0]!r}. "
                "See what the flags say; with use_flagged=True (--use-flagged) the rows count."
            )
        weight[flagged] = 0
    error = find_column(table, ERROR_COLUMN)
    if error is not None:
        degrees = error.to_numpy(np.float64, na_value=np.nan)
        weight *= np.nan_to_num(1 / np.maximum(degrees, _LEAST_ERROR) ** 2, nan=0.0)

    person, frame = _persons(table, by), frame_numbers(table)
    if frame is None:  # the rows of a person are consecutive frames
        import pandas as pd

        frame = pd.Series(person).groupby(person).cumcount().to_numpy().astype(np.float64)
    if (frame % 1 > 0).any():
        raise MotionError(
            "the column 'frame' holds numbers that are not whole. Number the frames from 0, or "
            "drop the column: the rows are consecutive frames then."
        )
    nobodys = np.count_nonzero((person < 0) & (weight > 0))
    if nobodys:
        warnings.warn(
            f"{nobodys} rows with a pose say nobody in {group_columns(table, by)}, so they are "
            "left out. Fill that column in, or pass by=, another one.",
            PoseWarning,
            stacklevel=3,
        )
    rows = np.lexsort((frame, person))
    rows = rows[(person[rows] >= 0) & np.isfinite(frame[rows])]
    person, whole = person[rows], frame[rows].astype(np.int64)
    twice = (np.diff(person) == 0) & (np.diff(whole) == 0)
    if twice.any():
        raise MotionError(
            f"frame {whole[:-1][twice][0]} has two rows of one person. Pass by=, the column that "
            "tells persons apart (py-feat's Identity, OpenFace's face_id), or keep one row a frame."
        )
    weight = weight[rows]
    known = weight[:, None] > 0
    turn = Rotation.from_rotvec(np.where(known, rotvec[rows], 0.0))
    translation = np.where(known, translation[rows], 0.0)
    return PoseSeries(here, tag, labels, rows, person, whole, turn, translation, weight)


def group_columns(table: pd.DataFrame, by: str | Sequence[str] | None) -> list[Hashable]:
    """The labels of the columns that tell series apart; none for a table of one series."""
    label_of = {str(label).strip(): label for label in table.columns}
    if by is None:
        labels = [label_of[name] for name in GROUP_COLUMNS if name in label_of]
        return [label for label in labels if table[label].notna().any()]
    names = [by] if isinstance(by, str) else list(by)
    missing = [name for name in names if name not in label_of]
    if missing:
        raise MotionError(
            f"the table has no column {missing[0]!r} to tell persons apart. Its columns begin with "
            f"{', '.join(map(str, list(label_of)[:6]))}."
        )
    return [label_of[name] for name in names]


def _persons(table: pd.DataFrame, by: str | Sequence[str] | None) -> NDArray[np.intp]:
    """``[rows]`` a number for each person of each file, -1 where the row says none."""
    labels = group_columns(table, by)
    if not labels:
        return np.zeros(len(table), np.intp)
    return table.groupby(labels, sort=False).ngroup().fillna(-1).to_numpy().astype(np.intp)
