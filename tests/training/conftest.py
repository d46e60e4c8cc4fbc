"""A small face model, so that training is tested without the real one."""

from __future__ import annotations

import pytest
import torch

from feat_pose_plugin.pose.landmarks import MIRROR_68
from feat_pose_plugin.testing import FACE_68
from feat_pose_plugin.training.face_model import FaceModel

BAND = 120


@pytest.fixture(scope="session")
def head() -> FaceModel:
    """A symmetric face with a jaw band, four identities and two expressions; ICT-FaceKit's axes."""
    points = 0.5 * (FACE_68 + FACE_68[list(MIRROR_68)] * torch.tensor([-1.0, 1, 1]))
    jaw = torch.nn.functional.interpolate(
        points[:17].mT[None], BAND // 2, mode="linear", align_corners=True
    )[0].mT
    cheek = jaw * torch.tensor([0.9, 0.9, 1.0]) - torch.tensor([0.0, 0.0, 2.5])
    band = torch.cat([jaw * torch.tensor([1.02, 1.02, 1.0]), cheek])
    mean = torch.cat([points, band]) * torch.tensor([1.0, -1, -1])
    generator = torch.Generator().manual_seed(0)
    identity = 0.15 * torch.randn(4, len(mean), 3, generator=generator)
    lower = torch.zeros(1, len(mean), 3)
    lower[:, 4:13, 1] = -1.0  # the jaw opens
    smile = 0.1 * torch.randn(1, len(mean), 3, generator=generator)
    expression = torch.cat([smile, lower])
    edge = torch.full((len(band),), -torch.inf)
    return FaceModel(mean, edge, identity, expression, "0" * 64)
