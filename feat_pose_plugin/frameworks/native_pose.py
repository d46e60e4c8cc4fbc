"""Poses that a framework estimates by itself, under a name that can be selected."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from feat_pose_plugin.errors import BackendError
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend, Provenance
from feat_pose_plugin.pose.landmark_models import LandmarkModel


class NativePose(PoseBackend):
    """A pose that the detector passes through, which found the face: ``needs`` names it."""

    def __init__(self, name: str, licence: str, *, needs: str) -> None:
        self.provenance = Provenance(name, licence)
        self.needs = needs

    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_model: LandmarkModel,
    ) -> NoReturn:
        """Not possible from landmarks: a BackendError that says which detector has this pose."""
        del landmarks, frame_size, landmark_model
        raise BackendError(
            f"pose_model {self.provenance.name!r} reads pictures, not landmarks: it needs "
            f"{self.needs}. For landmarks take 'pose_mlp_synth' or another pose model."
        )


def img2pose() -> NativePose:
    """``img2pose``: what py-feat's face detector of this name says of each face it finds."""
    return NativePose(
        "img2pose", "CC BY-NC 4.0", needs="py-feat's Detectorv1 with face_model='img2pose'"
    )
