"""The front door: landmarks of any layout in, pose columns out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.errors import BackendError, ConventionError, FrameSizeError, OptionError
from feat_pose_plugin.pose.arguments import is_length, is_number
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.camera import find_camera, line_of_sight
from feat_pose_plugin.pose.conventions import (
    FEAT_FACEPOSE_COLUMNS_6D,
    find_convention,
    from_rotvec_pose,
    unit_ratio,
)
from feat_pose_plugin.pose.frame_sizes import frame_sizes_of, in_pixels, read_frame_size
from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel, named_landmark_model
from feat_pose_plugin.pose.landmarks import Landmarks, outer_eye_distance, read_landmarks
from feat_pose_plugin.pose.partitions import estimate_partitions
from feat_pose_plugin.pose.plausibility import require_plausible, warn_caller
from feat_pose_plugin.pose.quality import QUALITY_COLUMNS, REASONS, judge, quality_columns
from feat_pose_plugin.pose.reference_face import load_rigid_face
from feat_pose_plugin.pose.registry import call_foreign, find_pose_backend
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.pose.tag import PoseTag, write_tag
from feat_pose_plugin.pose.torch_state import plain_torch

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

RotationFrame = Literal["line_of_sight", "camera"]
Translation = Literal["learned", "geometric"]

_ROWS_AT_ONCE = 2048
_FAR = 64  # distances of the outer eye corners; float32 rounds by 4e-6 of them there


@plain_torch()
def estimate_pose(
    landmarks: Tensor | NDArray[np.generic] | pd.DataFrame | object,
    *,
    pose_model: str | PoseBackend = "pose_mlp_synth",
    landmark_model: str = "auto",
    frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None,
    normalized: bool = False,
    convention: str = "feat",
    rotation_frame: RotationFrame = "line_of_sight",
    translation: Translation | None = None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    inter_ocular_mm: float | None = None,
    quality: bool = False,
    device: str | torch.device | None = None,
) -> pd.DataFrame:
    """Estimate head pose from 68 landmarks.

    Args:
        landmarks: Tensor or array ``[B, 68, 2|3]``, ``[B, 468|478, 2|3]`` (MediaPipe's mesh) or
            ``[B, 136]`` (68 x, then 68 y); or a DataFrame or Fex with landmark or mesh columns.
            Pixels of the video frame, x right, y down. A single face needs no B. Or results of
            MediaPipe as they come, which need the frame size.
        pose_model: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        landmark_model: What made the landmarks: a name that ``feat-pose models`` lists; ``"2d"`` of
            any other detector whose points 0-16 lie on the visible contour, ``"3d"`` of one whose
            points are projected points of the head. ``"auto"`` is what the landmarks show: a mesh,
            OpenFace's table, a Fex's landmark model, 3d of ``[B, 68, 3]``, and 2d of all else.
        frame_size: Height and width of the video frame in pixels: one pair, or ``[B, 2]`` with NaN
            where not known. By default the columns ``FrameHeight`` and ``FrameWidth`` of a table.
        normalized: Whether landmarks are shares of the picture instead of pixels: x and depth of
            its width, y of its height. Needs the frame size.
        convention: What the columns mean: ``"feat"`` (radians; +pitch up, +yaw to the subject's
            right, +roll towards the subject's right shoulder), ``"degrees"`` (the same in
            degrees), ``"img2pose"``, ``"300w-lp"``, ``"openface"``.
        rotation_frame: ``"line_of_sight"``, the head as seen from the camera, wherever it is in the
            picture; or ``"camera"``, in the axes of the camera, which needs the frame size.
        translation: Where X, Y, Z come from: ``"geometric"``, from rotation, landmarks and frame
            size; ``"learned"``, what the backend says; by default what it says, and geometry where
            it says nothing.
        focal_length: Of the camera, in pixels; by default height + width of the frame.
        principal_point: Where the optical axis meets the picture, x and y in pixels; by default
            its middle. With the focal length given too, the frame size need not be known.
        inter_ocular_mm: The distance of the outer eye corners in millimetres, which makes X, Y, Z
            millimetres too; by default they are in units of img2pose's reference face.
        quality: Whether to add ``PoseError``, ``PoseResidual`` and ``PoseFlags``; see
            :mod:`feat_pose_plugin.pose.quality`.
        device: Where to estimate; by default the device of a tensor, the CPU otherwise.

    Returns:
        Columns ``Pitch, Roll, Yaw, X, Y, Z``, float32, index and order of the input. A row with
        NaN, infinity or coinciding eye corners is NaN in all six. X, Y, Z, and in the camera's
        frame the angles too, are NaN where the frame size is not known.

    Raises:
        LandmarkError: ``landmarks`` hold no 68 points, or part of them, or text; or most rows hold
            coordinates in 0..1, x and y swapped, or y upwards.
        UnknownBackendError: ``pose_model`` is unknown.
        WeightsError: Its weights are not available or are damaged.
        ConventionError: ``convention`` is unknown.
        FrameSizeError: ``frame_size`` holds something else than positive pixels, or is missing
            where ``rotation_frame="camera"`` or normalised landmarks need it.
        OptionError: Another option is unknown or cannot be, or ``translation="learned"`` is asked
            of a backend that has none.
    """
    find_convention(convention)  # before any work
    estimator = PoseEstimator(
        backend=find_pose_backend(pose_model),
        landmark_model=landmark_model,
        normalized=normalized,
        convention=convention,
        rotation_frame=rotation_frame,
        translation=translation,
        focal_length=focal_length,
        principal_point=principal_point,
        inter_ocular_mm=inter_ocular_mm,
        quality=quality,
    )
    if type(landmarks).__module__.startswith("dask."):
        lazy: pd.DataFrame = estimate_partitions(estimator, landmarks, frame_size, device)
        return lazy
    return estimator(landmarks, frame_size=frame_size, device=device, seal=True)


@dataclass(frozen=True, kw_only=True)
class PoseEstimator:
    """All that :func:`estimate_pose` decides before it sees landmarks, checked once.

    What estimates many batches (tables, detectors, clusters) holds one of these. It can be pickled
    if its backend can. Its options and their errors are those of :func:`estimate_pose`.
    """

    backend: PoseBackend
    landmark_model: str = "auto"
    normalized: bool = False
    convention: str = "feat"
    rotation_frame: RotationFrame = "line_of_sight"
    translation: Translation | None = None
    focal_length: float | None = None
    principal_point: tuple[float, float] | None = None
    inter_ocular_mm: float | None = None
    quality: bool = False

    def __post_init__(self) -> None:
        _ = self.profile  # found here, because other processes do not know what was registered
        if not find_convention(self.convention).has_angles:
            raise ConventionError(
                f"convention {self.convention!r} does not fit into six columns. Estimate in 'feat' "
                "and pass the table to convert_pose."
            )
        _require_choice("rotation_frame", self.rotation_frame, get_args(RotationFrame))
        if self.translation is not None:
            _require_choice("translation", self.translation, get_args(Translation))
        for name in ("focal_length", "inter_ocular_mm"):
            value = getattr(self, name)
            if value is not None and not is_length(value):
                raise OptionError(f"{name} must be a positive number, got {value!r}.")
        match self.principal_point:
            case None:
                pass
            case (x, y) if is_number(x) and is_number(y):
                pass
            case _:
                raise OptionError(
                    "principal_point must be x and y in pixels, two finite numbers, got "
                    f"{self.principal_point!r}."
                )
        if self.translation == "learned" and not self.backend.has_translation:
            raise OptionError(
                f"translation='learned' is asked of {self.backend.provenance.name!r}, which has "
                "no X, Y, Z of its own. Leave it out, or pass translation='geometric', to have "
                "them from geometry."
            )

    @cached_property
    def profile(self) -> LandmarkModel | None:
        """The profile of the landmark model; None where it follows from the landmarks."""
        return named_landmark_model(self.landmark_model)

    @property
    def columns(self) -> list[str]:
        """The columns of the answer."""
        return [*FEAT_FACEPOSE_COLUMNS_6D, *(QUALITY_COLUMNS if self.quality else [])]

    @plain_torch()
    def __call__(
        self,
        landmarks: Tensor | NDArray[np.generic] | pd.DataFrame | Landmarks | object,
        *,
        frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None,
        device: str | torch.device | None = None,
        warn: Callable[[str], object] = warn_caller,
        seal: bool = False,
    ) -> pd.DataFrame:
        """Estimate a batch; see :func:`estimate_pose`. ``Landmarks`` are taken as they are read.

        ``warn`` is told of what is almost surely a mistake; by default it is a ``PoseWarning``. The
        tag is sealed (see :mod:`feat_pose_plugin.pose.tag`) if the batch is all that there is.
        """
        import pandas as pd

        read = landmarks
        if not isinstance(read, Landmarks):
            read = read_landmarks(read, self.profile or "auto")
        if device is not None:
            read = _to_device(read, device)
        table = landmarks if isinstance(landmarks, pd.DataFrame) else None
        sizes = self._frame_sizes(frame_size, table, len(read.points))
        if self.normalized or read.normalized:
            read = in_pixels(read, sizes)
        if not isinstance(landmarks, Landmarks):
            require_plausible(read.points, warn)
        pose = read.points.new_empty(len(read.points), 6, dtype=torch.float32)
        sure = read.confidence
        if sure is None:
            sure = pose.new_full((len(pose),), torch.nan)
        judged = pose.new_empty(len(pose), len(REASONS) + 2 if self.quality else 0)
        for rows, points, model, size in _parts(read, sizes, self.backend.reads):
            seen = self._ask_backend(points, model, size)
            pose[rows] = self._place(seen, points[..., :2], model, size)
            if self.quality:
                judge_some = partial(judge, model=model, frame_size=size)
                judged[rows] = _in_steps(judge_some, points[..., :2], seen[:, :3], sure[rows])
        block = self._in_columns(pose, None if table is None else table.index, seal)
        if self.quality:
            block[QUALITY_COLUMNS] = quality_columns(judged).set_axis(block.index)
        return block

    def _frame_sizes(self, frame_size: object, table: pd.DataFrame | None, rows: int) -> Tensor:
        """``[1, 2]`` or ``[rows, 2]`` height and width in pixels, 0 where not known."""
        sizes = None
        if frame_size is not None:
            sizes = read_frame_size(frame_size, rows)
        elif table is not None:
            sizes = frame_sizes_of(table)
        if sizes is not None:
            return sizes.nan_to_num(0).round().int()
        needed = self.rotation_frame == "camera"
        if needed and (self.focal_length is None or self.principal_point is None):
            raise FrameSizeError(
                "rotation_frame='camera' needs the frame size. Pass frame_size=(height, width), or "
                "a table with FrameHeight and FrameWidth, or both focal_length and principal_point."
            )
        return torch.zeros(1, 2, dtype=torch.int32)

    def _ask_backend(self, points: Tensor, model: LandmarkModel, size: FrameSize | None) -> Tensor:
        """``[N, 6]`` what the backend says."""
        if points.dtype == torch.float64:
            # A face outside the frame, or far from the origin, is moved: float32 would round it.
            centre = points.mean(dim=1, keepdim=True)
            reach = max(size) if size else _FAR * outer_eye_distance(points)[:, None, None]
            points = points - centre.where(centre.abs() > reach, 0)
        points = points.float()
        name, shape = self.backend.provenance.name, (len(points), 6)
        pose: object = call_foreign(
            f"pose backend {name!r} failed",
            self.backend.estimate,
            points,
            frame_size=size,
            landmark_model=model,
        )
        if isinstance(pose, Tensor) and pose.shape == shape and pose.dtype == torch.float32:
            return pose
        found = type(pose).__qualname__
        if isinstance(pose, Tensor):
            found = f"{pose.dtype} of shape {list(pose.shape)}"
        raise BackendError(
            f"pose backend {name!r} returned {found} for {len(points)} faces; the contract is a "
            f"torch.float32 tensor of shape {list(shape)}."
        )

    def _place(
        self, pose: Tensor, points: Tensor, model: LandmarkModel, size: FrameSize | None
    ) -> Tensor:
        """``[N, 6]`` pose with X, Y, Z, and in the frame of rotation that is asked for."""
        seen, position = pose[:, :3], pose[:, 3:]
        camera = find_camera(size, self.focal_length, self.principal_point).to(points.device)
        solved = torch.full_like(position, torch.nan)
        if self.rotation_frame == "camera" or camera.isfinite().all():
            rotation = line_of_sight(points.mean(dim=1), camera) @ rotvec_to_matrix(seen)
            face = load_rigid_face(model, points.device)
            solved = _in_steps(partial(face.locate, camera=camera), points, rotation)
            if self.rotation_frame == "camera":
                seen = matrix_to_rotvec(rotation)
        if self.translation == "geometric":
            position = solved
        elif self.translation is None:
            position = torch.where(position.isnan().any(dim=1, keepdim=True), solved, position)
        return torch.cat([seen, position], dim=1)

    def _in_columns(self, pose: Tensor, index: pd.Index[Any] | None, seal: bool) -> pd.DataFrame:
        """The block of columns in the convention that is asked for, tagged."""
        import pandas as pd

        convention = find_convention(self.convention)
        values = from_rotvec_pose(pose, convention.name).cpu().numpy()
        unit = convention.translation_unit
        if self.inter_ocular_mm is not None and unit == "img2pose":
            unit = "mm"
        values[:, 3:] *= unit_ratio("img2pose", unit, self.inter_ocular_mm)
        block = pd.DataFrame(values, index, _pose_columns().view())
        said = None if unit == convention.translation_unit else unit
        tag = PoseTag(convention.name, self.rotation_frame, said)
        write_tag(block, tag, values[:, :3] if seal else None)
        return block


def _parts(
    landmarks: Landmarks, sizes: Tensor, reads: Collection[LandmarkKind]
) -> Iterator[tuple[Tensor | slice, Tensor, LandmarkModel, FrameSize | None]]:
    """The rows of each landmark model and frame size, and their points; all without a copy.

    Points have depth where the model is one of meshes, and meshes are read.
    """
    if "mesh" not in reads and landmarks.depth is not None:
        landmarks = landmarks.without_depth()
    which, depth = landmarks.which, landmarks.depth
    groups: Iterable[tuple[list[int], Tensor | slice]]
    if len(landmarks.models) == len(sizes) == 1:
        groups = [([0, *sizes[0].tolist()], slice(None))]
    else:
        keys = torch.cat([which[:, None], sizes.to(which.device).expand(len(which), 2)], dim=1)
        distinct, group = torch.unique(keys, dim=0, return_inverse=True)
        counts = group.bincount(minlength=len(distinct)).tolist()
        groups = zip(distinct.tolist(), group.argsort(stable=True).split(counts), strict=True)
    for (number, height, width), rows in groups:
        model, points = landmarks.models[number], landmarks.points[rows]
        if model.kind == "mesh" and depth is not None:
            points = torch.cat([points, depth[rows][..., None]], dim=2)
        yield rows, points, model, (height, width) if height and width else None


def _in_steps(function: Callable[..., Tensor], *of_rows: Tensor) -> Tensor:
    """What a function says of rows, on a CPU in steps that leave all they need in its cache."""
    step = _ROWS_AT_ONCE if of_rows[0].device.type == "cpu" else max(len(of_rows[0]), 1)
    split = (torch.split(each, step) for each in of_rows)
    return torch.cat([function(*some) for some in zip(*split, strict=True)])


def _to_device(landmarks: Landmarks, device: str | torch.device) -> Landmarks:
    try:
        where = torch.device(device)
        if where.type == "meta":
            raise ValueError("it holds no values.")  # noqa: TRY301
        return landmarks.to(where)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:  # torch raises them all
        raise OptionError(
            f"device {device!r} is not available: {str(error).splitlines()[0]} Leave it out "
            "for the CPU."
        ) from error


@cache
def _pose_columns() -> pd.Index[str]:
    """Made once, because it takes longer than the pose of a face."""
    import pandas as pd

    return pd.Index(FEAT_FACEPOSE_COLUMNS_6D)


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not (isinstance(value, str) and value in choices):
        known = " or ".join(repr(choice) for choice in choices)
        raise OptionError(f"{name} must be {known}, got {value!r}.")
