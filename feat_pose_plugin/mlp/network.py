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

    Args:
        checkpoint: The weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.model = deepcopy(checkpoint.model)
        self.register_buffer("mean", checkpoint.mean)
        self.register_buffer("std", checkpoint.std)

    def forward(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """Estimate.

        Args:
            landmarks: ``[B, 68, 2]`` pixels, any float dtype, on the device of the network.
            pitch_zero: Not used.

        Returns:
            ``[B, 6]`` float32: what the network was taught, Euler angles of convention
            ``img2pose`` and X, Y, Z.
        """
        del pitch_zero
        standardised: Tensor = self.model(normalise(landmarks))
        return standardised * self.std + self.mean


class PoseNetwork(PyFeatNetwork):
    """A checkpoint as our backends run it: a face is the same wherever it lies.

    Args:
        checkpoint: The weights.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.upright, self.output = checkpoint.upright, checkpoint.output

    def forward(self, landmarks: Tensor, pitch_zero: float = 0.0) -> Tensor:
        """Estimate.

        Args:
            landmarks: ``[B, 68, 2]`` or ``[B, 68, 3]`` pixels, any float dtype, on the device of
                the network.
            pitch_zero: What a network of ours reads as the pitch of a head that looks at the
                camera, radians about x, + looks down; taken off. Not used by others.

        Returns:
            ``[B, 6]`` float32: rotation vector in radians (camera axes: x right, y down, z away),
            then X, Y, Z, which are NaN for networks of ours. A row that is not usable is NaN.
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
