"""Faces with a known pose: what a backend is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError, TableError
from feat_pose_plugin.evaluation.angles import (
    angle_names,
    angles_to_matrix,
    columns_to_angles,
    matrix_to_angles,
)
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.convert import find_pose_columns, pose_numbers, require_radians
from feat_pose_plugin.pose.frame_sizes import frame_sizes_of
from feat_pose_plugin.pose.landmarks import Landmarks, read_landmarks
from feat_pose_plugin.pose.rotations import geodesic_angle, is_rotation
from feat_pose_plugin.pose.tag import check_tag, read_tag
from feat_pose_plugin.tables.stream import naming, read_table

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
        convention: Whose angles are measured: ``"300w-lp"``, ``"feat"``, ``"img2pose"``, ...
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
        known = self.rotation.isfinite().flatten(1).all(dim=1)
        wrong = known & ~is_rotation(self.rotation)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise EvaluationError(
                f"the reference of face {row} of {self.name} is no rotation matrix: "
                f"{self.rotation[row].tolist()}."
            )
        stated = angles_to_matrix(self.angles_deg, self.convention)
        apart = geodesic_angle(stated, self.rotation).rad2deg()
        wrong = apart > _MOST_DISAGREEMENT_DEG
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise EvaluationError(
                f"the reference angles {self.angles_deg[row].tolist()} of face {row} of "
                f"{self.name} are {float(apart[row]):.1f} degrees away from its reference "
                f"rotation. One of them is in another convention than {self.convention!r}."
            )

    @property
    def angles_deg(self) -> Tensor:
        """``[n, 3]`` angles about x, y and z in degrees, as published if they are."""
        if self.published_deg is not None:
            return self.published_deg
        return matrix_to_angles(self.rotation, self.convention)


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
        EvaluationError: An array is missing, or what it holds is no reference pose.
        LandmarkError: The landmarks are missing or malformed.
        ConventionError: A table has no pose in this convention, or says that its pose is in
            another.
    """
    path = Path(path)
    with naming(path):
        if path.suffix == ".npz":
            return _read_npz(path, landmarks, convention, groups)
        return _read_table(path, convention, groups)


def read_arrays(
    path: Path,
    needed: Mapping[str, tuple[int, ...] | None],
    optional: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, NDArray[np.generic]], FrameSize | None]:
    """Arrays of an NPZ file by name, and its ``frame_size``; nothing pickled is loaded.

    Arrays have equally many rows. Those whose rows have a stated shape hold numbers, and are read
    as float64.
    """
    shapes = {**needed, **optional}
    try:
        with np.load(path, allow_pickle=False) as file:
            present = file.files
            arrays = {key: file[key] for key in (*shapes, "frame_size") if key in present}
    except (OSError, BadZipFile, TypeError, ValueError) as error:
        raise TableError(f"{path} cannot be read as an NPZ file: {error}.") from error
    missing = ", ".join(repr(key) for key in needed if key not in arrays)
    if missing:
        known = ", ".join(map(repr, present))
        raise EvaluationError(f"there is no array {missing}. The arrays are {known}.")
    size = arrays.pop("frame_size", None)
    rows = next(iter(arrays.values())).shape[:1]
    for key, array in arrays.items():
        shape = shapes[key]
        sound = shape is None or (array.dtype.kind in "fiu" and array.shape[1:] == shape)
        if not rows or array.shape[:1] != rows or not sound:
            raise EvaluationError(
                f"array {key!r} is {array.dtype} of shape {list(array.shape)}; expected "
                f"{'numbers' if shape else 'values'} of shape {[*rows, *(shape or ())]}."
            )
        arrays[key] = array if shape is None else array.astype(np.float64)
    return arrays, None if size is None else tuple(size.ravel().tolist())


def _read_npz(path: Path, landmarks: str, convention: str, groups: str | None) -> Reference:
    if convention != "300w-lp":
        raise EvaluationError(
            f"the rotations of an NPZ file are those of '300w-lp', not of {convention!r}. Leave "
            "the convention out, or pass a table."
        )
    needed = {"rotation": (3, 3), landmarks: None, **({groups: None} if groups else {})}
    arrays, size = read_arrays(path, needed, {"pitch_yaw_roll_deg": (3,)})
    flip = np.diag([1.0, -1.0, -1.0])
    published = arrays.get("pitch_yaw_roll_deg")
    return Reference(
        name=f"{path.name}, {landmarks}",
        landmarks=read_landmarks(arrays[landmarks]),
        rotation=torch.from_numpy(flip @ arrays["rotation"] @ flip),
        convention=convention,
        published_deg=None if published is None else torch.from_numpy(published),
        frame_size=size,
        groups=arrays[groups] if groups else None,
    )


def _read_table(path: Path, convention: str, groups: str | None) -> Reference:
    angle_names(convention)  # there are some
    here, table = find_convention(convention), read_table(path)
    if here.has_angles:  # the tag is of Pitch, Roll, Yaw
        check_tag(read_tag(table), convention, "the table")
    values = pose_numbers(table, find_pose_columns(table, here)[:3])
    require_radians(values, here)
    members = None if groups is None else find_column(table, groups)
    if groups is not None and members is None:
        raise EvaluationError(f"there is no column {groups!r} to group faces by.")
    sizes = frame_sizes_of(table)
    return Reference(
        name=path.name,
        landmarks=read_landmarks(table),
        rotation=here.to_matrix(values),
        convention=convention,
        published_deg=columns_to_angles(values, convention),
        frame_size=None if sizes is None else sizes.expand(len(table), 2),
        groups=None if members is None else members.to_numpy(),
    )
