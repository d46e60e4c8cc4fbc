"""A batch is looked at before it is believed: coordinates that cannot be a face in pixels.

A sample of rows is compared with the reference face by the best affine view of it, with the depth
of the face. The view of a real face has small residuals and looks at the face from in front; what
is mirrored looks at it from behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from feat_pose_plugin.errors import LandmarkError, PoseWarning
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.reference_face import load_reference_face

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_SAMPLE = 64  # rows
_MOST = 0.75  # of the rows
_INNER = slice(17, 68)  # the jaw of 2D landmarks slides
_LARGEST_RESIDUAL = 0.4  # of the size of the face; 999 of 1,000 real ones have less
_FROM_BEHIND = -0.35  # cosine; faces that are turned away by 95 degrees come to -0.09
_UNIT_LENGTH = 1.5  # normalised coordinates may leave the picture a little


def require_plausible(points: Tensor, warn: Callable[[str], object]) -> None:
    """Refuse ``[B, 68, 2]`` "pixels" that are almost surely something else, or warn of them.

    Raises:
        LandmarkError: Most rows have coordinates in 0..1, x and y swapped, y upwards, or x and y in
            turns where 68 x and 68 y were read.
    """
    sample = _sample(points)
    if not len(sample):
        return
    if _are_most(np.abs(sample).max(axis=(1, 2)) <= _UNIT_LENGTH):
        raise LandmarkError(
            "the landmarks lie between 0 and 1, so they are normalised coordinates, as MediaPipe's "
            "are. Multiply x by the width and y by the height of the picture, or pass "
            "frame_size=(height, width) and normalized=True; to the command --height, --width and "
            "--normalized."
        )
    is_face, facing, down = _see(sample)
    mirrored = is_face & (facing < _FROM_BEHIND)
    if _are_most(mirrored):
        across, along = np.abs(down[mirrored]).mean(axis=0)
        if across > along:
            raise LandmarkError(
                "x and y are swapped: the faces are mirrored and lie on their side. Pass "
                "landmarks[..., [1, 0]], or rename the columns."
            )
        if down[mirrored, 1].mean() > 0:
            raise LandmarkError(
                "the x of the landmarks points to the left: the faces are mirrored, as those of a "
                "selfie camera. Pass width - x, or exchange left and right points."
            )
        raise LandmarkError(
            "the y of the landmarks points upwards: the faces are mirrored top to bottom. Pixels "
            "count downwards: pass height - y."
        )
    if _are_most(~is_face):
        is_face, *_ = _see(sample.transpose(0, 2, 1).reshape(-1, 68, 2))
        if _are_most(is_face):
            raise LandmarkError(
                "the 136 numbers of a row are x and y in turns; they were read as 68 x, then 68 y. "
                "Pass landmarks.reshape(-1, 68, 2)."
            )
        warn(
            "most of the landmarks do not lie like a face's 68 points in the order of iBUG, so "
            "their pose means little. Are they another set of points, or another order?"
        )


def warn_caller(doubt: str) -> None:
    """A ``PoseWarning`` that shows the line that called ``estimate_pose``."""
    warnings.warn(doubt, PoseWarning, stacklevel=7)


def _sample(points: Tensor) -> NDArray[np.float64]:
    """``[n, 68, 2]`` some of the rows, those with a face."""
    step = -(-len(points) // _SAMPLE) or 1
    found = points[::step].detach().cpu().double().numpy()  # NumPy would warn of some NaN
    usable = np.isfinite(found).all(axis=(1, 2)) & (found[:, 36] != found[:, 45]).any(axis=1)
    return found if usable.all() else found[usable]


def _see(
    points: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """How the reference face has to be seen, to be seen at the landmarks ``[n, 68, 2]``.

    ``[n]`` whether the inner landmarks lie like those of a face; ``[n]`` cosine between the
    direction of the face and that to the camera; ``[n, 2]`` where the face's down points.
    """
    inner = points[:, _INNER].reshape(len(points), -1)
    found = inner @ _inner_face()
    view, parts = found[:, :6].reshape(-1, 3, 2), found[:, 6:]
    with np.errstate(all="ignore"):  # of numbers that are no pixels
        explained, place = (parts[:, :6] ** 2).sum(axis=1), (parts[:, 6:] ** 2).sum(axis=1)
        size = (inner**2).sum(axis=1) - place
        (aa, ab), (_, bb) = (view.transpose(0, 2, 1) @ view).transpose(1, 2, 0)
        turn = view[:, 0, 0] * view[:, 1, 1] - view[:, 1, 0] * view[:, 0, 1]
        facing = turn / np.sqrt(aa * bb - ab * ab)  # of the cross product
        is_face = size - explained <= _LARGEST_RESIDUAL**2 * size
    return is_face, facing, view[:, 1]


@cache
def _inner_face() -> NDArray[np.float64]:
    """``[102, 14]``: what x, y in turns of inner points are multiplied by to be seen as a face.

    It gives the view ``[3, 2]`` of the face that fits them best, ``[3, 2]`` parts whose squares are
    what this explains of theirs, and ``[2]`` whose squares are what their place does.
    """
    points = load_reference_face(find_landmark_model("3d"), torch.device("cpu"))
    face = points[_INNER].double().numpy()
    face = face - face.mean(axis=0)
    # Both sum to 0 over the points: where these lie does not matter.
    fit, orthonormal = np.linalg.pinv(face).T, np.linalg.qr(face).Q
    place = np.full((len(face), 1), 1 / np.sqrt(len(face)))
    return np.kron(np.concatenate([fit, orthonormal, place], axis=1), np.eye(2))


def _are_most(of: NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(of) > _MOST * len(of))
