"""The backends of the shared core, and py-feat's own function."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import get_args

from torch import Tensor

from feat_pose_plugin.errors import LandmarkError, WeightsNotFoundError
from feat_pose_plugin.mlp.weights import (
    OFFICIAL_NAME,
    find_official,
    load_checkpoint,
    load_network,
    run,
)
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend, Provenance, WeightsFile
from feat_pose_plugin.pose.conventions import from_rotvec_pose, to_rotvec_pose
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

    Raises:
        WeightsError: A checkpoint is missing or unsound.
    """

    def __init__(self, name: str, licence: str, paths: Mapping[LandmarkKind, Path]) -> None:
        checkpoints = {kind: load_checkpoint(path) for kind, path in paths.items()}
        outputs = {checkpoint.output for checkpoint in checkpoints.values()}
        self.has_translation = outputs == {"euler_angles"}
        self.reads = frozenset(paths)
        weights = {kind: WeightsFile(c.path, c.sha256) for kind, c in checkpoints.items()}
        self.provenance = Provenance(name=name, licence=licence, weights=weights)

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
        network = load_network(file.path, landmarks.device, sha256=file.sha256)
        pose = run(network, landmarks, math.radians(landmark_model.pitch_zero_deg))
        return undo_gain(pose, landmark_model.gain)


def undo_gain(pose: Tensor, gain: tuple[float, float]) -> Tensor:
    """``[B, 6]`` or ``[B, 3]`` rotation vectors with nods and turns as large as the head's."""
    if gain == (1.0, 1.0):
        return pose
    read = from_rotvec_pose(pose, "img2pose")
    ones = [1.0] * (pose.shape[1] - len(gain))
    return to_rotvec_pose(read / read.new_tensor([*gain, *ones]), "img2pose")


@cache
def synthetic_backend() -> MLPBackend:
    """``pose_mlp_synth``: this package's own weights, for 2D landmarks, 3D landmarks and meshes."""
    kinds = get_args(LandmarkKind)
    paths = {kind: BUNDLED / f"pose_mlp_synth_{kind}.safetensors" for kind in kinds}
    return MLPBackend("pose_mlp_synth", "MIT", paths)


def official_backend(cache_dir: str | Path | None = None) -> MLPBackend:
    """``pose_mlp``: py-feat's official weights, one network for 2D and 3D landmarks."""
    path = find_official(cache_dir)
    paths: dict[LandmarkKind, Path] = {"2d": path, "3d": path}
    return MLPBackend(OFFICIAL_NAME, "py-feat's, see its hub page", paths)


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
    return run(network, landmarks_2d)
