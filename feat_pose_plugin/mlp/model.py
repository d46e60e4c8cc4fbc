"""The shared core: the normaliser and the network. Used by inference and training alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    SMALLEST_EYE_DISTANCE,
    outer_eye_distance,
)

FEATURES = 2 * LANDMARKS
FEATURES_WITH_DEPTH = 3 * LANDMARKS
OUTPUTS = 6

DOWN = torch.zeros(LANDMARKS, dtype=torch.float32)
"""``[68]`` weights, from the mean of brows and eyes to the mean of mouth and chin."""
DOWN[[*range(17, 27), *range(36, 48)]] = -1 / 22
DOWN[[7, 8, 9, *range(48, LANDMARKS)]] = 1 / 23


def normalise(landmarks: Tensor) -> Tensor:
    """Landmarks without position and size: what the network reads.

    ``[B, 68, 2|3]`` pixels less their centroid, divided by the distance of the outer eye corners
    (points 36 and 45, in space if there is depth), as py-feat's ``pose_from_landmarks_mlp`` defines
    it: ``[B, 136|204]`` float32, 68 x, then 68 y, then 68 z.
    """
    centred = landmarks - landmarks.mean(dim=1, keepdim=True)
    scale = outer_eye_distance(landmarks).clamp_min(SMALLEST_EYE_DISTANCE)
    return (centred / scale[:, None, None]).mT.flatten(1).to(torch.float32)


class Upright(NamedTuple):
    """Faces ``[B, 68, D]`` about the origin, turned upright in the plane of the picture.

    ``[B]`` cosine and sine are those of the angle of the tilt, + clockwise in the picture.
    """

    landmarks: Tensor
    cosine: Tensor
    sine: Tensor

    @property
    def tilt(self) -> Tensor:
        """``[B]`` the angle, radians."""
        return torch.atan2(self.sine, self.cosine)


def turn_upright(landmarks: Tensor) -> Upright:
    """Turn faces so that the line from brows and eyes to mouth and chin points straight down.

    The line of the two eyes alone would be unstable in profile. A line without length (of a face
    seen from straight above or below) is not turned. ``[B, 68, 2|3]``; a depth stays as it is.
    """
    centred = landmarks - landmarks.mean(dim=1, keepdim=True)
    flat = centred[..., :2]
    down = torch.einsum("n,bnd->bd", DOWN.to(flat), flat)
    length = torch.linalg.vector_norm(down, dim=1)  # ONNX knows no hypot
    known = length != 0  # NaN stays NaN
    cosine = torch.where(known, down[:, 1] / length, 1.0)
    sine = torch.where(known, -down[:, 0] / length, 0.0)
    x, y = flat.unbind(dim=2)
    c, s = cosine[:, None], sine[:, None]
    turned = torch.stack([c * x + s * y, c * y - s * x], dim=2)
    return Upright(torch.cat([turned, centred[..., 2:]], dim=2), cosine, sine)


def turn(rotvec: Tensor, roll: Tensor, pitch: Tensor | float) -> Tensor:
    """``Rz(roll) R Rx(pitch)``: rotation vectors ``[B, 3]`` of at most half a turn, radians.

    This turns upright faces back (by their tilt, + clockwise in the picture), moves a zero of pitch
    (+ lowers the face), and makes a rotation vector of Euler angles.
    """
    half = 0.5 * torch.linalg.vector_norm(rotvec, dim=1)
    w = half.cos()
    x, y, z = (0.5 * torch.sinc(half / math.pi)[:, None] * rotvec).unbind(dim=1)
    c, s = (0.5 * roll).cos(), (0.5 * roll).sin()
    w, x, y, z = c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w
    pitch = torch.as_tensor(pitch, dtype=rotvec.dtype)
    p, q = (0.5 * pitch).cos(), (0.5 * pitch).sin()
    w, x, y, z = p * w - q * x, p * x + q * w, p * y + q * z, p * z - q * y
    axis = torch.stack([x, y, z], dim=1)
    length = torch.linalg.vector_norm(axis, dim=1)
    factor = torch.where(length > 1e-12, 2 * torch.atan2(length, w.abs()) / length, 2.0)
    return torch.where(w < 0, -factor, factor)[:, None] * axis  # the quaternion with w >= 0


def euler_to_rotvec(angles: Tensor) -> Tensor:
    """``[B, 3]`` angles of convention ``img2pose``, ``Rz(c) Ry(b) Rx(a)``, to rotation vectors."""
    about_y = angles * torch.tensor([0.0, 1.0, 0.0], device=angles.device)
    return turn(about_y, angles[:, 2], angles[:, 0])


class PoseMLP(nn.Module):
    """A multilayer perceptron from 136 or 204 normalised coordinates to six standardised outputs.

    Names and order of modules are those of py-feat's checkpoints (``net.0``, ``net.1``, ...). With
    ``layer_norm`` blocks are those of v2 (Linear, LayerNorm, GELU, Dropout), without it those of v1
    (Linear, ReLU, Dropout).
    """

    def __init__(
        self,
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.15,
        layer_norm: bool = True,
        features: int = FEATURES,
    ) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.dropout = dropout
        self.features = features
        self.layer_norm = layer_norm
        layers: list[nn.Module] = []
        width = features
        for units in self.hidden:
            layers.append(nn.Linear(width, units))
            layers.extend([nn.LayerNorm(units), nn.GELU()] if layer_norm else [nn.ReLU()])
            layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, OUTPUTS))
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[B, features]`` coordinates to ``[B, 6]`` standardised pose."""
        output: Tensor = self.net(features)
        return output
