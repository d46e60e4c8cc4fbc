"""Landmarks of any layout to 68 points: tensors, arrays, meshes, tables.

Layouts: 68 points (iBUG order, as dlib, 300-W and py-feat number them), MediaPipe's face mesh
(468 or 478 vertices), and Detectorv2's 68-point block of that mesh. Pixels of the video frame, x
to the right and y down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.pose.arguments import is_plain
from feat_pose_plugin.pose.columns import may_hold_numbers, numbers_in
from feat_pose_plugin.pose.landmark_models import LandmarkModel, find_landmark_model, is_auto
from feat_pose_plugin.pose.rotations import resample_by_arc_length

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

MESH_VERTICES_68: tuple[int, ...] = (
    *(127, 234, 93, 132, 172, 136, 149, 148, 152),  # jaw, the subject's right
    *(377, 378, 365, 397, 361, 323, 454, 356),  # jaw, the subject's left
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 195, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""The mesh vertex nearest to each landmark, symmetric left to right.

Found by laying MediaPipe's canonical face on ICT-FaceKit's mean face; the jaw is taken from the
mesh's face oval, the inner points from the vertices that bound eyes, lips, nose and brows.
py-feat's own table has the chin at point 10 and skips four vertices of the left cheek.
"""

# In Detectorv2's block the chin is point 10, and the step from point 15 to 16 spans five vertices
# of the mesh. That step is 0.7 to 1.7 times the median step of real jaws (AFLW2000-3D, turned
# photographs and videos, three detectors) and 3.1 to 7.0 times in the block up to 75 degrees yaw.
# On a visible contour all steps of the near side are that much longer than those of the far side,
# but as long as each other: up to 3.2 times the median step of their side. In the block: from 4.0.
_BLOCK_CHIN = 10
_BLOCK_LAST_STEP = 2.3
_BLOCK_LAST_STEP_OF_SIDE = 3.5

# How far the jaw of a mesh is set back, in ways from the nose to the temples. More for the block,
# whose step over the left cheek runs inside the face.
_SET_BACK = 0.3
_SET_BACK_BLOCK = 0.45


@dataclass(frozen=True)
class Landmarks:
    """Sixty-eight landmarks per row, as read from any source.

    Attributes:
        points: ``[B, 68, 2]`` pixels, or ``[B, 68, 3]`` with depth in pixels, away from the camera
            positive. Float64 if the source is, else float32. Rows without a face hold NaN.
        models: The landmark models that there are.
        which: ``[B]`` int64, the number in ``models`` of the one that made the row.
    """

    points: Tensor
    models: tuple[LandmarkModel, ...]
    which: Tensor

    def rows_by_model(self) -> Iterator[tuple[LandmarkModel, Tensor | slice]]:
        """The rows of each landmark model that there is; all rows, the rule, without a copy."""
        for number, model in enumerate(self.models):
            rows = self.which == number
            if rows.all():
                yield model, slice(None)
                return
            if rows.any():
                yield model, rows


def read_landmarks(
    source: Tensor | NDArray[np.generic] | pd.DataFrame,
    landmark_model: str | LandmarkModel = "auto",
) -> Landmarks:
    """Read landmarks of any supported layout.

    Args:
        source: A tensor or array ``[B, 68, 2|3]``, ``[B, 468|478, 2|3]`` (MediaPipe's mesh) or
            ``[B, 136]`` (68 x, then 68 y), of any real dtype, on any device; or a DataFrame (a
            Fex too) with ``x_0..x_67, y_0..y_67``, with a mesh (``x_0..x_477`` or
            ``mesh_x_0..mesh_x_477``), spaces around column names ignored. A depth coordinate is
            not used.
        landmark_model: What made the landmarks, see
            :mod:`feat_pose_plugin.pose.landmark_models`; ``"auto"``: meshes and Detectorv2's block
            are 3d, all other 68 points are 2d.

    Returns:
        The landmarks, rows in the order of the source, on its device.

    Raises:
        LandmarkError: The source holds no 68 landmarks, or part of them, or text.
    """
    named = None if is_auto(landmark_model) else find_landmark_model(landmark_model)
    if isinstance(source, torch.Tensor):
        points, mesh = _points_from_tensor(source)
    elif isinstance(source, np.ndarray):
        points, mesh = _points_from_tensor(_tensor_from_array(source))
    else:
        import pandas as pd  # slow, and seldom needed before now

        if not isinstance(source, pd.DataFrame):
            raise LandmarkError(
                "landmarks must be a torch tensor, a NumPy array or a pandas DataFrame, got "
                f"{type(source).__module__}.{type(source).__qualname__}."
            )
        points, mesh = _points_from_table(source)
    which = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    if mesh:
        found: tuple[LandmarkModel, ...] = (find_landmark_model(mesh).without_depth(),)
        points = _set_jaw_back(points, _SET_BACK)
    else:
        found = (find_landmark_model("2d"),)
        is_block = _is_detectorv2_block(points)
        if is_block.any():
            found += (find_landmark_model("detectorv2").without_depth(),)
            which += is_block
            respaced = _set_jaw_back(_respace_jaw(points), _SET_BACK_BLOCK)
            points = torch.where(is_block[:, None, None], respaced, points)
    if named is not None:
        return Landmarks(points, (named.without_depth(),), torch.zeros_like(which))
    return Landmarks(points, found, which)


def outer_eye_distance(points: Tensor) -> Tensor:
    """Distance of the outer eye corners, the unit of length of a face in the picture.

    Args:
        points: ``[B, 68, 2]``.

    Returns:
        ``[B]``, in the unit of ``points``.
    """
    right, left = OUTER_EYE_CORNERS
    distance: Tensor = torch.linalg.vector_norm(points[:, right] - points[:, left], dim=-1)
    return distance


def usable_rows(points: Tensor) -> Tensor:
    """Rows from which a pose can be read.

    Args:
        points: ``[B, 68, 2]`` pixels.

    Returns:
        ``[B]`` bool: all coordinates are finite as float32, and the outer eye corners neither
        coincide nor lie farther apart than float32 can tell.
    """
    distance = outer_eye_distance(points)
    finite = torch.isfinite(points.float()).flatten(1).all(dim=1)
    return finite & (distance > SMALLEST_EYE_DISTANCE) & (distance < LARGEST_EYE_DISTANCE)


def landmark_columns() -> list[str]:
    """The columns of a 68-landmark table, ``x_0..x_67`` then ``y_0..y_67``."""
    return _columns("", range(LANDMARKS))


def _columns(prefix: str, vertices: Sequence[int]) -> list[str]:
    return [f"{prefix}{axis}_{vertex}" for axis in "xy" for vertex in vertices]


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


def _points_from_tensor(tensor: Tensor) -> tuple[Tensor, str]:
    """``[B, 68, 2]`` float32 or float64 points and the landmark model of a mesh, else nothing."""
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
    match shape:
        case (_, 136):
            return tensor.reshape(-1, 2, LANDMARKS).mT, ""
        case (_, 68, 2 | 3):
            return tensor[..., :2], ""
        case (_, 468 | 478, 2 | 3):
            return tensor[:, list(MESH_VERTICES_68), :2], "mediapipe"
    raise LandmarkError(
        f"landmarks of shape {list(shape)} are not supported. Pass [B, 68, 2] or [B, 68, 3] "
        "points, [B, 468, 2|3] or [B, 478, 2|3] mesh vertices, or [B, 136] (68 x, then 68 y); "
        "a single face needs a leading axis: landmarks[None]."
    )


def find_landmark_columns(names: Iterable[str]) -> tuple[list[str], str]:
    """Which columns of a table its landmarks are read from.

    Args:
        names: The names of all its columns, without spaces around them.

    Returns:
        136 names, x then y, and the landmark model of a mesh; of other tables nothing.

    Raises:
        LandmarkError: The table has no landmarks, part of them, or some of them twice.
    """
    present = Counter(names)
    vertices = set(_columns("", MESH_VERTICES_68)).difference(landmark_columns())
    # A mesh table has x_0..x_67 as well, and there they are vertices, not the 68 landmarks.
    if not vertices.isdisjoint(present):
        wanted, mesh = _columns("", MESH_VERTICES_68), "mediapipe"
    elif "mesh_x_0" in present:
        wanted, mesh = _columns("mesh_", MESH_VERTICES_68), "detectorv2"
    else:
        wanted, mesh = landmark_columns(), ""
    missing = [name for name in wanted if name not in present]
    if missing:
        raise LandmarkError(_describe_missing(missing, wanted, list(present)))
    twice = sorted(name for name in wanted if present[name] > 1)
    if twice:
        raise LandmarkError(
            f"landmark columns appear more than once: {_some(twice)}. Drop or rename the copies."
        )
    return wanted, mesh


def _points_from_table(table: pd.DataFrame) -> tuple[Tensor, str]:
    """As :func:`_points_from_tensor`, from the columns of a table."""
    names = [str(column).strip() for column in table.columns]
    wanted, mesh = find_landmark_columns(names)
    label_of = dict(zip(names, table.columns, strict=True))
    values = _numbers(table, {name: label_of[name] for name in wanted})
    return torch.from_numpy(values).reshape(-1, 2, LANDMARKS).mT, mesh


def _numbers(table: pd.DataFrame, columns: Mapping[str, object]) -> NDArray[np.floating]:
    """The columns as ``[B, n]``, or an error that names row and column of a text."""
    import pandas as pd

    # A plain DataFrame, because selecting from a Fex builds a Fex.
    block = pd.DataFrame(table)[list(columns.values())].set_axis(list(columns), axis=1)
    for name, dtype in block.dtypes.items():
        if not may_hold_numbers(dtype):
            raise LandmarkError(f"column {name!r} is of {dtype}, not of numbers.")
    try:
        return _rows_of(block)
    except (TypeError, ValueError, ArithmeticError):
        pass
    for name, series in block.items():
        numbers = numbers_in(series)
        if None in numbers:
            row = numbers.index(None)
            label = series.index[row]
            # Of a table that is read in parts, the label counts on from part to part.
            plain = isinstance(series.index, pd.RangeIndex)
            raise LandmarkError(
                f"row {label if plain else f'{row} (index {label!r})'} of column {name!r} holds "
                f"{series.iloc[row]!r}, which is not a number. Correct it, or leave the cell empty "
                "if the face was not found."
            )
        block[str(name)] = np.array(numbers, np.float64)
    return _rows_of(block)


def _rows_of(block: pd.DataFrame) -> NDArray[np.floating]:
    """``[B, n]`` float32 or float64, row after row in memory, as the network reads them.

    A copy, because pandas may give an array that nobody may write to, and torch warns of those.
    """
    exact = np.float32 if (block.dtypes == np.float32).all() else np.float64
    return np.array(block.to_numpy(dtype=exact, na_value=np.nan), order="C")


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
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, ..." if len(names) > most else shown or "none"


def _is_detectorv2_block(points: Tensor) -> Tensor:
    """``[B]`` bool: the jaw is spaced as in py-feat's 68-from-478 table. NaN rows are False."""
    steps = torch.hypot(*torch.diff(points[:, :17], dim=1).unbind(dim=-1))  # a norm takes longer
    usual = _BLOCK_LAST_STEP * steps.median(dim=1).values
    usual_of_side = _BLOCK_LAST_STEP_OF_SIDE * steps[:, _BLOCK_CHIN - 1 : -1].median(dim=1).values
    is_block: Tensor = steps[:, -1] > torch.maximum(usual, usual_of_side)
    return is_block


def _set_jaw_back(points: Tensor, amount: float) -> Tensor:
    """Points of a mesh with the jaw where the head has its edge.

    The mesh ends at the face oval, up to 2 cm in front of the points of the head that the network
    learnt. What is moved by a multiple of the way from the bridge of the nose to the middle between
    the temples (7 cm, straight back) is again the projection of a point of the head.
    """
    back = 0.5 * (points[:, 0] + points[:, 16]) - points[:, 27]
    side = torch.linspace(2, 0, 9, dtype=points.dtype, device=points.device).clamp(max=1)
    share = amount * torch.cat([side, side[:8].flip(0)])
    jaw = points[:, :17] + share[:, None] * back[:, None]
    return torch.cat([jaw, points[:, 17:]], dim=1)


def _respace_jaw(points: Tensor) -> Tensor:
    """Detectorv2's block with points 0-16 evenly along its jaw, point 8 at the chin."""
    right = resample_by_arc_length(points[:, : _BLOCK_CHIN + 1], 9)
    left = resample_by_arc_length(points[:, _BLOCK_CHIN:17], 9)
    return torch.cat([right, left[:, 1:], points[:, 17:]], dim=1)
