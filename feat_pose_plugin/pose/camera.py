"""Pinhole cameras: lines of sight, and where a head of known rotation stands.

Camera frame of img2pose: x right, y down, z away from the camera. A camera is three numbers in
pixels, focal length and principal point: ``u = focal * x / z + principal_x``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from feat_pose_plugin.pose.landmarks import LANDMARKS


def cameras(
    frame_size: Tensor,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
) -> Tensor:
    """The camera of each row: img2pose's where nothing else is said.

    Args:
        frame_size: ``[B, 2]`` height and width in pixels, NaN where not known.
        focal_length: Pixels; height + width if None.
        principal_point: Where the optical axis meets the picture, x and y in pixels; its middle
            if None.

    Returns:
        ``[B, 3]`` focal length and principal point x, y; NaN where they are not known.
    """
    height, width = frame_size.unbind(1)
    camera = torch.stack([height + width, width / 2, height / 2], dim=1)
    if focal_length is not None:
        camera[:, 0] = focal_length
    if principal_point is not None:
        camera[:, 1:] = camera.new_tensor(principal_point)
    return camera


def line_of_sight(point: Tensor, camera: Tensor) -> Tensor:
    """The smallest turn from the optical axis to the ray through a point of the picture.

    A head that is seen with rotation ``R`` along its line of sight has rotation ``Q @ R`` in the
    axes of the camera; ``Q`` is this turn for the centroid of its landmarks.

    Args:
        point: ``[B, 2]`` pixels.
        camera: ``[B, 3]`` or ``[1, 3]``; see :func:`cameras`.

    Returns:
        ``[B, 3, 3]`` rotations ``Q``; NaN where the camera is not known.
    """
    x, y = ((point - camera[:, 1:]) / camera[:, :1]).to(camera.dtype).T.contiguous()
    z = (x * x + y * y + 1).rsqrt()
    x, y = x * z, y * z
    # Rodrigues' formula about the axis (-y, x, 0) by the angle whose cosine is z.
    share = 1 / (1 + z)
    xx, xy, yy = share * x * x, share * x * y, share * y * y
    rows = (1 - xx, -xy, x, -xy, 1 - yy, y, -x, -y, z)
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


class RigidFace:
    """A face that does not change its shape, and so can be found in space by its landmarks.

    With ``r = R @ face``, a landmark at ``x, y`` (pixels less the principal point, divided by the
    focal length) gives two equations that are linear in the translation ``t``::

        r_x + t_x = x (r_z + t_z)
        r_y + t_y = y (r_z + t_z)

    They are weighted as least squares of the landmarks in the picture weights them, to the first
    order: by ``r_x, r_y`` from their mean for ``t_z``, and evenly for ``t_x, t_y``. Least squares
    of the equations themselves would weight them by ``x, y``, and noise would bring the head
    nearer.

    All that depends on the landmarks is a sum over them, of products with the face or with two of
    its coordinates; one matrix product gives all of these sums.

    Args:
        face: ``[68, 3]`` points of the face. The translation has their unit and origin.
        used: Which landmarks count.
    """

    def __init__(self, face: Tensor, used: slice = slice(None)) -> None:
        weight = torch.zeros(LANDMARKS, 1, dtype=face.dtype, device=face.device)
        weight[used] = 1 / len(weight[used])
        self._centre = (weight * face).sum(dim=0)
        shape = face - self._centre
        product = shape[:, :, None] * shape[:, None]
        self._spread = (weight[..., None] * product).sum(dim=0)
        # Columns 0, 1-3 and 4-12: the mean, and the sums with one and with two coordinates. The
        # latter two have mean zero: they do not change when the face is moved.
        columns = [torch.ones_like(weight), shape, (product - self._spread).flatten(1)]
        axes = torch.eye(2, dtype=face.dtype, device=face.device)
        self._sums = torch.kron(weight * torch.cat(columns, dim=1), axes).T.contiguous()
        self._move = -axes.repeat(1, LANDMARKS)

    def locate(self, points: Tensor, rotation: Tensor, camera: Tensor) -> Tensor:
        """Where the face stands that is seen at these landmarks.

        Args:
            points: ``[B, 68, 2]`` float32 or float64 pixels.
            rotation: ``[B, 3, 3]`` rotations in the axes of the camera.
            camera: ``[B, 3]`` or ``[1, 3]``; see :func:`cameras`.

        Returns:
            ``[B, 3]`` ``t``; NaN where the camera is not known.
        """
        # Pixels from one of the landmarks, because float32 is not enough for squares of large ones.
        near = points[:, -1]
        moved = torch.addmm(points.flatten(1), near, self._move.to(points.dtype)).to(camera.dtype)
        focal, principal = camera.T[0], camera.T[1:]
        # Rows last, so that each operation below runs over memory in order.
        sums = (self._sums @ moved.T).reshape(13, 2, -1) / focal
        mean, first, second = sums[0], sums[1:4], sums[4:].reshape(3, 3, 2, -1)
        mean = mean + (near.T - principal).to(camera.dtype) / focal
        turn = rotation.permute(2, 1, 0).contiguous()  # coordinate of the face, of the camera, row
        across, away = turn[:, :2], turn[:, 2]
        spread = torch.tensordot(self._spread, turn, dims=1)
        # Sums of x r_z and y r_z with the face.
        deeper = (second * away[:, None, None]).sum(dim=0) + spread[:, None, 2] * mean
        z = (across * (spread[:, :2] - deeper)).sum(dim=(0, 1)) / (across * first).sum(dim=(0, 1))
        xy = mean * z + (away[:, None] * first).sum(dim=0)
        centre = torch.tensordot(self._centre, turn, dims=1)
        translation: Tensor = torch.cat([xy, z[None]]) - centre
        return translation.T
