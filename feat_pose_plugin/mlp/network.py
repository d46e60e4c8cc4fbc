"""What a network says of landmarks, by definition: for training, any device, and ONNX."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.model import euler_to_rotvec, normalise, turn, turn_upright
from feat_pose_plugin.pose.landmarks import OUTER_EYE_CORNERS, usable_rows


class PyFeatNetwork(nn.Module):
    """A checkpoint as py-feat runs it, its numbers as they are.

    py-feat divides by 1e-6 where the outer eye corners coincide, and rounds the centroid of a face
    far from the origin.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.model = deepcopy(checkpoint.model)
        self.register_buffer("mean", checkpoint.mean)
        self.register_buffer("std", checkpoint.std)

    def forward(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """``[B, 68, 2]`` pixels to ``[B, 6]`` float32, what the network was taught."""
        del pitch_zero
        standardised: Tensor = self.model(normalise(landmarks))
        return standardised * self.std + self.mean


class PoseNetwork(PyFeatNetwork):
    """A checkpoint as our backends run it: a face is the same wherever it lies."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.upright, self.output = checkpoint.upright, checkpoint.output

    def forward(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """``[B, 68, 2|3]`` pixels to ``[B, 6]`` float32, NaN where a row is not usable.

        A rotation vector in camera axes, then X, Y, Z, which are NaN for networks of ours.
        ``pitch_zero`` is what a network of ours reads as the pitch of a head that looks at the
        camera, radians about x, + looks down; it is taken off.
        """
        points = landmarks - landmarks[:, OUTER_EYE_CORNERS[0], None]
        usable = usable_rows(points)[:, None]
        if self.upright:
            faces = turn_upright(points)
            pose, tilt = super().forward(faces.landmarks), faces.tilt.float()
        else:
            pose = super().forward(points)
            tilt = torch.zeros_like(pose[:, 0])
        rotvec, position = pose[:, :3], pose[:, 3:]
        if self.output == "euler_angles":
            rotvec = euler_to_rotvec(rotvec)
        else:
            position = torch.full_like(position, torch.nan)
            rotvec = turn(rotvec, tilt, -pitch_zero)
        return torch.where(usable, torch.cat([rotvec, position], dim=1), torch.nan)
