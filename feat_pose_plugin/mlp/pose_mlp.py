"""The backends of the shared core, and py-feat's own function."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from torch import Tensor

from feat_pose_plugin.errors import LandmarkError, WeightsError, WeightsNotFoundError
from feat_pose_plugin.mlp.checkpoint import Checkpoint
from feat_pose_plugin.mlp.fetch import OFFICIAL_NAME
from feat_pose_plugin.mlp.weights import (
    find_official,
    load_checkpoint,
    load_network,
)
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend, Provenance, WeightsFile
from feat_pose_plugin.pose.conventions import to_rotvec_pose
from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel

BUNDLED = Path(__file__).parent / "bundled"
"""The weights that come with this package."""

_warned = False


class MLPBackend(PoseBackend):
    """Pose by the shared network.

    Args:
        name: The name users select it by.
        licence: Licence of the weights.
        paths: The checkpoint for each kind of landmarks.
        has_translation: Whether the network's X, Y, Z are passed on. A network that sees neither
            position nor size cannot know them; where False they are NaN.

    Raises:
        WeightsError: A checkpoint is missing or unsound.
    """

    def __init__(
        self, name: str, licence: str, paths: Mapping[LandmarkKind, Path], *, has_translation: bool
    ) -> None:
        self.has_translation = has_translation
        self.reads = frozenset(paths)
        self.provenance = Provenance(
            name=name,
            licence=licence,
            weights={
                landmark_kind: WeightsFile(path, load_checkpoint(path).sha256)
                for landmark_kind, path in paths.items()
            },
        )

    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_model: LandmarkModel,
    ) -> Tensor:
        """See :meth:`PoseBackend.estimate`. ``frame_size`` is not used."""
        del frame_size
        file = self.provenance.weights[landmark_model.kind]
        found = load_checkpoint(file.path).sha256
        if found != file.sha256:  # unpickled on another machine
            raise WeightsError(
                f"{file.path} holds other weights here (SHA-256 {found[:12]}) than where this "
                f"backend was made ({file.sha256[:12]}). Install the same on all machines."
            )
        network = load_network(file.path, landmarks.device, has_translation=self.has_translation)
        return as_rotvec_pose(network(landmarks), load_checkpoint(file.path))


def as_rotvec_pose(pose: Tensor, checkpoint: Checkpoint) -> Tensor:
    """``[B, 6]`` what a network says, its rotation as a rotation vector."""
    if checkpoint.output == "euler_angles":
        return to_rotvec_pose(pose, "img2pose")
    return pose


@cache
def synthetic_backend() -> MLPBackend:
    """``pose_mlp_synth``: this package's own weights, a pair for 2D and for 3D landmarks."""
    paths: dict[LandmarkKind, Path] = {
        "2d": BUNDLED / "pose_mlp_synth_2d.safetensors",
        "3d": BUNDLED / "pose_mlp_synth_3d.safetensors",
    }
    return MLPBackend("pose_mlp_synth", "MIT", paths, has_translation=False)


def official_backend(cache_dir: str | Path | None = None) -> MLPBackend:
    """``pose_mlp``: py-feat's official weights, one network for both landmark types.

    Args:
        cache_dir: Folder for downloads, as ``huggingface_hub`` has it.

    Raises:
        WeightsNotFoundError: The weights are in none of their places.
        WeightsError: The weights found are not sound.
    """
    path = find_official(cache_dir)
    paths: dict[LandmarkKind, Path] = {"2d": path, "3d": path}
    return MLPBackend(OFFICIAL_NAME, "py-feat's, see its hub page", paths, has_translation=True)


def pose_from_landmarks_mlp(landmarks_2d: Tensor, bboxes: Tensor | None = None) -> Tensor | None:
    """Pose from 68 landmarks by py-feat's official weights: py-feat's function, its contract.

    Convention ``img2pose``: Euler angles about x, y, z (radians, axes x right, y down, z away from
    the camera), then X, Y, Z. Landmarks are taken as they are: a row with NaN gives NaN, and
    coinciding eye corners are divided by 1e-6, as in py-feat.

    Args:
        landmarks_2d: ``[B, 68, 2]`` pixels.
        bboxes: Ignored.

    Returns:
        ``[B, 6]`` float32 on the device of the input; None where the official weights cannot be
        had, with one warning that says why.

    Raises:
        LandmarkError: (a ValueError) The shape is not ``[B, 68, 2]``.
        WeightsError: Weights were found and are not sound.
    """
    del bboxes
    global _warned
    try:
        path = find_official()
    except WeightsNotFoundError as error:
        if not _warned:
            _warned = True
            warnings.warn(f"pose_from_landmarks_mlp returns None: {error}", stacklevel=2)
        return None
    network = load_network(path, landmarks_2d.device, as_pyfeat=True)
    if landmarks_2d.dim() != 3 or landmarks_2d.shape[-1] != 2:
        raise LandmarkError(f"landmarks_2d must be [B, 68, 2], got {tuple(landmarks_2d.shape)}")
    if landmarks_2d.shape[1] != 68:
        raise LandmarkError(f"pose-MLP requires 68 landmarks, got {landmarks_2d.shape[1]}")
    return network(landmarks_2d)
