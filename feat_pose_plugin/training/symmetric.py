"""The network whose weights are tied so that a mirrored face has the mirrored pose, exactly.

A hidden layer of ``2 h`` units is ``h`` pairs, unit ``k`` with unit ``k + h``: mirroring the face
exchanges the two of every pair. With ``P`` for the mirror image of the features, the first layer is
``[W; W P]``, every later one ``[[A, B], [B, A]]``; biases, and gains and shifts of LayerNorm, are
the same for both units of a pair. Pitch is even, ``[u, u]``; yaw and roll are odd, ``[v, -v]``
without bias. Written out, that is a plain :class:`PoseMLP`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from feat_pose_plugin.mlp.model import OUTPUTS, PoseMLP
from feat_pose_plugin.pose.landmarks import LANDMARKS, MIRROR_68


def mirror_features(features: Tensor) -> Tensor:
    """The coordinates of the mirrored faces: x negated, indices exchanged.

    Both are normalised, ``[..., 136]`` or, with depth, ``[..., 204]``: 68 x, 68 y, then 68 z.
    """
    by_axis = features.reshape(*features.shape[:-1], -1, LANDMARKS)[..., list(MIRROR_68)]
    x, others = by_axis[..., :1, :], by_axis[..., 1:, :]
    return torch.cat([-x, others], dim=-2).flatten(-2)


class SymmetricMLP(nn.Module):
    """The tied network, for training; :meth:`plain` gives the one that is kept.

    ``hidden`` are the even units of each hidden layer; ``features`` is 136, with depth 204.
    """

    def __init__(self, hidden: Sequence[int], features: int) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.features = features
        widths = [features, *self.hidden]
        pairs = [units // 2 for units in self.hidden]
        self.layers = nn.ModuleList(map(nn.Linear, widths, pairs))
        self.gains = nn.ParameterList(torch.ones(count) for count in pairs)
        self.shifts = nn.ParameterList(torch.zeros(count) for count in pairs)
        self.even = nn.Linear(pairs[-1], 1)
        self.odd = nn.Linear(pairs[-1], 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[B, features]`` to ``[B, 3]`` standardised rotation vectors."""
        *hidden, last = self._written_out()
        x = features
        for weight, bias, gain, shift in hidden:
            x = functional.linear(x, weight, bias)
            x = functional.gelu(functional.layer_norm(x, bias.shape, gain, shift))
        return functional.linear(x, *last)

    @torch.no_grad()
    def plain(self) -> PoseMLP:
        """The same as a plain stack of layers, translation 0; its weights are copies."""
        with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and replaced here
            model = PoseMLP(self.hidden, 0.0, layer_norm=True, features=self.features)
        *hidden, (weight, bias) = self._written_out()
        empty = (0, 0, 0, OUTPUTS - len(bias))  # centred landmarks do not know the translation
        last = functional.pad(weight, empty), functional.pad(bias, empty[2:])
        values = [*chain(*hidden), *last]
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
        return model.requires_grad_(False).eval()

    def _written_out(self) -> list[list[Tensor]]:
        """Weight, bias, gain and shift of each layer in full; weight and bias of the last."""
        written = []
        for number, layer in enumerate(self.layers):
            weight, bias = cast("Tensor", layer.weight), cast("Tensor", layer.bias)
            half = weight.shape[1] // 2
            other = weight.roll(half, dims=1) if number else mirror_features(weight)
            of_pairs = (bias, self.gains[number], self.shifts[number])
            written.append([torch.cat([weight, other]), *(part.repeat(2) for part in of_pairs)])
        pitch, turn = self.even.weight, self.odd.weight
        weight = torch.cat([torch.cat([pitch, pitch], 1), torch.cat([turn, -turn], 1)])
        return [*written, [weight, functional.pad(self.even.bias, (0, 2))]]
