"""The networks on a CPU: what is linear folded into weights, in few operations."""

from __future__ import annotations

import cmath
import math
from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.model import DOWN, FEATURES, turn, turn_one
from feat_pose_plugin.mlp.network import PyFeatNetwork, euler_to_rotvec
from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    LARGEST_EYE_DISTANCE,
    OUTER_EYE_CORNERS,
    SMALLEST_EYE_DISTANCE,
)

_RIGHT, _LEFT = OUTER_EYE_CORNERS
_HALF_ROOT = math.sqrt(0.5)
_gelu = torch.ops.aten.gelu_.default  # in place, which torch.nn.functional has no name for

Floats = NDArray[np.float32]
Numbers = TypeVar("Numbers", Tensor, Floats)


class _Hidden(NamedTuple, Generic[Numbers]):
    """A hidden layer: ``gelu(gain * scale * (weight @ x + bias) + shift)``.

    ``scale`` is what is left of LayerNorm once weight and bias are centred:
    ``1 / hypot(least, norm)``.
    """

    weight: Numbers
    bias: Numbers
    least: Numbers
    gain: Numbers
    shift: Numbers


class Folded(NamedTuple):
    """The layers of a checkpoint with LayerNorm, for many faces and for one.

    They differ from the plain module by rounding only:

    - Weights of the first layer are in the order of the pixels, x and y of a point together, so
      that nothing is transposed; the depth follows.
    - LayerNorm's centring is part of the weights and biases before it.
    - The last layer gives pose, not standardised pose.

    For one face the calls take longer than the arithmetic, and NumPy's cost a third of torch's.
    TorchScript is not faster than torch here, and deprecated. ONNX Runtime is, by a quarter for
    one face and a tenth for many, which is not worth a dependency.
    """

    hidden: list[_Hidden[Tensor]]
    last: tuple[Tensor, Tensor]
    hidden_of_one: list[_Hidden[Floats]]
    last_of_one: tuple[Floats, Floats]

    def many(self, x: Tensor) -> Tensor:
        """``[B, features]`` to ``[B, 6]``."""
        for weight, bias, least, gain, shift in self.hidden:
            x = torch.addmm(bias, x, weight)
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            x.mul_(norm.hypot_(least).reciprocal_())
            x = _gelu(torch.addcmul(shift, x, gain, out=x))
        weight, bias = self.last
        return torch.addmm(bias, x, weight)

    def one(self, x: Floats) -> Floats:
        """``[features]`` to ``[6]``."""
        for weight, bias, least, gain, shift in self.hidden_of_one:
            x = weight.dot(x)
            x += bias
            x *= 1 / math.hypot(least, math.sqrt(x.dot(x)))
            x *= gain
            x += shift
            # x is h / sqrt(2), and gelu(h) = h (1 + erf(h / sqrt(2))) / 2 without the factor
            # sqrt(1 / 2) that the weights of the next layer have.
            erf = torch.from_numpy(x).erf().numpy()
            erf *= x
            x += erf
        weight, bias = self.last_of_one
        pose: Floats = weight.dot(x)
        pose += bias
        return pose


def fold(checkpoint: Checkpoint, *, any_origin: bool) -> Folded:
    """Fold a checkpoint.

    Args:
        checkpoint: With LayerNorm.
        any_origin: Whether weights of the first layer sum to zero over each axis, so that it does
            not matter which point of the face is taken off: an eye corner, not the centroid.
    """
    linear = [layer for layer in checkpoint.model.net if isinstance(layer, nn.Linear)]
    norms = [layer for layer in checkpoint.model.net if isinstance(layer, nn.LayerNorm)]
    weights = [layer.weight.double() for layer in linear]
    biases = [layer.bias.double() for layer in linear]
    by_axis = weights[0].reshape(len(weights[0]), -1, LANDMARKS)
    if any_origin:
        by_axis = by_axis - by_axis.mean(dim=2, keepdim=True)
    weights[0] = torch.cat([by_axis[:, :2].mT.flatten(1), by_axis[:, 2:].flatten(1)], dim=1)
    weights[-1] = weights[-1] * checkpoint.std[:, None]
    biases[-1] = biases[-1] * checkpoint.std + checkpoint.mean
    if checkpoint.output == "rotation_vector":
        biases[-1][3:] = torch.nan

    hidden, hidden_of_one = [], []
    of_input = 1.0  # the factor that the input of a layer lacks where there is one face
    for weight, bias, norm in zip(weights[:-1], biases[:-1], norms, strict=True):
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
        units = len(bias)
        least = torch.tensor(math.sqrt(units * norm.eps), dtype=torch.float32)
        gain, shift = norm.weight.double() * math.sqrt(units), norm.bias.double()
        hidden.append(_Hidden(weight.float().T, bias.float(), least, gain.float(), shift.float()))
        hidden_of_one.append(
            _Hidden(
                (of_input * weight).float().numpy(),
                bias.float().numpy(),
                least.numpy(),
                (_HALF_ROOT * gain).float().numpy(),
                (_HALF_ROOT * shift).float().numpy(),
            )
        )
        of_input = _HALF_ROOT
    last = weights[-1].float().T, biases[-1].float()
    last_of_one = (of_input * weights[-1]).float().numpy(), biases[-1].float().numpy()
    return Folded(hidden, last, hidden_of_one, last_of_one)


class FoldedNetwork(ABC):
    """A network whose layers are folded.

    It keeps nothing between calls, so that any number of threads may call it at once.
    """

    def __call__(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """See :class:`~feat_pose_plugin.mlp.network.PoseNetwork`."""
        if len(landmarks) == 1 and landmarks.dtype == torch.float32:
            with np.errstate(over="ignore", invalid="ignore"):
                pose = self._one(landmarks, pitch_zero)
            return torch.tensor([pose], dtype=torch.float32)
        return self._many(landmarks, pitch_zero)

    @abstractmethod
    def _one(self, landmarks: Tensor, pitch_zero: float) -> list[float]: ...

    @abstractmethod
    def _many(self, landmarks: Tensor, pitch_zero: float) -> Tensor: ...


class FoldedPyFeatNetwork(FoldedNetwork):
    """See :class:`~feat_pose_plugin.mlp.network.PyFeatNetwork`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._plain = PyFeatNetwork(checkpoint)
        self._folded = fold(checkpoint, any_origin=False)

    def _many(self, landmarks: Tensor, _: float) -> Tensor:
        if landmarks.dtype != torch.float32:
            found: Tensor = self._plain(landmarks)
            return found
        x = _less(landmarks, landmarks.mean(dim=1))
        eyes = x[:, 2 * _LEFT : 2 * _LEFT + 2] - x[:, 2 * _RIGHT : 2 * _RIGHT + 2]
        distance = torch.hypot(eyes[:, :1], eyes[:, 1:]).clamp_min_(SMALLEST_EYE_DISTANCE)
        return self._folded.many(x.mul_(distance.reciprocal_()))

    def _one(self, landmarks: Tensor, _: float) -> list[float]:
        # The sum by torch, because NumPy's would be rounded otherwise than py-feat's.
        pixels = landmarks.numpy()[0] - landmarks.sum(dim=1).numpy() / LANDMARKS
        distance = math.hypot(*(pixels[_LEFT] - pixels[_RIGHT]).tolist())
        pixels *= 1 / max(distance, SMALLEST_EYE_DISTANCE)
        pose: list[float] = self._folded.one(pixels.reshape(FEATURES)).tolist()
        return pose


class FoldedPoseNetwork(FoldedNetwork):
    """See :class:`~feat_pose_plugin.mlp.network.PoseNetwork`.

    Points of a picture are complex numbers, which one product turns and scales.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._folded = fold(checkpoint, any_origin=True)
        self._upright, self._output = checkpoint.upright, checkpoint.output

    def _many(self, landmarks: Tensor, pitch_zero: float) -> Tensor:
        if landmarks.dtype == torch.float64:  # the only digits that float32 loses say where it is
            landmarks = landmarks - landmarks[:, _RIGHT, None]
        landmarks = landmarks.float()
        x = _less(landmarks[..., :2], landmarks[:, _RIGHT, :2])
        picture = torch.view_as_complex(x.view(-1, LANDMARKS, 2))
        distance = picture[:, _LEFT, None].abs()
        depth = landmarks[..., 2:].flatten(1)
        if depth.shape[1]:
            depth = depth - depth[:, _RIGHT, None]
            distance.hypot_(depth[:, _LEFT, None])
        # NaN for what is no face.
        scale = _nan_up_to(SMALLEST_EYE_DISTANCE, distance).reciprocal_()
        scale = _nan_up_to(1 / LARGEST_EYE_DISTANCE, scale)
        if self._upright:
            down = torch.view_as_complex(torch.mm(x, _DOWN_SWAPPED))[:, None]
            untilt = down.sgn().masked_fill_(down == 0, 1)
            picture.mul_(scale * untilt)
            tilt = -untilt[:, 0].angle()
        else:
            x.mul_(scale)
            tilt = x.new_zeros(len(x))
        if depth.shape[1]:
            x = torch.cat([x, depth.mul_(scale)], dim=1)
        pose = self._folded.many(x)
        if self._output == "euler_angles":
            pose[:, :3] = euler_to_rotvec(pose[:, :3])
        elif self._upright or pitch_zero:
            pose[:, :3] = turn(pose[:, :3], tilt, -pitch_zero)
        return pose

    def _one(self, landmarks: Tensor, pitch_zero: float) -> list[float]:
        points = landmarks.numpy()[0]
        points = np.subtract(points, points[_RIGHT], order="C")
        distance = math.hypot(*points[_LEFT].tolist())
        if not SMALLEST_EYE_DISTANCE < distance < LARGEST_EYE_DISTANCE:
            distance = math.nan
        tilt = 0.0
        picture = points if points.shape[1] == 2 else points[:, :2].copy()
        if self._upright:
            x, y = _DOWN_OF_ONE.dot(picture).tolist()
            tilt = -math.atan2(x, y)
            picture = picture.view(np.complex64)
            picture *= cmath.rect(1 / distance, -tilt)
            features = picture.view(np.float32).reshape(FEATURES)
        else:
            features = (picture / distance).reshape(FEATURES)
        if points.shape[1] == 3:
            features = np.concatenate([features, points[:, 2] / distance])
        pose: list[float] = self._folded.one(features).tolist()
        if self._output == "euler_angles":
            pose[:3] = turn_one((0.0, pose[1], 0.0), pose[2], pose[0])
        elif self._upright or pitch_zero:
            pose[:3] = turn_one(pose[:3], tilt, -pitch_zero)
        return pose


_TO_ALL = torch.eye(2, dtype=torch.float32).repeat(1, LANDMARKS)
_DOWN_SWAPPED = torch.stack([0 * DOWN, DOWN, DOWN, 0 * DOWN], dim=1)
_DOWN_SWAPPED = _DOWN_SWAPPED.reshape(FEATURES, 2)  # y, then x
_DOWN_OF_ONE = DOWN.numpy()


def _less(picture: Tensor, origin: Tensor) -> Tensor:
    """``[B, 136]`` points ``[B, 68, 2]`` less ``[B, 2]``: x and y of a point together.

    A product with zeros and ones, for torch does not vectorise a difference over two axes.
    """
    return torch.addmm(picture.reshape(-1, FEATURES), origin, _TO_ALL, alpha=-1)


def _nan_up_to(limit: float, values: Tensor) -> Tensor:
    found: Tensor = torch.threshold_(values, limit, math.nan)
    return found
