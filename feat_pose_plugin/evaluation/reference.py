"""Faces with a known pose: what a backend is measured against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError, TableError
from feat_pose_plugin.evaluation.angles import angles_of
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.landmarks import Landmarks, read_landmarks
from feat_pose_plugin.pose.rotations import geodesic_angle, is_rotation
from feat_pose_plugin.pose.tag import check_tag, read_tag
from feat_pose_plugin.tables.stream import FORMATS, read_table

if TYPE_CHECKING:
    import pandas as pd

# Published angles and matrices of one face may differ by rounding, not by a convention.
_MOST_DISAGREEMENT_DEG = 0.5


@dataclass(frozen=True)
class Reference:
    """Faces with a known pose.

    Attributes:
        name: What reports call the set.
        landmarks: The landmarks of n faces.
        rotation: ``[n, 3, 3]`` float64 rotations in img2pose's camera axes (x right, y down, z
            away from the camera), from the head's zero of ``convention``. NaN where not known.
        convention: ``"300w-lp"``, ``"feat"``, ``"img2pose"`` or ``"rotvec"``.
        published_deg: ``[n, 3]`` angles about x, y and z as the source states them, degrees;
            those of ``rotation`` if None. They differ where a source has |yaw| above 90 degrees.
        frame_size: Height and width of the video frames in pixels: one pair, or ``[n, 2]`` with
            NaN where not known.
        groups: ``[n]`` values that are equal for faces that belong together (frames of one
            video): bootstrap draws them together. Each face on its own if None.
    """

    name: str
    landmarks: Landmarks
    rotation: Tensor
    convention: str
    published_deg: Tensor | None = None
    frame_size: FrameSize | Tensor | None = None
    groups: NDArray[np.generic] | None = None

    def __post_init__(self) -> None:
        faces = len(self.landmarks.points)
        _check_rotation(self.name, self.rotation, faces)
        if self.published_deg is not None:
            _check_published(self.name, self.published_deg, self.rotation, self.convention)
        if not (self.frame_size is None or np.shape(self.frame_size) in ((2,), (faces, 2))):
            raise EvaluationError(
                f"frame_size of {self.name} has shape {list(np.shape(self.frame_size))}, expected "
                f"[2] or [{faces}, 2]: height and width in pixels."
            )
        if self.groups is not None and self.groups.shape != (faces,):
            raise EvaluationError(
                f"groups of {self.name} have shape {list(self.groups.shape)}, expected [{faces}]: "
                "one value for each face."
            )

    @property
    def angles_deg(self) -> Tensor:
        """``[n, 3]`` angles about x, y and z in degrees, as published if they are."""
        if self.published_deg is not None:
            return self.published_deg
        return angles_of(self.convention).from_matrix(self.rotation)


def read_reference(
    path: str | Path,
    *,
    landmarks: str = "landmarks",
    convention: str = "300w-lp",
    groups: str | None = None,
) -> Reference:
    """Read faces with a known pose from an NPZ file or from a table.

    An NPZ file holds ``rotation`` [n, 3, 3] in the axes of 300W-LP (x right, y up, z towards the
    camera), landmarks in any layout that :func:`~feat_pose_plugin.estimate_pose` reads, and, if it
    likes, ``pitch_yaw_roll_deg`` [n, 3] and ``frame_size`` [2] (height, width). A table (CSV or
    Parquet by suffix) holds landmark columns and the rotation, ``Pitch, Roll, Yaw`` in the
    convention's unit, or, in convention ``rotvec``, ``r_x, r_y, r_z`` in radians; if it likes,
    ``FrameHeight`` and ``FrameWidth``. Spaces around column names are ignored.

    Args:
        path: ``*.npz``, ``*.csv`` or ``*.parquet``.
        landmarks: Which array of an NPZ file holds the landmarks.
        convention: The convention of a table's angles. An NPZ file is always ``"300w-lp"``.
        groups: Array or column whose equal values say which faces belong together.

    Returns:
        The faces, in the order of the file.

    Raises:
        TableError: The file cannot be read, or its suffix is unknown.
        EvaluationError: The reference pose is missing or malformed.
        LandmarkError: The landmarks are missing or malformed.
        ConventionError: Poses in this convention cannot be read, or the table says that its own
            are in another.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _read_npz(path, landmarks, convention, groups)
    return _read_table(path, convention, groups)


def read_arrays(
    path: Path, required: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, NDArray[np.generic]]:
    """Arrays of an NPZ file by name; nothing pickled is loaded.

    Raises:
        TableError: The file cannot be read.
        EvaluationError: A required array is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in required if key not in file]
            if missing:
                raise EvaluationError(
                    f"{path} has no array {', '.join(map(repr, missing))}. Its arrays: "
                    f"{', '.join(map(repr, file.files))}."
                )
            return {key: file[key] for key in (*required, *optional) if key in file}
    except (OSError, BadZipFile, AttributeError, ValueError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise TableError(f"{path} cannot be read as an NPZ file: {error}.") from error


def as_doubles(path: Path, name: str, array: NDArray[np.generic], *shape: int) -> Tensor:
    """A float64 tensor ``[n, *shape]`` of an array.

    Raises:
        EvaluationError: The array has another shape or does not hold real numbers.
    """
    if array.dtype.kind not in "fiu" or array.shape[1:] != shape or array.ndim == 0:
        raise EvaluationError(
            f"array {name!r} of {path} is {array.dtype} of shape {list(array.shape)}; expected "
            f"numbers of shape {['n', *shape]}."
        )
    return torch.from_numpy(array.astype(np.float64))


def as_frame_size(path: Path, array: NDArray[np.generic]) -> FrameSize:
    """Height and width of an array ``[2]``.

    Raises:
        EvaluationError: The array is something else.
    """
    if array.dtype.kind not in "iu" or array.shape != (2,):
        raise EvaluationError(
            f"array 'frame_size' of {path} is {array.dtype} of shape {list(array.shape)}; "
            "expected two integers, height and width in pixels."
        )
    return int(array[0]), int(array[1])


def _read_npz(path: Path, landmarks: str, convention: str, groups: str | None) -> Reference:
    if convention != "300w-lp":
        raise EvaluationError(
            f"{path}: the rotations of an NPZ file are those of '300w-lp', not of {convention!r}. "
            "Leave the convention out, or pass a table."
        )
    required = [landmarks, "rotation", *([groups] if groups else [])]
    arrays = read_arrays(path, required, ["pitch_yaw_roll_deg", "frame_size"])
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    rotation = as_doubles(path, "rotation", arrays["rotation"], 3, 3)
    published = arrays.get("pitch_yaw_roll_deg")
    size = arrays.get("frame_size")
    return Reference(
        name=f"{path.name}, {landmarks}",
        landmarks=read_landmarks(arrays[landmarks]),
        rotation=flip[:, None] * rotation * flip,
        convention=convention,
        published_deg=None
        if published is None
        else as_doubles(path, "pitch_yaw_roll_deg", published, 3),
        frame_size=None if size is None else as_frame_size(path, size),
        groups=arrays[groups] if groups else None,
    )


def _read_table(path: Path, convention: str, groups: str | None) -> Reference:
    angles = angles_of(convention)
    if path.suffix.lower() not in FORMATS:
        raise TableError(f"{path} is none of *.npz, *.csv and *.parquet.")
    table = read_table(path).rename(columns=str.strip)
    if angles.convention.has_angles:  # the tag is of Pitch, Roll, Yaw
        check_tag(read_tag(table), convention, str(path))
    degrees = _numbers(path, table, angles.columns) * angles.column_degrees
    sizes = ("FrameHeight", "FrameWidth")
    known = set(sizes) <= set(table.columns)
    if groups is not None and groups not in table.columns:
        raise EvaluationError(
            f"{path} has no column {groups!r} to group faces by. Its columns that are no "
            f"landmarks: {_other_columns(table)}."
        )
    return Reference(
        name=path.name,
        landmarks=read_landmarks(table),
        rotation=angles.to_matrix(degrees),
        convention=convention,
        published_deg=degrees,
        frame_size=_numbers(path, table, sizes) if known else None,
        groups=table[groups].to_numpy() if groups else None,
    )


def _numbers(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> Tensor:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise EvaluationError(
            f"{path} has no column {', '.join(map(repr, missing))} with the reference pose. Its "
            f"columns that are no landmarks: {_other_columns(table)}."
        )
    try:
        return torch.tensor(table[list(columns)].to_numpy(np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path}: columns {', '.join(columns)} hold something that is not a number: {error}. "
            "Correct it, or leave the cell empty where the pose is not known."
        ) from error


def _other_columns(table: pd.DataFrame) -> str:
    return ", ".join(repr(name) for name in table.columns if not name.rpartition("_")[2].isdigit())


def _check_rotation(name: str, rotation: Tensor, faces: int) -> None:
    if rotation.shape != (faces, 3, 3) or rotation.dtype != torch.float64:
        raise EvaluationError(
            f"the reference rotations of {name} are {rotation.dtype} of shape "
            f"{list(rotation.shape)}; expected torch.float64 of shape {[faces, 3, 3]}, one for "
            "each face."
        )
    known = rotation.isfinite().flatten(1).all(dim=1)
    wrong = known & ~is_rotation(rotation)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise EvaluationError(
            f"the reference of face {row} of {name} is no rotation matrix: "
            f"{rotation[row].tolist()}."
        )


def _check_published(name: str, degrees: Tensor, rotation: Tensor, convention: str) -> None:
    if degrees.shape != (len(rotation), 3):
        raise EvaluationError(
            f"the reference angles of {name} have shape {list(degrees.shape)}, expected "
            f"{[len(rotation), 3]}."
        )
    apart = geodesic_angle(angles_of(convention).to_matrix(degrees), rotation).rad2deg()
    wrong = apart > _MOST_DISAGREEMENT_DEG
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise EvaluationError(
            f"the reference angles {degrees[row].tolist()} of face {row} of {name} are "
            f"{float(apart[row]):.1f} degrees away from its reference rotation. One of them is in "
            f"another convention than {convention!r}."
        )
