"""Landmarks of any layout to 68 points: tensors, arrays, meshes, tables.

Layouts: 68 points (iBUG order, as dlib, 300-W and py-feat number them), MediaPipe's face mesh
(468 or 478 vertices), and Detectorv2's 68-point block of that mesh. Pixels of the video frame, x
to the right and y down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.pose.arguments import is_plain
from feat_pose_plugin.pose.columns import read_numbers
from feat_pose_plugin.pose.landmark_models import (
    LandmarkModel,
    find_landmark_model,
    is_landmark_model,
    named_landmark_model,
)
from feat_pose_plugin.pose.mediapipe_results import mesh_of_results
from feat_pose_plugin.pose.meshes import (
    MESH_VERTICES_68,
    depth_from_crop,
    from_detectorv2_block,
    from_mesh,
    has_depth,
)
from feat_pose_plugin.pose.openseeface import in_usual_order

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LANDMARKS = 68
OUTER_EYE_CORNERS = (36, 45)
SMALLEST_EYE_DISTANCE = 1e-6  # pixels; py-feat divides by no less
LARGEST_EYE_DISTANCE = 1e18  # pixels; float32 holds the squares of no more

MIRROR_68: tuple[int, ...] = (
    *range(16, -1, -1),  # jaw, ear to chin to ear
    *range(26, 16, -1),  # brows
    *range(27, 31),  # nose bridge
    *range(35, 30, -1),  # nose base
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *range(54, 47, -1),  # outer lip, upper
    *range(59, 54, -1),  # outer lip, lower
    *range(64, 59, -1),  # inner lip, upper
    *range(67, 64, -1),  # inner lip, lower
)
"""Where each landmark goes when the picture is mirrored; its own inverse."""

_OPENFACE = ["success", "confidence"]  # columns that tables of OpenFace have
_WIDTH = "FaceRectWidth"  # of py-feat's detectors of meshes: the width of their crop of the frame
_MESHES = ("mediapipe", "detectorv2")
_MEDIAPIPE_CROP = 256  # pixels a side of what MPDetector's network sees, the unit of its depth


@dataclass(frozen=True)
class Landmarks:
    """Sixty-eight landmarks per row, as read from any source.

    Attributes:
        points: ``[B, 68, 2]`` pixels. Float64 if the source is, else float32. Rows without a face
            hold NaN.
        depth: ``[B, 68]`` pixels, away from the camera positive, of meshes; None if no row has it.
        models: The landmark models that there are.
        which: ``[B]`` int64, the number in ``models`` of the one that made the row.
        normalized: Whether the source says that x and depth are shares of the width of the picture
            and y of its height.
        confidence: ``[B]`` how sure the tool is of its landmarks, 0 to 1; None if it does not say.
    """

    points: Tensor
    models: tuple[LandmarkModel, ...]
    which: Tensor
    depth: Tensor | None = None
    normalized: bool = False
    confidence: Tensor | None = None

    def to(self, device: torch.device) -> Landmarks:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: each.to(device) for name, each in vars(self).items() if isinstance(each, Tensor)
        }
        return replace(self, **moved)

    def made_by(self, landmark_model: str | LandmarkModel) -> Landmarks:
        """The same landmarks, all said to be of one landmark model."""
        parts = [self.points] if self.depth is None else [self.points, self.depth[..., None]]
        read = _of_one_model(torch.cat(parts, dim=2), find_landmark_model(landmark_model))
        return replace(read, normalized=self.normalized, confidence=self.confidence)

    def without_depth(self) -> Landmarks:
        """The same landmarks of meshes for what does not read depth."""
        return _of_one_model(self.points, self.models[0])


def read_landmarks(
    source: Tensor | NDArray[np.generic] | pd.DataFrame | object,
    landmark_model: str | LandmarkModel = "auto",
) -> Landmarks:
    """Read landmarks of any layout that :func:`~feat_pose_plugin.estimate_pose` takes.

    Tables have ``x_0..x_67, y_0..y_67``, or a mesh (``x_0..x_477`` or ``mesh_x_0..mesh_x_477``,
    with or without z). Depth is in pixels, away from the camera positive, or as py-feat's detectors
    write it; rows in which all depth is 0 are of the landmark model without depth. Rows without a
    face hold NaN: also those in which OpenFace's ``success`` is 0, or a landmark lies at (0, 0) and
    none at negative coordinates.

    Raises:
        LandmarkError: The source holds no 68 landmarks, or part of them, or text.
    """
    named = named_landmark_model(landmark_model)
    name = named.name if named else "auto"
    normalized, confidence = False, None
    if isinstance(source, Tensor):
        points, model = _points_from_tensor(source, name)
    elif isinstance(source, np.ndarray):
        points, model = _points_from_tensor(_tensor_from_array(source), name)
    else:
        import pandas as pd  # slow, and seldom needed before now

        if isinstance(source, pd.DataFrame):
            points, model, confidence = _points_from_table(source)
        else:
            mesh = torch.from_numpy(mesh_of_results(source))
            points, model = _points_from_tensor(mesh, name)
            normalized = True
    read = _of_one_model(_without_missing(points), named or find_landmark_model(model))
    read = replace(read, normalized=normalized, confidence=confidence)
    if name == "openseeface":
        return replace(read, points=in_usual_order(read.points))
    if model not in _MESHES and read.depth is None:
        points, is_block = from_detectorv2_block(read.points)
        read = replace(read, points=points)
        if named is None and is_block.any():
            block = find_landmark_model("detectorv2").without_depth()
            read = replace(read, models=(*read.models, block), which=is_block.long())
    return read


def _of_one_model(points: Tensor, model: LandmarkModel) -> Landmarks:
    """``[B, 68, 2|3]`` points; where their depth is to be read and is not there, it says so."""
    which = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    if points.shape[2] == 2 or model.kind != "mesh":
        return Landmarks(points[..., :2], (model.without_depth(),), which)
    deep = has_depth(points)
    if not deep.any():
        return _of_one_model(points[..., :2], model)
    models = (model,) if deep.all() else (model, model.without_depth())
    return Landmarks(points[..., :2], models, (~deep).long(), points[..., 2])


def _without_missing(points: Tensor) -> Tensor:
    """NaN for rows in which a landmark lies at (0, 0), a corner of the picture: it was not found.

    Landmarks around the origin of other axes have negative coordinates too, and stay.
    """
    if torch.count_nonzero(points) == points.numel():
        return points  # the rule, and found fast
    flat = points[..., :2]
    lost = (flat == 0).all(dim=2).any(dim=1) & (flat >= 0).flatten(1).all(dim=1)
    return points.masked_fill(lost[:, None, None], torch.nan)


def outer_eye_distance(points: Tensor) -> Tensor:
    """``[B]`` distance of the outer eye corners of ``[B, 68, 2]``, the unit of length of a face."""
    right, left = OUTER_EYE_CORNERS
    distance: Tensor = vector_norm(points[:, right] - points[:, left], dim=-1)
    return distance


def usable_rows(points: Tensor) -> Tensor:
    """``[B]`` bool: rows of ``[B, 68, 2]`` pixels from which a pose can be read.

    All their coordinates are finite as float32, and the outer eye corners neither coincide nor lie
    farther apart than float32 can tell.
    """
    distance = outer_eye_distance(points)
    finite = torch.isfinite(points.float()).flatten(1).all(dim=1)
    return finite & (distance > SMALLEST_EYE_DISTANCE) & (distance < LARGEST_EYE_DISTANCE)


def landmark_columns() -> list[str]:
    """The columns of a 68-landmark table, ``x_0..x_67`` then ``y_0..y_67``."""
    return _columns("xy", range(LANDMARKS))


def _columns(axes: str, numbers: Sequence[int], prefix: str = "") -> list[str]:
    return [f"{prefix}{axis}_{number}" for axis in axes for number in numbers]


def _tensor_from_array(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise LandmarkError(
            f"landmarks must hold real numbers, got an array of dtype {array.dtype}. Convert it "
            "with array.astype('float32')."
        )
    exact = np.float64 if array.dtype.kind == "f" and array.dtype.itemsize > 4 else np.float32
    with np.errstate(over="ignore"):  # beyond float64 is infinity, and so NaN in the pose
        if isinstance(array, np.ma.MaskedArray):
            array = np.ma.filled(array.astype(exact), np.nan)
        # A copy: torch takes neither memory that nobody may write to nor negative strides.
        return torch.from_numpy(np.array(array, exact, order="C"))


def _points_from_tensor(tensor: Tensor, landmark_model: str) -> tuple[Tensor, str]:
    """``[B, 68, 2|3]`` float32 or float64 points and the name of their landmark model."""
    if not is_plain(tensor):
        raise LandmarkError(
            f"landmarks must be a dense tensor of real numbers, got {tensor.dtype}, layout "
            f"{tensor.layout}{', nested' if tensor.is_nested else ''}, on device {tensor.device}."
        )
    shape = tuple(tensor.shape)
    try:
        exact = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        tensor = tensor.detach().to(exact).resolve_neg()  # NumPy takes no lazily negated memory
    except RuntimeError as error:  # dtypes that torch can only store
        raise LandmarkError(f"landmarks of {tensor.dtype} cannot be read: {error}.") from error
    if len(shape) == 2 and shape[1] in (2, 3):
        tensor = tensor[None]  # a single face
    match tuple(tensor.shape):
        case (_, 136):
            return tensor.reshape(-1, 2, LANDMARKS).mT, "2d"
        case (_, 68, 2 | 3 as axes):
            return tensor, "3d" if axes == 3 else "2d"
        case (_, 66, 2 | 3) if landmark_model == "openseeface":
            return in_usual_order(tensor), "2d"
        case (_, 468 | 478, 2 | 3 as axes):
            points = from_mesh(tensor[:, list(MESH_VERTICES_68)])
            if axes == 3 and landmark_model == "detectorv2":
                deep = has_depth(points)[:, None, None]
                points = torch.where(deep, points, depth_from_crop(points))
            return points, "mediapipe"
    raise LandmarkError(
        f"landmarks of shape {list(shape)} are not supported. Pass [B, 68, 2] or [B, 68, 3] "
        "points, [B, 468, 2|3] or [B, 478, 2|3] mesh vertices, of a single face without B, or "
        "[B, 136] (68 x, then 68 y)."
    )


def find_landmark_columns(names: Iterable[str]) -> tuple[list[str], str]:
    """Which columns of a table its landmarks are read from, and the landmark model that made them.

    The names have no spaces around them: 136, x then y; of a mesh with depth, 68 for z; then those
    that tell more about the landmarks. A LandmarkError if the table has none, part, or some twice.
    """
    present = Counter(names)
    _require_known_count(present)
    vertices = set(_columns("xy", MESH_VERTICES_68)).difference(landmark_columns())
    # A mesh table has x_0..x_67 as well, and there they are vertices, not the 68 landmarks.
    if not vertices.isdisjoint(present):
        model, prefix = "mediapipe", ""
    elif "mesh_x_0" in present:
        model, prefix = "detectorv2", "mesh_"
    else:
        model, prefix = "openface" if present.keys() >= {*_OPENFACE} else "2d", ""
    numbers = MESH_VERTICES_68 if model in _MESHES else range(LANDMARKS)
    wanted = _columns("xy", numbers, prefix)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise LandmarkError(_describe_missing(missing, wanted, list(present)))
    depth = _columns("z", numbers, prefix)
    if model in _MESHES and present.keys() >= {*depth}:
        wanted += [*depth, *([_WIDTH] if _WIDTH in present else [])]
    elif model == "openface":
        wanted += _OPENFACE
    twice = sorted(name for name in wanted if present[name] > 1)
    if twice:
        raise LandmarkError(
            f"landmark columns appear more than once: {_some(twice)}. Drop or rename the copies."
        )
    return wanted, model


def _require_known_count(present: Mapping[str, int]) -> None:
    """Refuse a whole table of landmarks that are neither 68 points nor a mesh."""
    axes = [{name[2:] for name in present if name[:2] == f"{axis}_"} for axis in "xy"]
    count = len(axes[0])
    if count < 5 or count in (LANDMARKS, 468, 478) or "mesh_x_0" in present:
        return
    if axes[0] == axes[1] == {str(point) for point in range(count)}:
        others = "Other points cannot be brought to these: use a detector of 68 points."
        more = "If its first 68 are those, as in dlib's 81, drop the others."
        raise LandmarkError(
            f"the table has {count} points, not 68 in the order of iBUG and 300-W, nor a mesh "
            f"of 468 or 478. {more if count > LANDMARKS else others}"
        )


def _points_from_table(table: pd.DataFrame) -> tuple[Tensor, str, Tensor | None]:
    """As :func:`_points_from_tensor`, from the columns of a table; and the tool's confidence."""
    names = [str(column).strip() for column in table.columns]
    wanted, model = find_landmark_columns(names)
    label_of = dict(zip(names, table.columns, strict=True))
    read = {name: label_of[name] for name in wanted}
    values = torch.from_numpy(read_numbers(table, read))
    axes = len(read) // LANDMARKS
    points = values[:, : axes * LANDMARKS].reshape(-1, axes, LANDMARKS).mT
    if model in _MESHES:
        points = from_mesh(points)
        width = values[:, -1] if _WIDTH in read else None
        if axes == 3 and model == "detectorv2":
            points = depth_from_crop(points, width)
        elif axes == 3 and width is not None:
            points = depth_from_crop(points, width / _MEDIAPIPE_CROP)
    fex = getattr(table, "landmark_model", None)  # as py-feat's tables have it
    if model == "2d" and isinstance(fex, str) and is_landmark_model(fex):
        model = fex
    if model != "openface":
        return points, model, None
    success, confidence = values[:, -len(_OPENFACE) :].T
    lost = success == 0  # OpenFace goes on writing landmarks where it has lost the face
    return points.masked_fill(lost[:, None, None], torch.nan), model, confidence


def _describe_missing(missing: list[str], wanted: list[str], present: list[str]) -> str:
    if len(missing) == len(wanted):
        return (
            f"the table has no landmark columns. Its {len(present)} columns are {_some(present)}; "
            "expected x_0..x_67 and y_0..y_67 (py-feat, OpenFace), x_0..x_477 and y_0..y_477 "
            "(MPDetector) or mesh_x_0..mesh_x_477 and mesh_y_0..mesh_y_477 (Detectorv2)."
        )
    return (
        f"the table holds only part of the landmarks: {len(missing)} of the {len(wanted)} columns "
        f"needed are missing ({_some(missing)}). Save the table with all of its landmark columns."
    )


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name[:24]) for name in names[:most])
    return f"{shown}, ..." if len(names) > most else shown or "none"
