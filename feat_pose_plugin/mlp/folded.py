"""A checkpoint ready to estimate: as the plain module, and folded into few operations for a CPU."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.model import FEATURES, OUTPUTS, PoseMLP, normalise
from feat_pose_plugin.pose.landmarks import (
    LANDMARKS,
    LARGEST_EYE_DISTANCE,
    OUTER_EYE_CORNERS,
    SMALLEST_EYE_DISTANCE,
    usable_rows,
)

_ROWS_AT_ONCE = 2048  # on a CPU: few calls, and what one leaves the next finds in the cache
_RIGHT, _LEFT = OUTER_EYE_CORNERS
_ONE = 2 * _RIGHT  # where the x of the right corner stands
_HALF_ROOT = math.sqrt(0.5)
_gelu = torch.ops.aten.gelu_.default  # in place, which torch.nn.functional has no name for

Numbers = TypeVar("Numbers", Tensor, NDArray[np.float32])


class Network:
    """A checkpoint on a device, by the definition that training uses.

    It keeps nothing between calls, so that any number of threads may call it at once.

    Args:
        checkpoint: The weights.
        device: Where it estimates.
        as_pyfeat: Answer as py-feat does, which divides by 1e-6 where the outer eye corners
            coincide, and rounds the centroid of a face far from the origin. Otherwise a face is
            the same wherever it lies, and NaN where it is not usable.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, *, as_pyfeat: bool) -> None:
        self._model = deepcopy(checkpoint.model).to(device)
        self._mean = checkpoint.mean.to(device)
        self._std = checkpoint.std.to(device)
        self._as_pyfeat = as_pyfeat
        self._rows_at_once = _ROWS_AT_ONCE if device.type == "cpu" else None

    def __call__(self, landmarks: Tensor) -> Tensor:
        """Estimate, without gradients.

        Args:
            landmarks: ``[B, 68, 2]`` pixels, any float dtype, on the device of the network.

        Returns:
            ``[B, 6]`` float32 pose, as the checkpoint says. A row with NaN or infinity is NaN.
        """
        landmarks = landmarks.detach()
        rows = landmarks.shape[0]
        step = self._rows_at_once or rows
        if rows <= step:
            return self._estimate(landmarks)
        pose = torch.empty(rows, OUTPUTS, dtype=torch.float32, device=landmarks.device)
        for start in range(0, rows, step):
            room = pose[start : start + step]
            found = self._estimate(landmarks[start : start + step], room)
            if found is not room:
                room.copy_(found)
        return pose

    def _estimate(self, landmarks: Tensor, room: Tensor | None = None) -> Tensor:
        """A chunk; in ``room`` if that saves a copy."""
        del room
        return plain_pose(landmarks, self._model, self._mean, self._std, as_pyfeat=self._as_pyfeat)


def plain_pose(
    landmarks: Tensor, model: PoseMLP, mean: Tensor, std: Tensor, *, as_pyfeat: bool = False
) -> Tensor:
    """Pose by its definition: the normaliser, the network, and its scale.

    Args:
        landmarks: ``[B, 68, 2]`` pixels, any float dtype.
        model: The network.
        mean: ``[6]`` added to its standardised output after ``std`` scaled it.
        std: ``[6]``.
        as_pyfeat: See :class:`Network`.

    Returns:
        ``[B, 6]`` float32 pose, as the checkpoint says. A row with NaN or infinity is NaN.
    """
    if not as_pyfeat:
        landmarks = landmarks - landmarks[:, _RIGHT, None]
    standardised: Tensor = model(normalise(landmarks))
    pose = standardised * std + mean
    if as_pyfeat:
        return pose
    return torch.where(usable_rows(landmarks)[:, None], pose, torch.nan)


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


class FoldedNetwork(Network):
    """The same on a CPU, of a checkpoint with LayerNorm, with what is linear folded into weights.

    It differs from the plain module by rounding only:

    - Weights of the first layer sum to zero over x and over y, so that it does not matter which
      point of the face is taken off: an eye corner, not the centroid, unless as py-feat does.
    - That corner is at 0 then, so that the place of its x is free for a 1, which the first bias is
      the weight of.
    - These weights are in the order of the pixels, so that nothing is transposed.
    - LayerNorm's centring is part of the weights and biases before it.
    - The last layer gives pose, not standardised pose.

    For one face the calls take longer than the arithmetic, and NumPy's cost a third of torch's.
    TorchScript is not faster than torch here, and deprecated. ONNX Runtime is, by a quarter for
    one face and a tenth for many, which is not worth a dependency.
    """

    def __init__(self, checkpoint: Checkpoint, *, as_pyfeat: bool) -> None:
        super().__init__(checkpoint, torch.device("cpu"), as_pyfeat=as_pyfeat)
        linear = [layer for layer in checkpoint.model.net if isinstance(layer, nn.Linear)]
        norms = [layer for layer in checkpoint.model.net if isinstance(layer, nn.LayerNorm)]
        weights = [layer.weight.double() for layer in linear]
        biases = [layer.bias.double() for layer in linear]
        by_axis = weights[0].reshape(-1, 2, LANDMARKS)
        if not as_pyfeat:
            by_axis = by_axis - by_axis.mean(dim=2, keepdim=True)
        weights[0] = by_axis.mT.reshape(-1, FEATURES)
        weights[-1] = weights[-1] * checkpoint.std[:, None]
        biases[-1] = biases[-1] * checkpoint.std + checkpoint.mean

        self._hidden: list[_Hidden[Tensor]] = []
        self._hidden_of_one: list[_Hidden[NDArray[np.float32]]] = []
        of_input = 1.0  # the factor that the input of a layer lacks in _estimate_one
        for weight, bias, norm in zip(weights[:-1], biases[:-1], norms, strict=True):
            weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
            units = len(bias)
            least = torch.tensor(math.sqrt(units * norm.eps), dtype=torch.float32)
            gain, shift = norm.weight.double() * math.sqrt(units), norm.bias.double()
            self._hidden.append(
                _Hidden(weight.float().T, bias.float(), least, gain.float(), shift.float())
            )
            self._hidden_of_one.append(
                _Hidden(
                    (of_input * weight).float().numpy(),
                    bias.float().numpy(),
                    least.numpy(),
                    (_HALF_ROOT * gain).float().numpy(),
                    (_HALF_ROOT * shift).float().numpy(),
                )
            )
            of_input = _HALF_ROOT
        if not as_pyfeat:
            self._hidden[0].weight[_ONE] = self._hidden[0].bias
        self._last = weights[-1].float().T, biases[-1].float()
        self._last_of_one = (of_input * weights[-1]).float().numpy(), biases[-1].float().numpy()
        self._to_all = torch.eye(2, dtype=torch.float32).repeat(1, LANDMARKS)

    def _estimate(self, landmarks: Tensor, room: Tensor | None = None) -> Tensor:
        if landmarks.dtype == torch.float64 and not self._as_pyfeat:
            # The only digits that float32 would lose are those of where the face lies.
            landmarks = (landmarks - landmarks[:, _RIGHT, None]).float()
        if landmarks.dtype != torch.float32:
            return super()._estimate(landmarks)
        if landmarks.shape[0] == 1:
            return self._estimate_one(landmarks)
        origin = landmarks.mean(dim=1) if self._as_pyfeat else landmarks[:, _RIGHT]
        # A product with zeros and ones to subtract, for torch does not vectorise over two axes.
        x = torch.addmm(landmarks.reshape(-1, FEATURES), origin, self._to_all, alpha=-1)
        eyes = x[:, 2 * _LEFT : 2 * _LEFT + 2] - x[:, 2 * _RIGHT : 2 * _RIGHT + 2]
        distance = torch.hypot(eyes[:, :1], eyes[:, 1:])
        if self._as_pyfeat:
            distance.clamp_min_(SMALLEST_EYE_DISTANCE)
        else:
            no_face = (distance <= SMALLEST_EYE_DISTANCE) | (distance >= LARGEST_EYE_DISTANCE)
            distance.masked_fill_(no_face, torch.nan)
        x.mul_(distance.reciprocal_())
        if not self._as_pyfeat:
            x[:, _ONE] = 1
        for layer, (weight, bias, least, gain, shift) in enumerate(self._hidden):
            has_bias = layer == 0 and not self._as_pyfeat
            x = torch.mm(x, weight) if has_bias else torch.addmm(bias, x, weight)
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            x.mul_(norm.hypot_(least).reciprocal_())
            x = _gelu(torch.addcmul(shift, x, gain, out=x))
        weight, bias = self._last
        return torch.addmm(bias, x, weight, out=room)

    def _estimate_one(self, landmarks: Tensor) -> Tensor:
        pixels = landmarks.numpy()[0]
        with np.errstate(over="ignore", invalid="ignore"):
            # The sum by torch, because NumPy's would be rounded otherwise than py-feat's.
            origin = landmarks.sum(dim=1).numpy() / LANDMARKS if self._as_pyfeat else pixels[_RIGHT]
            pixels = pixels - origin
            distance = math.hypot(*(pixels[_LEFT] - pixels[_RIGHT]).tolist())
            if self._as_pyfeat:
                distance = max(distance, SMALLEST_EYE_DISTANCE)
            elif not SMALLEST_EYE_DISTANCE < distance < LARGEST_EYE_DISTANCE:
                distance = math.nan
            pixels *= 1 / distance
            x = pixels.reshape(FEATURES)
            for weight, bias, least, gain, shift in self._hidden_of_one:
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
            weight, bias = self._last_of_one
            pose = weight.dot(x)
            pose += bias
        return torch.from_numpy(pose.reshape(1, OUTPUTS))
