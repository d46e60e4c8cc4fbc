"""Pose from one convention into another: tables, tensors and arrays."""

from __future__ import annotations

import math
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.arguments import is_length, is_plain
from feat_pose_plugin.pose.columns import to_doubles
from feat_pose_plugin.pose.conventions import (
    Convention,
    TranslationUnit,
    find_convention,
    from_rotvec_pose,
    to_rotvec_pose,
    unit_ratio,
)
from feat_pose_plugin.pose.rotations import is_rotation
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Pose = TypeVar("Pose", pd.DataFrame, Tensor, NDArray[Any])

_BOTTOM_ROW = [0.0, 0.0, 0.0, 1.0]


def convert_pose(
    data: Pose, source: str | None, target: str, *, inter_ocular_mm: float | None = None
) -> Pose:
    """Express pose in another convention. What each means is in docs/conventions.md.

    In tensors and arrays a pose is, with and without its translation,

    - ``[..., 6]`` ``Pitch, Roll, Yaw, X, Y, Z`` and ``[..., 3]`` where the convention has angles
      (in ``openface`` too, where they are ``pose_Rx, pose_Rz, pose_Ry``);
    - ``[..., 7]`` ``w, x, y, z, X, Y, Z`` and ``[..., 4]`` in ``quaternion``;
    - ``[..., 4, 4]`` and ``[..., 3, 3]`` in ``matrix`` and ``mediapipe``.

    In a table it is the columns of these names, ``q_w`` to ``q_z`` for a quaternion, ``r_00`` to
    ``r_22`` for a matrix; spaces around them do not matter. ``openface`` is written under
    OpenFace's own names, and read under them or as the six. Without ``X, Y, Z`` there are none
    afterwards.

    X, Y, Z are expressed in other axes and another unit, no more: the camera and the point of the
    head that they were measured with stay.

    Args:
        data: A table, tensor or array; quaternions of any length, matrices of any uniform scale.
        source: What it is in; None for a table that is tagged.
        target: What it is wanted in.
        inter_ocular_mm: The distance of the outer eye corners in millimetres, which says how long
            a unit of img2pose's reference face is.

    Returns:
        The same kind of data, dtype (float64 for integers) and device; computed in float64 on the
        CPU. A table keeps its index and all other columns, has the new columns in the place of the
        old ones, and says in ``attrs`` what they are in. NaN in a rotation is NaN in the rotation
        of that row. X, Y, Z are NaN where their unit changes and nothing says how long it is:
        ``openface`` has millimetres, ``mediapipe`` centimetres, ``feat-mp`` pixels, which no length
        makes a place in space; all others have units of img2pose's reference face.

    Raises:
        ConventionError: A name is unknown, the table says that it is in another convention than
            ``source``, there is no pose in it, a tenth of the rows have radians beyond pi, or a
            matrix or quaternion is no rotation.
    """
    import pandas as pd

    there = find_convention(target)
    if inter_ocular_mm is not None and not is_length(inter_ocular_mm):
        raise ConventionError(
            f"inter_ocular_mm must be a length in millimetres, above 0, got {inter_ocular_mm!r}."
        )
    if isinstance(data, pd.DataFrame):
        return _convert_table(data, source, there, inter_ocular_mm)
    if source is None:
        raise ConventionError("an array does not say which convention it is in. Pass source.")
    here = find_convention(source)
    values = _flatten(_doubles(data), here)
    converted = _convert(values, here, here.translation_unit, there, inter_ocular_mm)
    if there.representation == "matrix":
        converted = _to_matrix(converted)
    if isinstance(data, Tensor):
        dtype = data.dtype if data.is_floating_point() else torch.float64
        return converted.to(data.device, dtype)
    return converted.numpy().astype(_float_dtype(data.dtype))


def _doubles(data: object) -> Tensor:
    """A tensor or array in float64, on the CPU; what is masked is NaN."""
    if isinstance(data, Tensor):
        found = f"{data.dtype}, layout {data.layout}, on device {data.device}"
        if is_plain(data):
            with suppress(RuntimeError):  # dtypes that torch can only store
                return data.to("cpu", torch.float64, copy=True)
    elif isinstance(data, np.ndarray):
        found = str(data.dtype)
        if data.dtype.kind in "fiu":
            return torch.from_numpy(np.ma.filled(data.astype(np.float64), np.nan))
    else:
        found = type(data).__qualname__
    raise ConventionError(
        f"pose must be real numbers in a DataFrame, dense tensor or array, got {found}."
    )


def _flatten(values: Tensor, here: Convention) -> Tensor:
    """``[..., k]`` or ``[..., k + 3]`` columns of what an array holds."""
    width = len(here.rotation_columns)
    if here.representation != "matrix":
        shapes = f"[..., {width + 3}] or [..., {width}]"
        if values.shape[-1:] in ((width,), (width + 3,)):
            return values
    else:
        shapes = "[..., 4, 4] or [..., 3, 3]"
        if values.shape[-2:] == (3, 3):
            return values.flatten(-2)
        if values.shape[-2:] == (4, 4):
            bottom = values[..., 3, :]
            off = (bottom - bottom.new_tensor(_BOTTOM_ROW)).abs().amax(dim=-1) > 1e-3
            if off.any():
                raise ConventionError(
                    f"the bottom row of a 4 x 4 matrix is {bottom[off][0].tolist()}, not "
                    f"{_BOTTOM_ROW}. Is it transposed? X, Y, Z belong into the last column."
                )
            return torch.cat([values[..., :3, :3].flatten(-2), values[..., :3, 3]], dim=-1)
    raise ConventionError(
        f"pose in convention {here.name!r} has shape {shapes}, got {list(values.shape)}."
    )


def _to_matrix(values: Tensor) -> Tensor:
    """``[..., 9]`` columns to ``[..., 3, 3]``, ``[..., 12]`` to ``[..., 4, 4]``."""
    rotation = values[..., :9].reshape(*values.shape[:-1], 3, 3)
    if values.shape[-1] == 9:
        return rotation
    top = torch.cat([rotation, values[..., 9:, None]], dim=-1)
    bottom = values.new_tensor(_BOTTOM_ROW).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def _convert(
    values: Tensor,
    here: Convention,
    unit: TranslationUnit,
    there: Convention,
    inter_ocular_mm: float | None,
) -> Tensor:
    """Columns of one convention, their X, Y, Z in some unit, to those of another, in its own."""
    require_radians(values, here)
    ratio = unit_ratio(unit, there.translation_unit, inter_ocular_mm)
    if here is there and ratio == 1:
        return values
    rotation, translation = values.tensor_split([len(here.rotation_columns)], dim=-1)
    rotation, translation = _without_scale(rotation, here), translation * ratio
    same = [(c.representation, c.axes, c.zero) for c in (here, there)]
    if same[0] == same[1]:  # only names, signs and unit differ
        return torch.cat([there.from_parts(here.to_parts(rotation)), translation], dim=-1)
    pose = to_rotvec_pose(torch.cat([rotation, translation], dim=-1), here.name)
    return from_rotvec_pose(pose, there.name)


def require_radians(values: Tensor, here: Convention) -> None:
    """Refuse ``[..., k]`` columns of which a tenth of the rows have an angle beyond pi.

    A few rows may: a network can say anything.
    """
    if here.degrees or not here.has_angles:
        return
    largest = values[..., :3].abs().amax(dim=-1)
    largest = largest[largest.isfinite()]
    if (largest > 1.001 * math.pi).double().mean() > 0.1:
        raise ConventionError(
            f"the pose has angles up to {largest.max().item():.4g}, and in convention "
            f"{here.name!r} they are radians. Are they degrees? Say the convention that they are "
            "in: 'degrees' if this package wrote them. On the command line: --convention, --from, "
            "or --from-a."
        )


def _without_scale(rotation: Tensor, here: Convention) -> Tensor:
    """Matrices and quaternions without their scale; all else as it is."""
    if here.representation not in ("matrix", "quaternion"):
        return rotation
    known = rotation.isfinite().all(dim=-1)
    normal = rotation / rotation.abs().amax(dim=-1, keepdim=True)  # its squares are finite
    if here.representation == "matrix":
        matrix = normal.reshape(*rotation.shape[:-1], 3, 3)
        scale = torch.linalg.det(matrix.nan_to_num(0)).abs() ** (1 / 3)
        matrix = matrix / scale[..., None, None]
        wrong = known & ~is_rotation(matrix)
        normal = torch.where(known[..., None], matrix.flatten(-2), torch.nan)
    else:
        wrong = (rotation == 0).all(dim=-1)
    if wrong.any():
        raise ConventionError(
            f"{rotation[wrong][0].tolist()} is no rotation in convention {here.name!r}. Is it in "
            "another one? A row without a pose is NaN."
        )
    return normal


def _convert_table(
    table: pd.DataFrame, source: str | None, there: Convention, inter_ocular_mm: float | None
) -> pd.DataFrame:
    tag = read_tag(table)
    if source is None:
        if tag is None:
            raise ConventionError(
                "the table does not say which convention its pose is in, or its numbers are not "
                "those that its tag was written for. Pass source, on the command line --from."
            )
        source = tag.convention
    check_tag(tag, source, "the table")
    here = find_convention(source)
    labels = find_pose_columns(table, here)
    unit = (tag.translation_unit if tag else None) or here.translation_unit
    converted = _convert(pose_numbers(table, labels), here, unit, there, inter_ocular_mm).numpy()
    converted = converted.astype(_float_dtype(*(table[label].dtype for label in labels)))
    width = len(there.rotation_columns)
    names = there.columns if converted.shape[1] > width else there.rotation_columns
    values = dict(zip(names, converted.T, strict=True))
    if there.table_names:
        values = {own: values[name] for name, own in there.table_names.items() if name in values}
    result = _replace_columns(table, labels, values)
    known = replace(tag or PoseTag(here.name), convention=there.name, translation_unit=None)
    write_tag(result, known, converted[:, :width])
    return result


def convention_of(table: pd.DataFrame, said: str | None) -> Convention:
    """What the pose of a table is in: what the caller says, else what its tag says.

    Without a tag it is ``openface`` under OpenFace's names of columns, else ``feat``.
    """
    if said is not None:
        return find_convention(said)
    tag = read_tag(table)
    if tag is not None:
        return find_convention(tag.convention)
    openface = find_convention("openface")
    names = {str(label).strip() for label in table.columns}
    rotation = {openface.table_names[name] for name in openface.rotation_columns}
    is_openface = rotation <= names and "Pitch" not in names
    return openface if is_openface else find_convention("feat")


def find_pose_columns(table: pd.DataFrame, here: Convention) -> list[Hashable]:
    """The labels of the pose columns in a convention, in its order; X, Y, Z only if there are any.

    Raises:
        ConventionError: The table has no pose in this convention, or some columns of it several
            times or not at all.
    """
    stripped = [str(label).strip() for label in table.columns]
    sets = [here.columns]
    if here.table_names:
        sets.append([here.table_names[name] for name in here.columns])
    present = [names for names in sets if set(names[:-3]) <= set(stripped)]
    if not present:
        known = " or ".join(", ".join(names) for names in sets)
        raise ConventionError(
            f"the table has no pose in convention {here.name!r}, which is in columns {known}."
        )
    if len(present) > 1:
        both = " and in ".join(", ".join(names[:-3]) for names in present)
        raise ConventionError(f"the table has a rotation in {both}. Drop one of them.")
    (names,) = present
    wanted = names if set(names[-3:]) & set(stripped) else names[:-3]
    for name in wanted:
        if stripped.count(name) != 1:
            raise ConventionError(
                f"the table has {stripped.count(name)} columns {name!r}, not one."
            )
    return [table.columns[stripped.index(name)] for name in wanted]


def pose_numbers(table: pd.DataFrame, labels: list[Hashable]) -> Tensor:
    """``[n, k]`` float64 values of columns; a ConventionError if one is no number."""
    columns = [to_doubles(table[label], ConventionError) for label in labels]
    return torch.from_numpy(np.stack(columns, axis=1))


def _float_dtype(*dtypes: object) -> np.dtype[np.floating]:
    """The dtype of floats among which nothing is lost; float64 if there is anything else."""
    plain = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]
    floats = [d for d in plain if isinstance(d, np.dtype) and d.kind == "f"]
    return np.result_type(*floats) if len(floats) == len(plain) else np.dtype(np.float64)


def _replace_columns(
    table: pd.DataFrame, old: list[Hashable], new: dict[str, NDArray[np.generic]]
) -> pd.DataFrame:
    """New columns in the place of old ones; those whose names stay keep their own place."""
    place_of = {str(label).strip(): label for label in old}
    others = {str(label).strip() for label in table.columns.drop(old)}
    taken = [name for name in new if name in others]
    if taken:
        raise ConventionError(
            f"the table has other columns {', '.join(taken)}, where the converted pose would go. "
            "Drop or rename them."
        )
    if set(new) == set(place_of):
        result = table.copy()
        for name, values in new.items():
            result[place_of[name]] = values
        return result
    place = int(table.columns.isin(old).argmax())
    result = table.drop(columns=old).copy()  # in one piece, or pandas warns at each insertion
    for name, values in reversed(new.items()):
        result.insert(place, name, values)
    return result
