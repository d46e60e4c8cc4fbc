"""The front door: landmarks of any layout in, pose columns out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.backend import FrameSize, PoseBackend
from feat_pose_plugin.conventions import FEAT_FACEPOSE_COLUMNS_6D, find_convention, from_img2pose
from feat_pose_plugin.errors import BackendError, FrameSizeError
from feat_pose_plugin.landmarks import Landmarks, LandmarkType, LandmarkTypeChoice, read_landmarks
from feat_pose_plugin.registry import get_pose_backend

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FRAME_SIZE_COLUMNS = ["FrameHeight", "FrameWidth"]


def estimate_pose(
    landmarks: Tensor | NDArray[np.generic] | pd.DataFrame,
    *,
    pose_model: str | PoseBackend = "pose_mlp_synth",
    landmark_type: LandmarkTypeChoice = "auto",
    frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None,
    convention: str = "feat",
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Estimate head pose from 68 landmarks.

    Args:
        landmarks: Tensor or array ``[B, 68, 2|3]``, ``[B, 468|478, 2|3]`` (MediaPipe's mesh) or
            ``[B, 136]`` (68 x, then 68 y); or a DataFrame or Fex with landmark or mesh columns.
            Pixels of the video frame, x right, y down.
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        landmark_type: ``"2d"`` (points 0-16 on the visible contour), ``"3d"`` (projected points
            of the head), or ``"auto"``: meshes are 3d, all other 68 points are 2d.
        frame_size: Height and width of the video frame in pixels: one pair, or ``[B, 2]`` with NaN
            where not known. By default the columns ``FrameHeight`` and ``FrameWidth`` of a table.
        convention: What the columns mean: ``"feat"`` (radians; +pitch up, +yaw to the subject's
            right, +roll towards the subject's right shoulder), ``"img2pose"``, ``"300w-lp"``,
            ``"openface"``.
        device: Where to estimate; by default the device of a tensor, the CPU otherwise.

    Returns:
        Columns ``Pitch, Roll, Yaw, X, Y, Z``, float32, index and order of the input. A row with
        NaN, infinity or coinciding eye corners is NaN in all six. X, Y, Z are NaN where the
        backend does not know them (``pose_mlp_synth``).

    Raises:
        LandmarkError: ``landmarks`` hold no 68 points, or part of them, or text.
        UnknownBackendError: ``pose_model`` is unknown.
        WeightsError: Its weights cannot be had or are not sound.
        ConventionError: ``convention`` is unknown.
        FrameSizeError: ``frame_size`` holds something else than positive pixels.
    """
    find_convention(convention)  # before any work
    estimator = PoseEstimator(
        backend=get_pose_backend(pose_model) if isinstance(pose_model, str) else pose_model,
        landmark_type=landmark_type,
        convention=convention,
    )
    return estimator(landmarks, frame_size=frame_size, device=device)


@dataclass(frozen=True, kw_only=True)
class PoseEstimator:
    """All that :func:`estimate_pose` decides before it sees landmarks, checked once.

    What estimates many batches (tables, detectors, clusters) holds one of these. It can be pickled
    if its backend can.

    Attributes:
        backend: What estimates.
        landmark_type: See :func:`estimate_pose`; the others too.
        convention: What the columns mean.

    Raises:
        ConventionError: ``convention`` is unknown.
    """

    backend: PoseBackend
    landmark_type: LandmarkTypeChoice = "auto"
    convention: str = "feat"

    def __post_init__(self) -> None:
        find_convention(self.convention)

    @property
    def columns(self) -> list[str]:
        """The columns of the answer."""
        return list(FEAT_FACEPOSE_COLUMNS_6D)

    def __call__(
        self,
        landmarks: Tensor | NDArray[np.generic] | pd.DataFrame | Landmarks,
        *,
        frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None,
        device: str | torch.device | None = None,
    ) -> pd.DataFrame:
        """Estimate a batch; see :func:`estimate_pose`. ``Landmarks`` are taken as they are read."""
        import pandas as pd

        if type(landmarks).__module__.startswith("dask."):
            from feat_pose_plugin.cluster import estimate_partitions

            return estimate_partitions(landmarks, self, frame_size=frame_size, device=device)
        table = landmarks if isinstance(landmarks, pd.DataFrame) else None
        if isinstance(landmarks, Landmarks):
            read = landmarks
        else:
            read = read_landmarks(landmarks, self.landmark_type)
        if frame_size is None and table is not None:
            frame_size = _frame_sizes_of(table)
        if frame_size is not None:
            frame_size = _read_frame_size(frame_size, len(read.points))
        if device is not None:
            read = Landmarks(read.points.to(device), read.is_3d.to(device))
        pose = self._estimate(read, frame_size)
        values = from_img2pose(pose, self.convention).cpu().numpy()
        return pd.DataFrame(
            values, columns=self.columns, index=None if table is None else table.index
        )

    def _estimate(self, landmarks: Landmarks, frame_size: FrameSize | Tensor | None) -> Tensor:
        """``[B, 6]`` what the backend says, each row as its kind of landmarks."""
        points, is_3d = landmarks.points, landmarks.is_3d
        pose = torch.empty(len(points), 6, device=points.device)
        for rows, size in _rows_by_frame_size(frame_size, len(points)):
            kinds: tuple[tuple[LandmarkType, Tensor], ...] = (
                ("2d", rows & ~is_3d.cpu()),
                ("3d", rows & is_3d.cpu()),
            )
            for landmark_type, wanted in kinds:
                if wanted.any():
                    # One kind of landmarks and frames is the rule, and is not copied.
                    batch = points if wanted.all() else points[wanted]
                    part = self.backend.estimate(
                        batch, frame_size=size, landmark_type=landmark_type
                    )
                    _check_result(self.backend, part, batch)
                    pose[wanted] = part
        return pose


def _rows_by_frame_size(
    frame_size: FrameSize | Tensor | None, rows: int
) -> Iterator[tuple[Tensor, FrameSize | None]]:
    """``[B]`` bool, the rows that have a frame size in common, and that size."""
    if not isinstance(frame_size, Tensor):
        yield torch.ones(rows, dtype=torch.bool), frame_size
        return
    known = frame_size.cpu().nan_to_num(0).int()
    sizes, group = torch.unique(known, dim=0, return_inverse=True)
    for number, (height, width) in enumerate(sizes.tolist()):
        yield group == number, (height, width) if height and width else None


def _frame_sizes_of(table: pd.DataFrame) -> Tensor | None:
    """``[B, 2]`` float32 height and width of a table's rows; None where it does not have them."""
    import pandas as pd

    names = {str(column).strip(): column for column in table.columns}
    if not all(name in names for name in FRAME_SIZE_COLUMNS):
        return None
    sizes = [pd.to_numeric(table[names[name]], errors="coerce") for name in FRAME_SIZE_COLUMNS]
    values = np.stack([size.to_numpy(dtype=np.float32, na_value=np.nan) for size in sizes], axis=1)
    values[~(values > 0)] = np.nan
    return torch.from_numpy(values)


def _read_frame_size(frame_size: object, rows: int) -> FrameSize | Tensor:
    match frame_size:
        case (int() | np.integer() as height, int() | np.integer() as width):
            if height > 0 and width > 0:
                return int(height), int(width)
        case Tensor() | np.ndarray() if tuple(frame_size.shape) == (rows, 2):
            sizes = torch.as_tensor(frame_size, dtype=torch.float32)
            if not (sizes <= 0).any():
                return sizes
    raise FrameSizeError(
        "frame_size must be (height, width) in pixels, two positive integers, or an array "
        f"[{rows}, 2] of them with NaN where not known, got {frame_size!r}."
    )


def _check_result(backend: PoseBackend, pose: Tensor, landmarks: Tensor) -> None:
    expected = (len(landmarks), 6)
    if not isinstance(pose, Tensor) or pose.shape != expected or pose.dtype != torch.float32:
        found = (
            f"{pose.dtype} of shape {list(pose.shape)}"
            if isinstance(pose, Tensor)
            else type(pose).__qualname__
        )
        raise BackendError(
            f"pose backend {backend.provenance.name!r} returned {found} for {len(landmarks)} "
            f"faces; the contract is a torch.float32 tensor of shape {list(expected)}."
        )
