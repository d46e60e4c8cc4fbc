"""Frame sizes: the columns of a table that say them, what a caller may pass, and shares of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.errors import FrameSizeError, LandmarkError
from feat_pose_plugin.pose.columns import find_column, to_doubles

if TYPE_CHECKING:
    import pandas as pd

    from feat_pose_plugin.pose.landmarks import Landmarks

FRAME_SIZE_COLUMNS = ["FrameHeight", "FrameWidth"]
_LARGEST_FRAME = 1 << 24  # pixels a side; float32 counts no further
_LARGEST_SHARE = 2.0  # of the picture; faces that leave it stay below


def frame_sizes_of(table: pd.DataFrame) -> Tensor | None:
    """``[B, 2]`` or, if all are the same, ``[1, 2]`` float32 height and width by its columns.

    NaN where a cell says no size; None where the table has no such columns.
    """
    found = [find_column(table, name, FrameSizeError) for name in FRAME_SIZE_COLUMNS]
    columns = [to_doubles(c, FrameSizeError, strict=False) for c in found if c is not None]
    if len(columns) < len(found):
        return None
    values = np.stack(columns, axis=1)
    values[~((values >= 1) & (values <= _LARGEST_FRAME))] = np.nan
    # One size for all is the rule, and is said once.
    return torch.from_numpy(values[:1] if (values == values[:1]).all() else values).float()


def read_frame_size(frame_size: object, rows: int) -> Tensor:
    """``[1, 2]`` or ``[rows, 2]`` float32 height and width in pixels, NaN where not known."""
    match frame_size:
        case (int() | np.integer() as height, int() | np.integer() as width):
            if 0 < height <= _LARGEST_FRAME and 0 < width <= _LARGEST_FRAME:
                return torch.tensor([[float(height), float(width)]])
        case Tensor() | np.ndarray() if tuple(frame_size.shape) == (rows, 2):
            try:
                sizes = torch.as_tensor(frame_size, dtype=torch.float32)
            except TypeError:  # of objects or text
                pass
            else:
                if not ((sizes < 1) | (sizes > _LARGEST_FRAME)).any():
                    return sizes
    shown = " ".join(repr(frame_size).split())[:60]
    raise FrameSizeError(
        "frame_size must be (height, width) in pixels, two positive integers, or an array "
        f"[{rows}, 2] of them with NaN where not known, got {shown}."
    )


def in_pixels(landmarks: Landmarks, sizes: Tensor) -> Landmarks:
    """Landmarks whose x and depth are shares of the width and y of the height, in pixels.

    The sizes are ``[1, 2]`` or ``[B, 2]`` height and width, 0 where not known.
    """
    if not sizes.any():
        raise FrameSizeError(
            "normalised landmarks are shares of the picture, whose size is not known. Pass "
            "frame_size=(height, width), to the command --height and --width."
        )
    if landmarks.points.abs().nanmedian() > _LARGEST_SHARE:
        raise LandmarkError(
            "normalised landmarks lie between 0 and 1, and most of these do not: they are pixels. "
            "Leave out normalized=True, in the command --normalized."
        )
    height, width = sizes.to(landmarks.points).where(sizes > 0, torch.nan).T[..., None]
    points = landmarks.points * torch.stack([width, height], dim=2)
    depth = None if landmarks.depth is None else landmarks.depth * width
    return replace(landmarks, points=points, depth=depth, normalized=False)
