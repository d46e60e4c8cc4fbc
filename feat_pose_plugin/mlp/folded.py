"""The networks on a CPU: what is linear folded into weights, in few operations."""

from __future__ import annotations

import cmath
import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.model import DOWN, euler_to_rotvec, normalise
from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    LARGEST_EYE_DISTANCE,
    OUTER_EYE_CORNERS,
    SMALLEST_EYE_DISTANCE,
)

_RIGHT, _LEFT = OUTER_EYE_CORNERS
_FEW = 48  # faces; torch's GELU is the fastest, but its call takes as long as one of 30 faces
_TILT = -1j * DOWN.numpy().astype(np.complex64)  # of an upright face the sum is real, above 0
# OpenBLAS, by which NumPy multiplies, ends the process where more threads than it was built for
# (64 at least) multiply at once.
_MULTIPLYING = threading.BoundedSemaphore(32)
_gelu = torch.ops.aten.gelu_.default  # in place, which torch.nn.functional has no name for

Floats = NDArray[np.float32]


class _Layer(NamedTuple):
    """``gain * standardise(x @ weight + bias) + shift``, where the mean is 0 before."""

    weight: Tensor
    bias: Tensor
    gain: Tensor
    shift: Tensor
    root: float  # the norm of a layer whose standard deviation is 1
    least: float  # what LayerNorm's eps adds to the square of the norm


class Folded:
    """The layers of a checkpoint with LayerNorm. They differ from the plain module by rounding.

    - LayerNorm's centring is part of the weights and biases before it.
    - The last layer gives pose, not standardised pose.
    - For few faces ``x`` is a hidden layer's ``h / sqrt(2)``, because then
      ``gelu(h) = sqrt(1 / 2) * (x + x * erf(x))``; the next weights have the factor.
    - With ``by_point`` it reads x and y of a point together, then the depth of all, and it does
      not matter which point of a face is the origin: an eye corner, not the centroid.
    """

    def __init__(self, checkpoint: Checkpoint, *, by_point: bool) -> None:
        linear = [layer for layer in checkpoint.model.net if isinstance(layer, nn.Linear)]
        norms = [layer for layer in checkpoint.model.net if isinstance(layer, nn.LayerNorm)]
        weights = [layer.weight.double() for layer in linear]
        biases = [layer.bias.double() for layer in linear]
        if by_point:
            by_axis = weights[0].reshape(len(weights[0]), -1, LANDMARKS)
            by_axis = by_axis - by_axis.mean(dim=2, keepdim=True)
            weights[0] = torch.cat([by_axis[:, :2].mT.flatten(1), by_axis[:, 2:].flatten(1)], dim=1)
        weights[:-1] = [weight - weight.mean(dim=0) for weight in weights[:-1]]
        biases[:-1] = [bias - bias.mean() for bias in biases[:-1]]
        last, constant = weights[-1] * checkpoint.std[:, None], biases[-1] * checkpoint.std
        constant += checkpoint.mean
        if checkpoint.output == "rotation_vector":
            constant[3:] = torch.nan

        def layers(factor: float) -> tuple[list[_Layer], Tensor, Tensor]:
            hidden = []
            before = 1.0
            for weight, bias, norm in zip(weights, biases, norms, strict=False):
                units = len(bias)
                hidden.append(
                    _Layer(
                        (before * weight.T).float().contiguous(),
                        bias.float(),
                        factor * norm.weight,
                        factor * norm.bias,
                        math.sqrt(units),
                        units * norm.eps,
                    )
                )
                before = factor
            return hidden, (factor * last.T).float().contiguous(), constant.float()

        self._few, self._many = layers(math.sqrt(0.5)), layers(1.0)
        self._of_thread = threading.local()

    def __call__(self, x: Tensor) -> Tensor:
        """``[B, features]`` to ``[B, 6]``."""
        few = len(x) <= _FEW
        hidden, last, constant = self._few if few else self._many
        for weight, bias, gain, shift, root, least in hidden:
            x = torch.addmm(bias, x, weight)
            if few:
                x = torch.layer_norm(x, bias.shape, gain, shift, least / len(bias))
                x = torch.addcmul(x, x, x.erf())
            else:  # in place: new memory of this size takes longer than the arithmetic
                norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
                x.mul_(norm.square_().add_(least).rsqrt_().mul_(root))
                x = _gelu(torch.addcmul(shift, x, gain, out=x))
        return torch.addmm(constant, x, last)

    def of_one(self, x: Floats) -> Floats:
        """``[features]`` to ``[6]``, by NumPy, whose calls cost a third of torch's."""
        hidden, last, constant = self._few
        if not hasattr(self._of_thread, "layers"):  # results lie in the same memory every time
            self._of_thread.layers = []
            for layer in hidden:
                results = torch.empty(2, len(layer.bias)).unbind()
                arrays = [part.numpy() for part in (*layer[:4], *results)]
                self._of_thread.layers.append((*arrays, *results, *layer[4:]))
        with _MULTIPLYING:
            for layer in self._of_thread.layers:
                weight, bias, gain, shift, h, erf, h_of_torch, erf_of_torch, root, least = layer
                np.dot(x, weight, out=h)
                h += bias
                h *= root / math.sqrt(h.dot(h) + least)
                h *= gain
                h += shift
                torch.erf(h_of_torch, out=erf_of_torch)
                erf *= h
                h += erf
                x = h
            pose: Floats = x.dot(last.numpy())
        pose += constant.numpy()
        return pose


class FoldedPyFeatNetwork:
    """See :class:`~feat_pose_plugin.mlp.network.PyFeatNetwork`. Any threads may call it at once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._folded = Folded(checkpoint, by_point=False)

    def __call__(self, landmarks: Tensor, _: float = 0.0) -> Tensor:
        """See :meth:`~feat_pose_plugin.mlp.network.PyFeatNetwork.forward`."""
        if len(landmarks) != 1 or landmarks.dtype != torch.float32:
            return self._folded(normalise(landmarks))
        with np.errstate(all="ignore"):
            # The mean by torch, because NumPy's would be rounded otherwise than py-feat's.
            origin = landmarks.mean(dim=1).numpy()
            points = np.subtract(landmarks.numpy()[0].T, origin.T, order="C")
            distance = math.hypot(*(points[:, _LEFT] - points[:, _RIGHT]).tolist())
            points *= 1 / max(distance, SMALLEST_EYE_DISTANCE)
            return torch.from_numpy(self._folded.of_one(points.ravel())[None])


class FoldedPoseNetwork:
    """See :class:`~feat_pose_plugin.mlp.network.PoseNetwork`. Any threads may call it at once.

    Points of a picture are complex numbers, which one product turns and scales.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._folded = Folded(checkpoint, by_point=True)
        self._upright, self._output = checkpoint.upright, checkpoint.output

    def __call__(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """See :meth:`~feat_pose_plugin.mlp.network.PoseNetwork.forward`."""
        if landmarks.dtype not in (torch.float32, torch.float64):
            landmarks = landmarks.float()
        points = landmarks.numpy()
        with np.errstate(all="ignore"):
            if len(points) == 1 and points.dtype == np.float32:
                return torch.from_numpy(self._one(points[0], pitch_zero)[None])
            return self._rows(points, pitch_zero)

    def _rows(self, points: NDArray[Any], pitch_zero: float) -> Tensor:
        picture = _complex(points[..., :2])
        # Of float64, the only digits that float32 would lose are those of where the face lies.
        picture = (picture - picture[:, _RIGHT, None]).astype(np.complex64, copy=False)
        distance = np.abs(picture[:, _LEFT])
        has_depth = points.shape[2] == 3
        if has_depth:
            depth = (points[..., 2] - points[:, _RIGHT, None, 2]).astype(np.float32, copy=False)
            distance = np.hypot(distance, depth[:, _LEFT])
        is_face = (distance > SMALLEST_EYE_DISTANCE) & (distance < LARGEST_EYE_DISTANCE)
        scale = 1 / np.where(is_face, distance, np.float32(np.nan))
        tilt = None
        if self._upright:
            tilt = picture.dot(_TILT)
            tilt += np.float32(1e-30)  # a line without length is not turned
            tilt /= np.abs(tilt)
            picture *= (tilt.conj() * scale)[:, None]
        else:
            picture *= scale[:, None]
        x = picture.view(np.float32)
        if has_depth:
            x = np.concatenate([x, depth * scale[:, None]], axis=1)
        pose = self._folded(torch.from_numpy(x))
        if self._output == "euler_angles":
            pose[:, :3] = euler_to_rotvec(pose[:, :3])
        elif tilt is not None or pitch_zero:
            _turn_rows(pose.numpy()[:, :3], tilt, -pitch_zero)
        return pose

    def _one(self, points: Floats, pitch_zero: float) -> Floats:
        points = np.subtract(points, points[_RIGHT], order="C")
        distance = math.hypot(*points[_LEFT].tolist())
        if not SMALLEST_EYE_DISTANCE < distance < LARGEST_EYE_DISTANCE:
            distance = math.nan
        picture = _complex(points[:, :2])
        down = complex(picture.dot(_TILT)) if self._upright else 1
        tilt = cmath.phase(down)
        picture *= cmath.rect(1 / distance, -tilt)
        x = picture.view(np.float32)
        if points.shape[1] == 3:
            x = np.concatenate([x, points[:, 2] / distance])
        pose = self._folded.of_one(x)
        if self._output == "euler_angles":
            pitch, yaw, roll = pose[:3].tolist()
            pose[:3] = _turn_one((0.0, yaw, 0.0), roll, pitch)
        elif self._upright or pitch_zero:
            pose[:3] = _turn_one(pose[:3].tolist(), tilt, -pitch_zero)
        return pose


def _complex(points: NDArray[Any]) -> NDArray[Any]:
    """``[..., 68]`` points ``x + i y`` of ``[..., 68, 2]``, without a copy where none is needed."""
    kind = np.complex64 if points.dtype == np.float32 else np.complex128
    found: NDArray[Any] = np.ascontiguousarray(points).view(kind)[..., 0]
    return found


# A quaternion is a + c i with complex a = w + k z and c = x + k y, of any length: what matters is
# the ratio of its parts. A turn about z is a product with a complex number.


def _turn_one(rotvec: Any, roll: float, pitch: float) -> tuple[float, float, float]:
    """:func:`~feat_pose_plugin.mlp.model.turn` of one rotation, in numbers."""
    x, y, z = rotvec
    angle = math.hypot(x, y, z)
    unit = math.tan(0.5 * angle) / angle if angle else 0.5
    turn = cmath.rect(1, 0.5 * roll)
    a, c = turn * complex(1, unit * z), turn * complex(unit * x, unit * y)
    p, q = math.cos(0.5 * pitch), math.sin(0.5 * pitch)
    a, c = p * a - q * c, p * c + q * a
    length = math.hypot(a.imag, c.real, c.imag)
    factor = 2 * math.atan2(length, abs(a.real)) / length if length else 2.0
    factor = math.copysign(factor, a.real)
    return factor * c.real, factor * c.imag, factor * a.imag


def _turn_rows(rotvec: Floats, roll: NDArray[Any] | None, pitch: float) -> None:
    """The same in place for ``[B, 3]``; ``roll`` is ``[B]`` complex numbers of length 1."""
    length = _lengths(rotvec)
    unit = np.tan(0.5 * length) / length
    ac = np.empty((len(rotvec), 2), np.complex64)
    parts = ac.view(np.float32)
    parts[:, 0] = 1
    np.multiply(rotvec[:, 2], unit, out=parts[:, 1])
    np.multiply(rotvec[:, :2], unit[:, None], out=parts[:, 2:])
    p, q = math.cos(0.5 * pitch), math.sin(0.5 * pitch)
    ac = ac.dot(np.array([[p, q], [-q, p]], np.complex64))
    if roll is not None:
        ac *= np.sqrt(roll)[:, None]
    parts = ac.view(np.float32)
    length = _lengths(parts[:, 1:])
    factor = np.arctan(length / parts[:, 0])
    factor *= 2 / length
    np.multiply(parts[:, 2:], factor[:, None], out=rotvec[:, :2])
    np.multiply(parts[:, 1], factor, out=rotvec[:, 2])


def _lengths(vectors: Floats) -> Floats:
    """``[B]`` lengths, above 0, so that one may divide by them."""
    squares: Floats = np.einsum("ij,ij->i", vectors, vectors)
    return np.maximum(np.sqrt(squares, out=squares), np.float32(1e-18), out=squares)
