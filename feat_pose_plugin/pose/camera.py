"""Pinhole cameras: lines of sight, and where a head of known rotation stands.

Camera axes: x right, y down, z away from the camera. A camera is three numbers in pixels, ``[3]``
or ``[1, 3]``: focal length and principal point, ``u = focal * x / z + principal_x``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def find_camera(
    frame_size: tuple[float, float] | None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
) -> Tensor:
    """``[3]`` float32, NaN where not known; img2pose's camera where nothing else is said.

    That is a focal length of height + width, and the principal point in the middle of the frame.
    """
    height, width = frame_size or (math.nan, math.nan)
    focal = height + width if focal_length is None else focal_length
    x, y = (width / 2, height / 2) if principal_point is None else principal_point
    return torch.tensor([focal, x, y], dtype=torch.float32)


def line_of_sight(point: Tensor, camera: Tensor) -> Tensor:
    """The smallest turn from the optical axis to the ray through a point of the picture.

    A head that is seen with rotation ``R`` along its line of sight has rotation ``Q @ R`` in the
    axes of the camera; ``Q`` is this turn for the centroid of its landmarks.

    Args:
        point: ``[B, 2]`` pixels.
        camera: See above.

    Returns:
        ``[B, 3, 3]`` rotations ``Q``; NaN where the camera is not known.
    """
    x, y = ((point - camera[..., 1:]) / camera[..., :1]).to(camera.dtype).T.contiguous()
    z = (x * x + y * y + 1).rsqrt()
    x, y = x * z, y * z
    # Rodrigues' formula about the axis (-y, x, 0) by the angle whose cosine is z.
    share = 1 / (1 + z)
    xx, xy, yy = share * x * x, share * x * y, share * y * y
    rows = (1 - xx, -xy, x, -xy, 1 - yy, y, -x, -y, z)
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


class RigidFace:
    """A face ``[68, 3]`` that keeps its shape, and so is found in space by its ``used`` landmarks.

    With ``r = R @ face``, a landmark at ``x, y`` (pixels less the principal point, divided by the
    focal length) gives two equations that are linear in the translation ``t``::

        r_x + t_x = x (r_z + t_z)
        r_y + t_y = y (r_z + t_z)

    They are weighted as least squares of the landmarks in the picture weights them, to the first
    order: by ``r_x, r_y`` from their mean for ``t_z``, and evenly for ``t_x, t_y``. Least squares
    of the equations themselves would weight them by ``x, y``, and noise would bring the head
    nearer.
    """

    def __init__(self, face: Tensor, used: slice) -> None:
        self._used = used
        self._centre = face[used].mean(dim=0)
        self._shape = (face[used] - self._centre).T.contiguous()

    def locate(self, points: Tensor, rotation: Tensor, camera: Tensor) -> Tensor:
        """``[B, 3]`` translation of the face with rotation ``[B, 3, 3]`` that is seen at points.

        The points are ``[B, 68, 2]`` pixels; the answer has the unit and origin of the face, and is
        NaN where the camera is not known.
        """
        focal, principal = camera[..., 0], camera[..., 1:, None]
        # Coordinate by coordinate, each a row of landmarks in memory.
        seen = (points[:, self._used].mT.contiguous() - principal).to(camera.dtype) / focal
        turned = (rotation.reshape(-1, 3) @ self._shape).reshape(-1, 3, self._shape.shape[1])
        across, away = turned[:, :2], turned[:, 2:]
        deep = seen * away
        z = (across * (across - deep)).sum(dim=(1, 2)) / (across * seen).sum(dim=(1, 2))
        xy = deep.mean(dim=2) + seen.mean(dim=2) * z[:, None]
        return torch.cat([xy, z[:, None]], dim=1) - rotation @ self._centre
