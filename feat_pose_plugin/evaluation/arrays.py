"""Arrays of an NPZ file, with errors that say what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError, TableError
from feat_pose_plugin.pose.backend import FrameSize


def read_arrays(
    path: Path, required: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, NDArray[np.generic]]:
    """Read arrays by name; nothing pickled is loaded.

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
