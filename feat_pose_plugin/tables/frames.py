"""Which rows of a table are about which file, which frame of it, and which person."""

from __future__ import annotations

from os.path import commonprefix
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from feat_pose_plugin.errors import PictureError
from feat_pose_plugin.pose.columns import find_column, may_hold_numbers, to_doubles

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PERSON_COLUMNS = ("Identity", "face_id")  # py-feat's and OpenFace's

_LAST_FRAME = 1 << 40  # what is larger is a time, or damaged
_FIRST_ROWS = 100  # enough for the frame at time 0, and too few for a clock to drift


def frame_numbers(table: pd.DataFrame) -> NDArray[np.float64] | None:
    """``[n]`` the column ``frame``, NaN where a cell numbers no frame; None if no cell does."""
    numbers = _numbers(table, "frame")
    if numbers is None:
        return None
    numbers = np.where(np.abs(numbers) <= _LAST_FRAME, numbers, np.nan)
    return None if np.isnan(numbers).all() and len(numbers) else numbers


def first_frame(table: pd.DataFrame) -> int:
    """The number of a video's first frame in a table: 1 in OpenFace's, 0 in py-feat's and others.

    A table that counts from 1 shows it where it also has a column ``timestamp``: its frame at time
    0 is number 1.
    """
    frames, times = frame_numbers(table), _numbers(table, "timestamp")
    if frames is None or times is None:
        return 0
    order = np.argsort(times)[:_FIRST_ROWS]
    order = order[np.isfinite(times[order]) & np.isfinite(frames[order])]
    frames, times = frames[order], times[order]
    if len(np.unique(times)) < 2:
        return int(len(times) > 0 and times[0] == 0 and frames[0] == 1)
    _, at_zero = np.polyfit(times, frames, 1)
    return int(round(at_zero) == 1 and frames.min() >= 1)


def usual_step(frames: NDArray[np.float64]) -> float:
    """From one of these frames to the next, in any order: 1, or py-feat's ``skip_frames``."""
    steps = np.diff(np.unique(frames[np.isfinite(frames)]))
    return float(np.median(steps)) if len(steps) else 1.0


def rows_about(source: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one file, by the column ``input``; all rows where there is no such column.

    Files of one name are told apart by their folders, from the last one up. Paths may be those of
    another machine, Windows or not.
    """
    inputs = find_column(table, "input")
    if inputs is None or not inputs.notna().any():
        return table
    here = _parts(source.absolute())
    alike = {
        path: len(commonprefix([_parts(path), here]))  # noqa: RUF071 - of lists, not of texts
        for path in inputs.dropna().unique()
    }
    most = max(alike.values())
    found = [each for each, parts in alike.items() if parts == most]
    if most == 0 or len(found) > 1:
        listed = ", ".join(sorted(str(each) for each in (found if most else alike))[:4])
        raise PictureError(
            f"the table is about {listed}, not about {source.name}. Pass a file that it is about; "
            "if the file was renamed, drop the column 'input'."
            if most == 0
            else f"{source} could be any of {listed}, which the table is about. Pass the file from "
            "its own folder, or only the rows that you want."
        )
    rows = (inputs == found[0]).to_numpy(bool, na_value=False)
    return table.iloc[np.flatnonzero(rows)]


def persons(table: pd.DataFrame) -> dict[str, NDArray[np.intp]]:
    """The numbers of the rows of each person, by name, in the order in which they appear.

    A person is known by the column ``Identity`` or else ``face_id``, in a table about several files
    (column ``input``) together with the file. Rows without one of these are nobody's. Where all
    are of one person, or nothing tells persons apart, the name is ``""``.
    """
    import pandas as pd

    who = [find_column(table, name) for name in PERSON_COLUMNS]
    columns = [find_column(table, "input"), next((each for each in who if each is not None), None)]
    keys = [each.to_numpy() for each in columns if each is not None and each.nunique() > 1]
    if not keys:
        return {"": np.arange(len(table))}
    rows = pd.Series(np.arange(len(table)))
    groups = rows.groupby([pd.Series(key) for key in keys], sort=False).indices
    return {
        ", ".join(map(str, name if isinstance(name, tuple) else (name,))): np.asarray(found)
        for name, found in groups.items()
    }


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64] | None:
    """``[n]``, NaN in cells that hold no number; None where there is no column of numbers."""
    column = find_column(table, name)
    if column is None or not may_hold_numbers(column.dtype):
        return None
    return to_doubles(column, PictureError, strict=False)


def _parts(path: object) -> list[str]:
    """The parts of a path, the last one first; a backslash divides as well as a slash."""
    return list(reversed(PureWindowsPath(str(path)).parts))
