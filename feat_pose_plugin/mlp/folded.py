"""The networks on a CPU: what is linear folded into weights, in few operations."""

from __future__ import annotations

import cmath
import math
import threading
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.model import (
    DOWN,
    FEATURES,
    Numbers,
    euler_to_rotvec,
    turn,
    turn_one,
)
from feat_pose_plugin.mlp.network import PyFeatNetwork
from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    LARGEST_EYE_DISTANCE,
    OUTER_EYE_CORNERS,
    SMALLEST_EYE_DISTANCE,
)

_RIGHT, _LEFT = OUTER_EYE_CORNERS
_HALF_ROOT = math.sqrt(0.5)
_FEW = 64  # faces
# OpenBLAS, by which NumPy multiplies, ends the process where more threads than it was built for
# (64 at least) multiply at once.
_MULTIPLYING = threading.BoundedSemaphore(32)
_gelu = torch.ops.aten.gelu_.default  # in place, which torch.nn.functional has no name for

Floats = NDArray[np.float32]


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
    """The layers of a checkpoint with LayerNorm, for many faces by torch and for few by NumPy.

    They differ from the plain module by rounding only:

    - Weights of the first layer are in the order of the pixels, x and y of a point together, so
      that nothing is transposed; the depth follows.
    - LayerNorm's centring is part of the weights and biases before it.
    - The last layer gives pose, not standardised pose.

    For few faces the calls take longer than the arithmetic, and NumPy's cost a third of torch's.
    TorchScript is not faster than torch here, and deprecated. ONNX Runtime is, by a quarter for
    one face and a tenth for many, which is not worth a dependency.
    """

    many: list[_Hidden[Tensor]]
    last_of_many: tuple[Tensor, Tensor]
    few: list[_Hidden[Floats]]
    last_of_few: tuple[Floats, Floats]

    def __call__(self, x: Floats) -> Floats:
        """``[B, features]`` or ``[features]`` to ``[B, 6]`` or ``[6]``."""
        if len(x) > _FEW and x.ndim > 1:
            return self._many(torch.from_numpy(x)).numpy()
        with _MULTIPLYING:
            return self._few(x)

    def _few(self, x: Floats) -> Floats:
        for weight, bias, least, gain, shift in self.few:
            x = x.dot(weight)
            x += bias
            if x.ndim == 1:
                x *= 1 / math.hypot(least, math.sqrt(x.dot(x)))
            else:
                square = np.einsum("ij,ij->i", x, x)[:, None]
                square += least * least
                x /= np.sqrt(square, out=square)
            x *= gain
            x += shift
            # x is h / sqrt(2), and gelu(h) = h (1 + erf(h / sqrt(2))) / 2 without the factor
            # sqrt(1 / 2) that the weights of the next layer have.
            erf = torch.from_numpy(x).erf().numpy()
            erf *= x
            x += erf
        weight, bias = self.last_of_few
        pose: Floats = x.dot(weight)
        pose += bias
        return pose

    def _many(self, x: Tensor) -> Tensor:
        for weight, bias, least, gain, shift in self.many:
            x = torch.addmm(bias, x, weight)
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            x.mul_(norm.hypot_(least).reciprocal_())
            x = _gelu(torch.addcmul(shift, x, gain, out=x))
        weight, bias = self.last_of_many
        return torch.addmm(bias, x, weight)


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

    many, few = [], []
    of_input = 1.0  # the factor that the input of a layer lacks where there are few faces
    for weight, bias, norm in zip(weights[:-1], biases[:-1], norms, strict=True):
        weight, bias = (weight - weight.mean(dim=0)).T, bias - bias.mean()
        least = torch.tensor(math.sqrt(len(bias) * norm.eps))
        gain, shift = norm.weight.double() * math.sqrt(len(bias)), norm.bias.double()
        many.append(_Hidden(*_floats(weight, bias, least, gain, shift)))
        parts = of_input * weight, bias, least, _HALF_ROOT * gain, _HALF_ROOT * shift
        few.append(_Hidden(*(part.numpy() for part in _floats(*parts))))
        of_input = _HALF_ROOT
    weight, bias = _floats(weights[-1].T, biases[-1])
    return Folded(many, (weight, bias), few, ((of_input * weight).numpy(), bias.numpy()))


def _floats(*parts: Tensor) -> Iterator[Tensor]:
    return (part.float().contiguous() for part in parts)


class FoldedPyFeatNetwork:
    """See :class:`~feat_pose_plugin.mlp.network.PyFeatNetwork`.

    It keeps nothing between calls, so that any number of threads may call it at once.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._plain = PyFeatNetwork(checkpoint)
        self._folded = fold(checkpoint, any_origin=False)

    def __call__(self, landmarks: Tensor, _: float = 0.0) -> Tensor:
        """See :meth:`~feat_pose_plugin.mlp.network.PyFeatNetwork.forward`."""
        if landmarks.dtype != torch.float32:
            found: Tensor = self._plain(landmarks)
            return found
        # The mean by torch, because NumPy's would be rounded otherwise than py-feat's.
        origin = (landmarks.sum(dim=1) / LANDMARKS).numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            if len(landmarks) == 1:
                points = landmarks.numpy()[0] - origin[0]
                distance = math.hypot(*(points[_LEFT] - points[_RIGHT]).tolist())
                points *= 1 / max(distance, SMALLEST_EYE_DISTANCE)
                return torch.from_numpy(self._folded(points.reshape(FEATURES))[None])
            picture = _complex(landmarks) - origin.view(np.complex64)
            distances = np.abs(picture[:, _LEFT, None] - picture[:, _RIGHT, None])
            picture *= 1 / np.maximum(distances, SMALLEST_EYE_DISTANCE)
            return torch.from_numpy(self._folded(picture.view(np.float32)))


class FoldedPoseNetwork:
    """See :class:`~feat_pose_plugin.mlp.network.PoseNetwork`.

    It keeps nothing between calls, so that any number of threads may call it at once. Points of a
    picture are complex numbers, which one product turns and scales.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._folded = fold(checkpoint, any_origin=True)
        self._upright, self._output = checkpoint.upright, checkpoint.output

    def __call__(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """See :meth:`~feat_pose_plugin.mlp.network.PoseNetwork.forward`."""
        if landmarks.dtype not in (torch.float32, torch.float64):
            landmarks = landmarks.float()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if len(landmarks) == 1 and landmarks.dtype == torch.float32:
                pose = self._one(landmarks.numpy()[0], pitch_zero)
                return torch.tensor([pose], dtype=torch.float32)
            return torch.from_numpy(self._rows(landmarks, pitch_zero))

    def _rows(self, landmarks: Tensor, pitch_zero: float) -> Floats:
        picture = _complex(landmarks[..., :2])
        # Of float64, the only digits that float32 would lose are those of where the face lies.
        picture = (picture - picture[:, _RIGHT, None]).astype(np.complex64, copy=False)
        depth = landmarks[..., 2:].flatten(1).numpy()
        distance = np.abs(picture[:, _LEFT])
        if depth.shape[1]:
            depth = (depth - depth[:, _RIGHT, None]).astype(np.float32, copy=False)
            distance = np.hypot(distance, depth[:, _LEFT])
        is_face = (distance > SMALLEST_EYE_DISTANCE) & (distance < LARGEST_EYE_DISTANCE)
        scale = 1 / np.where(is_face, distance, np.float32(np.nan))[:, None]
        tilt = np.zeros_like(distance)
        if self._upright:
            down = picture.dot(_DOWN)
            tilt = np.arctan2(-down.real, down.imag)
            picture *= np.exp(-1j * tilt[:, None])
        picture *= scale
        x = picture.view(np.float32)
        pose = self._folded(np.concatenate([x, depth * scale], axis=1) if depth.shape[1] else x)
        if self._output == "euler_angles":
            pose[:, :3] = euler_to_rotvec(pose[:, :3])
        elif self._upright or pitch_zero:
            pose[:, :3] = turn(pose[:, :3], tilt, -pitch_zero)
        return pose

    def _one(self, points: Floats, pitch_zero: float) -> list[float]:
        points = np.subtract(points, points[_RIGHT], order="C")
        distance = math.hypot(*points[_LEFT].tolist())
        if not SMALLEST_EYE_DISTANCE < distance < LARGEST_EYE_DISTANCE:
            distance = math.nan
        picture = (points if points.shape[1] == 2 else points[:, :2].copy()).view(np.complex64)
        down = complex(_DOWN.dot(picture)[0]) if self._upright else 1j
        tilt = math.atan2(-down.real, down.imag)
        picture *= cmath.rect(1 / distance, -tilt)
        x = picture.view(np.float32).reshape(FEATURES)
        if points.shape[1] == 3:
            x = np.concatenate([x, points[:, 2] / distance])
        pose: list[float] = self._folded(x).tolist()
        if self._output == "euler_angles":
            pose[:3] = turn_one((0.0, pose[1], 0.0), pose[2], pose[0])
        elif self._upright or pitch_zero:
            pose[:3] = turn_one(pose[:3], tilt, -pitch_zero)
        return pose


_DOWN = DOWN.numpy().astype(np.complex64)


def _complex(landmarks: Tensor) -> NDArray[Any]:
    """``[B, 68]`` points ``x + i y`` of ``[B, 68, 2]``, without a copy where there need be none."""
    points = np.ascontiguousarray(landmarks.numpy())
    found: NDArray[Any] = points.view(np.result_type(points, np.complex64))[..., 0]
    return found
