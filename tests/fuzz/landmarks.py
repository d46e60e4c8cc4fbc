"""Landmarks in memory: tensors and arrays of any shape, dtype, layout and value."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from fuzz.choices import Choices
from fuzz.common import FACE, check_pose, estimator, known_pose
from torch import Tensor

from feat_pose_plugin import convert_pose
from feat_pose_plugin.errors import FeatPoseError, PoseWarning
from feat_pose_plugin.pose.landmarks import usable_rows

VALUES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, 1e-40, 1e5, 1e20, 3e38, 1e300, -1e19, 2.0**64]
SIZES = [0, 1, 2, 3, 4, 67, 68, 69, 136, 137, 468, 478]
DTYPES = [
    dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not dtype.is_complex
]
DTYPES += [torch.complex64, torch.complex32]
ARRAYS = [*"?bBhHiIlLfdgFDSUOMmV", ">f4", ">i2", "e", "M8[s]"]


def landmarks(data: bytes) -> None:
    choices = Choices(data)
    rows = choices.byte() % 6
    faces = FACE.numpy()[None].repeat(rows, axis=0).astype(np.float64)
    clean = set(range(rows))
    for _ in range(choices.byte() % 4):
        value, place = choices.pick(VALUES), choices.number()
        if faces.size:
            faces.reshape(-1)[place % faces.size] = value
            clean.discard(place % faces.size // 136)
    with warnings.catch_warnings(action="ignore"):
        source, exact = _source(faces, choices)
    kind = choices.pick(["auto", "2d", "3d"])
    size = _frame_size(choices, rows)
    with suppress(FeatPoseError):  # most are of no pose's shape
        convert_pose(source, "feat", "quaternion")
    try:
        with warnings.catch_warnings(action="ignore", category=PoseWarning):
            pose = estimator(kind, quality=bool(choices.byte() % 2))(source, frame_size=size)
    except FeatPoseError:
        assert not exact or size is not None, "sound landmarks are refused"
        return
    expected = sorted(clean) if exact else []
    if kind == "auto" and source.ndim == 3 and source.shape[2] == 3:
        kind = "3d"
    check_pose(pose, len(source), expected, known_pose(kind))
    if exact:
        usable = usable_rows(torch.from_numpy(faces)).numpy()
        assert pose.iloc[~usable, :6].isna().all(axis=None), "a pose of a row without a face"


def _source(faces: np.ndarray, choices: Choices) -> tuple[object, bool]:
    """Some form of the faces, and whether it holds them as they are, in a form that is promised."""
    exact = True
    match choices.byte() % 8:
        case 0:  # any shape
            shape = [choices.pick(SIZES) for _ in range(choices.byte() % 5)]
            faces = np.full(shape, choices.pick(VALUES)) if np.prod(shape) < 1e5 else faces[:0, 0]
            exact = False
        case 1:
            faces = faces.transpose(0, 2, 1).reshape(len(faces), 136)
        case 2:
            faces = np.concatenate([faces, faces[..., :1]], axis=2)
    match choices.byte() % 4:
        case 0:
            dtype = choices.pick(ARRAYS)
            exact &= dtype in ("f", "d", "g", ">f4")
            with np.errstate(all="ignore"):
                array = _cast(faces, dtype)
            return _array_layout(array, choices), exact
        case 1:
            return np.ma.masked_invalid(faces), exact
    dtype = choices.pick(DTYPES)
    try:
        tensor = torch.from_numpy(faces).to(dtype)
    except (RuntimeError, TypeError):
        tensor = torch.empty(faces.shape, dtype=dtype)
    exact &= dtype in (torch.float32, torch.float64)
    layout = choices.byte() % len(LAYOUTS)
    with suppress(RuntimeError, IndexError, TypeError, ValueError):
        tensor = LAYOUTS[layout](tensor)
    return tensor, exact and layout < 6


def _cast(faces: np.ndarray, dtype: str) -> np.ndarray:
    try:
        return faces.astype(dtype)
    except (TypeError, ValueError):
        return np.zeros(faces.shape, dtype)


def _array_layout(array: np.ndarray, choices: Choices) -> object:
    match choices.byte() % 6:
        case 1:
            return np.asfortranarray(array)
        case 2:
            return np.repeat(array, 2, axis=0)[::2] if array.ndim else array
        case 3:
            return array[::-1].copy()[::-1] if array.ndim else array
        case 4:
            array.flags.writeable = False
        case 5:
            return array.view(np.matrix) if array.ndim == 2 else array
    return array


LAYOUTS: list[Callable[[Tensor], Tensor]] = [  # the first six hold plain values
    lambda tensor: tensor,
    lambda tensor: tensor.mT.contiguous().mT,
    lambda tensor: tensor.repeat_interleave(2, dim=0)[::2],
    lambda tensor: tensor.requires_grad_(),
    lambda tensor: tensor.expand(tensor.shape),
    lambda tensor: torch._neg_view(-tensor),
    lambda tensor: tensor.to_sparse(),
    lambda tensor: tensor.to("meta"),
    lambda tensor: tensor.to_mkldnn(),
    lambda tensor: torch.nested.as_nested_tensor([*tensor]),
    lambda tensor: torch.quantize_per_tensor(tensor.float(), 0.5, 3, torch.quint8),
    lambda tensor: tensor.to_sparse_csr(),
]


def _frame_size(choices: Choices, rows: int) -> object:
    match choices.byte() % 6:
        case 1:
            return (1080, 1920)
        case 2:
            return torch.tensor([[choices.pick(VALUES), choices.pick(VALUES)]] * rows)
        case 3:
            return np.full((rows, choices.byte() % 4), choices.pick(VALUES))
        case 4:
            return (choices.number() - 5, choices.pick([0, 1, 2**40, 2**70, True]))
        case 5:
            return np.array([["a", None]] * rows, choices.pick(["O", "U1", "S1", "O"]))
    return None
