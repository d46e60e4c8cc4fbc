"""Face meshes of 468 or 478 vertices: which of them are the 68 landmarks, and how deep they lie."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

MESH_VERTICES_68: tuple[int, ...] = (
    *(127, 234, 93, 132, 172, 136, 149, 148, 152),  # jaw, the subject's right
    *(377, 378, 365, 397, 361, 323, 454, 356),  # jaw, the subject's left
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 195, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""The mesh vertex nearest to each landmark, symmetric left to right.

Found by laying MediaPipe's canonical face on ICT-FaceKit's mean face; the jaw is taken from the
mesh's face oval, the inner points from the vertices that bound eyes, lips, nose and brows.
py-feat's own table has the chin at point 10 and skips four vertices of the left cheek.
"""

# In Detectorv2's block the chin is point 10, and the step from point 15 to 16 spans five vertices
# of the mesh. That step is 0.7 to 1.7 times the median step of real jaws (AFLW2000-3D, turned
# photographs and videos, three detectors) and 3.1 to 7.0 times in the block up to 75 degrees yaw.
# On a visible contour all steps of the near side are that much longer than those of the far side,
# but as long as each other: up to 3.2 times the median step of their side. In the block: from 4.0.
_BLOCK_CHIN = 10
_BLOCK_LAST_STEP = 2.3
_BLOCK_LAST_STEP_OF_SIDE = 3.5

# How far the jaw of a mesh is set back, in ways from the nose to the temples. More for the block,
# whose step over the left cheek runs inside the face.
_SET_BACK = 0.3
_SET_BACK_BLOCK = 0.45

# Of the longer side of the 68 points in the picture. Depth in pixels spans 0.3 and more of it,
# depth in shares of the crop 0.001.
_LEAST_DEPTH = 0.02
_CROP_SIDE = 1.6  # 1.51 to 1.63, by the canonical face laid on Detectorv2's meshes


def from_mesh(vertices: Tensor) -> Tensor:
    """The 68 landmarks of ``[B, 68, 2|3]`` vertices :data:`MESH_VERTICES_68`, the jaw set back."""
    return _set_jaw_back(vertices, _SET_BACK)


def from_detectorv2_block(points: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, 68, 2]`` with Detectorv2's block put right, and ``[B]`` bool where it was.

    It is where the jaw is spaced as in py-feat's 68-from-478 table; not in rows of NaN.
    """
    steps = torch.hypot(*torch.diff(points[:, :17], dim=1).unbind(dim=-1))  # a norm takes longer
    side, last = steps[:, _BLOCK_CHIN - 1 : -1], steps[:, -1:]
    # Longer than so many times the median is longer than that of half of them, and found faster.
    long = (_BLOCK_LAST_STEP * steps < last).sum(dim=1) >= 8
    is_block = long & ((_BLOCK_LAST_STEP_OF_SIDE * side < last).sum(dim=1) >= 3)
    if is_block.any():
        right = resample_by_arc_length(points[:, : _BLOCK_CHIN + 1], 9)  # point 8 at the chin
        left = resample_by_arc_length(points[:, _BLOCK_CHIN:17], 9)
        respaced = torch.cat([right, left[:, 1:], points[:, 17:]], dim=1)
        respaced = _set_jaw_back(respaced, _SET_BACK_BLOCK)
        points = torch.where(is_block[:, None, None], respaced, points)
    return points, is_block


def has_depth(points: Tensor) -> Tensor:
    """``[B]`` bool, False where the third coordinate of ``[B, 68, 3]`` is 0, or next to it."""
    depth = points[..., 2]
    return ~(depth.amax(dim=1) - depth.amin(dim=1) <= _LEAST_DEPTH * _longer_side(points))


def depth_from_crop(points: Tensor, side: Tensor | None = None) -> Tensor:
    """``[B, 68, 3]`` whose depth is a share of the side of the crop, with depth in pixels.

    Detectorv2's network sees a square crop of the frame and says x, y and z as shares of its side,
    of which py-feat brings only x and y into pixels. ``side`` is ``[B]`` pixels, by default what is
    usual for a face of this size.
    """
    if side is None:
        side = _CROP_SIDE * _longer_side(points)
    return torch.cat([points[..., :2], points[..., 2:] * side[:, None, None]], dim=2)


def _longer_side(points: Tensor) -> Tensor:
    flat = points[..., :2]
    return (flat.amax(dim=1) - flat.amin(dim=1)).amax(dim=1)


def _set_jaw_back(points: Tensor, amount: float) -> Tensor:
    """Points of a mesh with the jaw where the head has its edge.

    The mesh ends at the face oval, up to 2 cm in front of the points of the head that the network
    learnt. What is moved by a multiple of the way from the bridge of the nose to the middle between
    the temples (7 cm, straight back) is again the projection of a point of the head.
    """
    back = 0.5 * (points[:, 0] + points[:, 16]) - points[:, 27]
    side = torch.linspace(2, 0, 9, dtype=points.dtype, device=points.device).clamp(max=1)
    share = amount * torch.cat([side, side[:8].flip(0)])
    jaw = points[:, :17] + share[:, None] * back[:, None]
    return torch.cat([jaw, points[:, 17:]], dim=1)


def resample_by_arc_length(points: Tensor, count: int) -> Tensor:
    """``[B, count, D]`` points at equal arcs along polylines ``[B, N, D]``, ends included."""
    steps = torch.linalg.vector_norm(torch.diff(points, dim=1), dim=-1)
    arc = pad(steps.cumsum(dim=1), (1, 0))
    wanted = arc[:, -1:] * torch.linspace(0, 1, count, dtype=points.dtype, device=points.device)
    # The segment on which each wanted arc length lies; it may have no length.
    segment = (torch.searchsorted(arc, wanted, right=True) - 1).clamp(0, steps.shape[1] - 1)
    length = steps.gather(1, segment).clamp_min(torch.finfo(points.dtype).tiny)
    within = (wanted - arc.gather(1, segment)) / length
    index = segment[..., None].expand(-1, -1, points.shape[-1])
    start, end = points.gather(1, index), points.gather(1, index + 1)
    resampled: Tensor = start + within[..., None] * (end - start)
    return resampled
