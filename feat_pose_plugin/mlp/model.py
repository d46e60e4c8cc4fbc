"""The shared core: the normaliser and the network. Used by inference and training alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from feat_pose_plugin.pose.landmarks import SMALLEST_EYE_DISTANCE, outer_eye_distance

FEATURES = 136
OUTPUTS = 6


def normalise(landmarks: Tensor) -> Tensor:
    """Landmarks without position and size: what the network reads.

    The 68 points less their centroid, divided by the distance of the outer eye corners (points
    36 and 45), as py-feat's ``pose_from_landmarks_mlp`` defines it.

    Args:
        landmarks: ``[B, 68, 2]`` pixels, any float dtype.

    Returns:
        ``[B, 136]`` float32: 68 x, then 68 y. Rows with NaN stay NaN.
    """
    centred = landmarks - landmarks.mean(dim=1, keepdim=True)
    scale = outer_eye_distance(landmarks).clamp_min(SMALLEST_EYE_DISTANCE)
    return (centred / scale[:, None, None]).mT.reshape(-1, FEATURES).to(torch.float32)


class PoseMLP(nn.Module):
    """A multilayer perceptron from 136 normalised coordinates to six standardised outputs.

    Module names and order are those of py-feat's checkpoints (``net.0``, ``net.1``, ...).

    Args:
        hidden: Units of each hidden layer.
        dropout: Probability of dropping a hidden unit in training mode.
        layer_norm: True for v2 blocks (Linear, LayerNorm, GELU, Dropout), False for v1 blocks
            (Linear, ReLU, Dropout).
    """

    def __init__(
        self,
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.15,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.dropout = dropout
        self.layer_norm = layer_norm
        layers: list[nn.Module] = []
        width = FEATURES
        for units in self.hidden:
            layers.append(nn.Linear(width, units))
            layers.extend([nn.LayerNorm(units), nn.GELU()] if layer_norm else [nn.ReLU()])
            layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, OUTPUTS))
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[B, 136]`` features to ``[B, 6]`` standardised pose."""
        output: Tensor = self.net(features)
        return output
