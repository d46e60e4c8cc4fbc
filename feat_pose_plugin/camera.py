"""Pinhole cameras: lines of sight, and where a head of known rotation stands.

Camera frame of img2pose: x right, y down, z away from the camera, lengths in units of the
reference face. A camera is three numbers in pixels: focal length and principal point,
``u = focal * x / z + principal_x``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm


def cameras(
    frame_size: Tensor | None,
    *,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
) -> Tensor | None:
    """The camera of each row: img2pose's where nothing else is said.

    Args:
        frame_size: ``[B, 2]`` float32 height and width in pixels, NaN where not known; B is 1 for
            one size of all. None if no size is known.
        focal_length: Pixels; height + width if None.
        principal_point: Where the optical axis meets the picture, x and y in pixels; its middle
            if None.

    Returns:
        ``[B, 3]`` float32 focal length and principal point x, y; NaN where they are not known. None
        if no row's can be known.
    """
    if frame_size is None:
        if focal_length is None or principal_point is None:
            return None
        return torch.tensor([[focal_length, *principal_point]])
    height, width = frame_size.unbind(1)
    camera = torch.stack([height + width, width / 2, height / 2], dim=1)
    if focal_length is not None:
        camera[:, 0] = focal_length
    if principal_point is not None:
        camera[:, 1:] = camera.new_tensor(principal_point)
    return camera


def line_of_sight(points: Tensor, camera: Tensor) -> Tensor:
    """The turn from the optical axis to the ray through the centroid of the landmarks.

    A face that is seen with rotation ``R`` along its line of sight has rotation ``Q @ R`` in the
    axes of the camera. ``Q`` is the smallest turn that takes z to the ray.

    Args:
        points: ``[B, 68, 2]`` pixels.
        camera: ``[B, 3]`` or ``[1, 3]``; see :func:`cameras`.

    Returns:
        ``[B, 3, 3]`` rotations ``Q``; NaN where the camera is not known.
    """
    x, y = ((points.mean(dim=1) - camera[:, 1:]) / camera[:, :1]).unbind(1)
    length = vector_norm(torch.stack([x, y, torch.ones_like(x)], dim=1), dim=1)
    x, y, z = x / length, y / length, 1 / length
    # Rodrigues' formula with axis (-y, x, 0) and cosine z.
    xx, xy, yy = (product / (1 + z) for product in (x * x, x * y, y * y))
    rows = (1 - xx, -xy, x, -xy, 1 - yy, y, -x, -y, z)
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def solve_translation(points: Tensor, rotation: Tensor, camera: Tensor, face: Tensor) -> Tensor:
    """Where a rigid face of known rotation stands, by least squares.

    With ``r = R @ face``, each landmark gives two equations that are linear in ``t``:
    ``r_x + t_x = x (r_z + t_z)`` and ``r_y + t_y = y (r_z + t_z)``, where ``x, y`` are its pixels
    less the principal point, divided by the focal length. Solved in closed form, in coordinates
    from the centroid of the landmarks, so that float32 is enough.

    Args:
        points: ``[B, P, 2]`` pixels.
        rotation: ``[B, 3, 3]`` rotations in the axes of the camera.
        camera: ``[B, 3]`` or ``[1, 3]``; see :func:`cameras`.
        face: ``[P, 3]`` the face, its points in the order of the landmarks.

    Returns:
        ``[B, 3]`` ``t`` in the unit of the face; NaN where the camera is not known.
    """
    focal = camera[:, :1]
    middle = points.mean(dim=1)
    centred = (points - middle[:, None]) / focal[:, None]
    middle = (middle - camera[:, 1:]) / focal
    square = centred.square().sum(dim=2)
    away = rotation[:, 2]
    # Sums over landmarks: x' and y' times the face, x' and y' times r_z.
    moments = centred.mT @ face
    depths = (moments @ away[..., None]).squeeze(2)
    across = (rotation[:, :2] * moments).sum(dim=(1, 2)) - (middle * depths).sum(dim=1)
    z = (across - ((square @ face) * away).sum(dim=1)) / square.sum(dim=1)
    origin = rotation @ face.mean(dim=0)
    xy = middle * (z[:, None] + origin[:, 2:]) + depths / points.shape[1] - origin[:, :2]
    return torch.cat([xy, z[:, None]], dim=1)
