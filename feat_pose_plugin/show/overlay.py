"""Heads drawn where they are, on a picture or a video.

Each head is the wireframe of the reference face, drawn through img2pose's camera, and three axes
that begin at the tip of the nose: red x to the subject's left, green y up, blue z where the face
points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D
from PIL import Image
from torch import Tensor

from feat_pose_plugin.errors import FrameSizeError, PictureError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.camera import cameras, line_of_sight
from feat_pose_plugin.pose.columns import find_column, to_doubles
from feat_pose_plugin.pose.conventions import INTER_OCULAR_UNITS, to_img2pose
from feat_pose_plugin.pose.estimate import frame_sizes_of
from feat_pose_plugin.pose.landmarks import LANDMARKS, read_landmarks
from feat_pose_plugin.pose.reference_face import load_reference_face, load_rigid_face
from feat_pose_plugin.pose.rotations import rotvec_to_matrix
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.show.plots import in_feat
from feat_pose_plugin.show.video import Frames, Progress, change_video
from feat_pose_plugin.tables.frames import frame_numbers, usual_step

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PICTURE_FORMATS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

BOX_COLUMNS = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]

_STROKES = (
    [*range(17)],  # jaw
    [*range(17, 22)],  # brows
    [*range(22, 27)],
    [*range(27, 31)],  # nose
    [*range(31, 36)],
    [*range(36, 42), 36],  # eyes
    [*range(42, 48), 42],
    [*range(48, 60), 48],  # lips
    [*range(60, 68), 60],
)
_WIRE = [landmark for stroke in _STROKES for landmark in stroke]
_WIRE_CODES = [
    code for stroke in _STROKES for code in (Outline.MOVETO, *[Outline.LINETO] * (len(stroke) - 1))
]
_NOSE_TIP = 30
# In distances of the outer eye corners; longer where the face points, which is seen from its end.
_AXES = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.5]])
_AXIS_COLOURS = ("#e6261f", "#1fae2c", "#2f7bff")
_WIRE_COLOUR = "white"
_EDGE_COLOUR = "black"  # around each line, so that it is seen on any ground


@dataclass(frozen=True)
class _Heads:
    """Heads in a picture.

    Attributes:
        rows: ``[n]`` of the table.
        points: ``[n, 71, 2]`` pixels: the 68 points of the face, then the ends of the axes.
        depth: ``[n, 71]`` their distance from the camera's plane, in face units.
        size: ``[n]`` distance of the outer eye corners in pixels, of a face from the front.
    """

    rows: NDArray[np.intp]
    points: NDArray[np.float32]
    depth: NDArray[np.float32]
    size: NDArray[np.float32]


def draw_poses(
    image: NDArray[np.uint8], table: pd.DataFrame, *, convention: str | None = None
) -> NDArray[np.uint8]:
    """Draw the heads of a table on a photograph or a video frame.

    A head stands where the rigid reference face lies best on the landmarks of the row; without
    landmark columns it fills the width of the box ``FaceRectX, FaceRectY, FaceRectWidth,
    FaceRectHeight``; without those it stands at X, Y, Z. The camera is img2pose's: focal length
    height + width, principal point in the middle. A rotation is along the line of sight, unless the
    tag says ``camera``.

    Args:
        image: ``[H, W, 3]`` uint8 RGB.
        table: Pose columns and what places the head, in pixels of the image; a row for each face.
            All rows are drawn, so pass those of this frame.
        convention: What untagged pose columns are in; ``feat`` if None.

    Returns:
        A new ``[H, W, 3]`` uint8 RGB. White is the face; from the tip of its nose go red to the
        subject's left and green up, as far as the outer eye corners are apart, and blue, half as
        long again, where the face points. Rows without a pose or a place (NaN) are not drawn.

    Raises:
        PictureError: The image is something else, or nothing in the table says where heads are.
        FrameSizeError: The table says that its frames have another size.
        ConventionError: See :func:`~feat_pose_plugin.show.plots.in_feat`.
        LandmarkError: Part of the landmark columns is missing, or holds text.
    """
    _require_picture(image)
    height, width = image.shape[:2]
    heads = _find_heads(table, (height, width), convention)
    return _draw(image, heads, range(len(heads.rows)))


def overlay_picture(
    source: Path, table: pd.DataFrame, target: Path, *, convention: str | None = None
) -> None:
    """Draw the heads of a table on a picture file.

    Args:
        source: What Pillow reads. How a camera was held (EXIF) is ignored, as py-feat does.
        table: See :func:`draw_poses`. Of a table about several files (column ``input``), the rows
            that are about a file of this name.
        target: A picture, by suffix. Replaced if it exists; appears whole or not at all.
        convention: See :func:`draw_poses`.

    Raises:
        PictureError: The source cannot be read, the target has an unknown suffix, or the table is
            about other files.
        TableError: The target cannot be written.
        FeatPoseError: As :func:`draw_poses`.
    """
    if target.suffix.lower() not in PICTURE_FORMATS:
        raise PictureError(
            f"a picture cannot be written as {target}. Its name must end in "
            f"{', '.join(PICTURE_FORMATS)}."
        )
    try:
        with Image.open(source) as file:
            image = np.asarray(file.convert("RGB"))
    except (OSError, ValueError) as error:
        raise PictureError(f"{source} cannot be read as a picture: {error}.") from error
    drawn = draw_poses(image, rows_about(source, table), convention=convention)
    with writing(target), write_whole(target) as part:
        Image.fromarray(drawn).save(part)


def overlay_video(
    source: Path,
    table: pd.DataFrame,
    target: Path,
    *,
    convention: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Draw the heads of a table on a video.

    The column ``frame`` says which frame a row is about, counted from 0; without it, row after row
    is. Where a table has every n-th frame only (py-feat's ``skip_frames``), its heads stay for n
    frames.

    Args:
        source: What FFmpeg decodes.
        table: See :func:`draw_poses`. Of a table about several files (column ``input``), the rows
            that are about a file of this name.
        target: See :func:`~feat_pose_plugin.show.video.change_video`.
        convention: See :func:`draw_poses`.
        progress: See :func:`~feat_pose_plugin.show.video.change_video`.

    Returns:
        The number of frames.

    Raises:
        PictureError: See :func:`~feat_pose_plugin.show.video.change_video`; or the table is about
            other files, or about frames that the video does not have.
        TableError: The target cannot be written.
        FeatPoseError: As :func:`draw_poses`.
    """
    table = rows_about(source, table)
    numbers = frame_numbers(table)
    numbers = np.arange(len(table), dtype=np.float64) if numbers is None else numbers
    frames, step = np.unique(numbers), usual_step(numbers)

    def draw(pictures: Frames) -> Frames:
        first = next(pictures, None)
        if first is None:
            return
        heads = _find_heads(table, first.shape[:2], convention)
        heads_of: dict[float, list[int]] = {}
        for head, row in enumerate(heads.rows):
            heads_of.setdefault(numbers[row], []).append(head)
        count = 0
        for count, picture in enumerate(chain([first], pictures), 1):
            known = frames[: np.searchsorted(frames, count - 1, side="right")]
            is_fresh = len(known) and count - 1 - known[-1] < step
            yield _draw(picture, heads, heads_of.get(known[-1], ()) if is_fresh else ())
        if len(frames) and frames[-1] >= count:
            raise PictureError(
                f"the table has a frame {frames[-1]:.0f}, counted from 0, and {source} has only "
                f"{count} frames. Is it the table of another video?"
            )

    return change_video(source, target, draw, progress)


def _require_picture(image: object) -> None:
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} of shape {list(image.shape)}"
    else:
        found = type(image).__qualname__
    raise PictureError(f"a picture must be a uint8 array [H, W, 3], RGB, got {found}.")


def rows_about(source: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one file, of a table that is about several."""
    inputs = find_column(table, "input")
    if inputs is None or inputs.nunique() < 2:
        return table
    names = inputs.map(lambda path: PurePath(str(path)).name)
    if not (names == source.name).any():
        raise PictureError(
            f"the table is about {', '.join(sorted(set(names))[:6])}, not about {source.name}. "
            "Pass one of these, or the rows that you want."
        )
    return table[names == source.name]


def _find_heads(table: pd.DataFrame, size: tuple[int, int], convention: str | None) -> _Heads:
    """Where the heads of a table are in pictures of a size (height, width)."""
    import pandas as pd

    pose = in_feat(table, convention)
    # A plain DataFrame, because selecting from a Fex builds a Fex.
    plain = pd.DataFrame(table).rename(columns=lambda label: str(label).strip())
    _require_size(plain, size)
    tag = read_tag(pose.attrs)
    camera = cameras(torch.tensor([size], dtype=torch.float32))
    values = to_img2pose(torch.from_numpy(pose.to_numpy(np.float32)), "feat")
    if tag is not None and tag.translation_unit != "img2pose":
        values[:, 3:] = torch.nan
    rotation = rotvec_to_matrix(values[:, :3])
    turned = tag is not None and tag.rotation_frame == "camera"

    def to_camera(seen_at: Tensor) -> Tensor:
        return rotation if turned else line_of_sight(seen_at, camera) @ rotation

    device = torch.device("cpu")
    face = load_reference_face("2d", device).expand(len(plain), -1, -1)
    if "x_0" in plain or "mesh_x_0" in plain:
        landmarks = read_landmarks(plain)
        rotation = to_camera(landmarks.points.mean(dim=1))
        translation = torch.empty_like(values[:, 3:])
        face = face.clone()
        for model, rows in landmarks.rows_by_model():
            face[rows] = load_reference_face(model.kind, device)
            rigid = load_rigid_face(model.kind, device)
            translation[rows] = rigid.locate(landmarks.points[rows], rotation[rows], camera)
    elif (box := _boxes(plain)) is not None:
        rotation = to_camera(box[:, :2] + box[:, 2:] / 2)
        translation = _fill_box(box, face @ rotation.mT, camera)
    elif values[:, 3:].isfinite().any():
        translation = values[:, 3:]
        rotation = to_camera(_project(translation, camera))
    else:
        raise PictureError(
            "nothing in the table says where the heads are. It needs landmark columns, or the "
            f"columns {', '.join(BOX_COLUMNS)}, or X, Y, Z in units of the reference face."
        )
    tip = face[:, [_NOSE_TIP]]
    points = torch.cat([face, tip + INTER_OCULAR_UNITS * _AXES], dim=1)
    points = points @ rotation.mT + translation[:, None]
    depth = points[..., 2]
    rows = points.isfinite().flatten(1).all(dim=1) & (depth > 0).all(dim=1)
    return _Heads(
        rows=np.flatnonzero(rows.numpy()),
        points=_project(points, camera)[rows].numpy(),
        depth=depth[rows].numpy(),
        size=(camera[0, 0] * INTER_OCULAR_UNITS / depth.mean(dim=1))[rows].numpy(),
    )


def _boxes(table: pd.DataFrame) -> Tensor | None:
    """``[B, 4]`` float32 face boxes, NaN where there is none; None where no column has them."""
    values = []
    for name in BOX_COLUMNS:
        column = find_column(table, name)
        if column is None:
            return None
        try:
            values.append(to_doubles(column))
        except ValueError as error:
            raise PictureError(f"column {name!r} of the face boxes {error}.") from error
    return torch.from_numpy(np.stack(values, axis=1)).float()


def _require_size(table: pd.DataFrame, size: tuple[int, int]) -> None:
    sizes = frame_sizes_of(table)
    if sizes is None:
        return
    known = sizes[sizes.isfinite().all(dim=1)]
    wrong = known[(known != known.new_tensor(size)).any(dim=1)]
    if len(wrong):
        height, width = wrong[0].tolist()
        raise FrameSizeError(
            f"the table is about frames of height {height:g} and width {width:g}, and this one has "
            f"{size[0]} and {size[1]}. Pass the picture or video that the landmarks are from."
        )


def _project(points: Tensor, camera: Tensor) -> Tensor:
    """``[..., 3]`` points in the camera's axes to ``[..., 2]`` pixels."""
    pixels: Tensor = camera[0, 0] * points[..., :2] / points[..., 2:] + camera[0, 1:]
    return pixels


def _fill_box(box: Tensor, turned: Tensor, camera: Tensor) -> Tensor:
    """Where turned faces stand that are as wide as their boxes and touch the bottom.

    Detectors draw a face's box from the hairline to the chin, and the landmarks begin at the brows.

    Args:
        box: ``[B, 4]`` x, y, width and height in pixels.
        turned: ``[B, 68, 3]`` faces in the camera's axes.
        camera: ``[1, 3]``.

    Returns:
        ``[B, 3]`` translations, as if both sides of the face were equally far away.
    """
    across, down = turned[..., 0], turned[..., 1]
    ends = torch.stack([across.argmin(dim=1), across.argmax(dim=1), down.argmax(dim=1)], dim=1)
    left, right, chin = turned.gather(1, ends[..., None].expand(-1, -1, 3)).unbind(dim=1)
    focal, principal_x, principal_y = camera[0]
    sides = (left + right) / 2
    depth = focal * (right - left)[:, 0] / box[:, 2] - sides[:, 2]
    x = (box[:, 0] + box[:, 2] / 2 - principal_x) * (depth + sides[:, 2]) / focal - sides[:, 0]
    y = (box[:, 1] + box[:, 3] - principal_y) * (depth + chin[:, 2]) / focal - chin[:, 1]
    return torch.stack([x, y, depth], dim=1)


def _draw(image: NDArray[np.uint8], heads: _Heads, which: Sequence[int]) -> NDArray[np.uint8]:
    """A copy of a picture with some of the heads on it, the farthest first."""
    drawn = image.copy()
    for head in sorted(which, key=lambda head: -heads.depth[head].mean()):
        points, size = heads.points[head], float(heads.size[head])
        thin, thick = max(size / 50, 1), max(size / 16, 2)
        # Only this part of the picture changes.
        left, top = np.maximum(points.min(axis=0) - thick, 0).astype(int)
        right, bottom = np.maximum(points.max(axis=0) + thick + 1, 0).astype(int)
        part = drawn[top:bottom, left:right]
        if not part.size:
            continue
        height, width = part.shape[:2]
        # A point is a pixel.
        renderer = RendererAgg(width, height, 72)  # type: ignore[no-untyped-call]
        canvas = np.asarray(renderer.buffer_rgba())  # type: ignore[no-untyped-call]
        canvas[..., :3], canvas[..., 3] = part, 255
        points = points - (left, top)
        _stroke(renderer, Outline(points[_WIRE], _WIRE_CODES), thin, _WIRE_COLOUR)
        for axis in np.argsort(-heads.depth[head, LANDMARKS:]):
            line = Outline(points[[_NOSE_TIP, LANDMARKS + axis]])
            _stroke(renderer, line, thick, _AXIS_COLOURS[axis])
        part[:] = canvas[..., :3]
    return drawn


def _stroke(renderer: RendererAgg, line: Outline, width: float, colour: str) -> None:
    down = Affine2D().scale(1, -1).translate(0, renderer.height)  # its y goes up
    for stroke, shade in ((width * 1.6, _EDGE_COLOUR), (width, colour)):
        pen = renderer.new_gc()
        pen.set_linewidth(stroke)
        pen.set_foreground(shade)
        pen.set_capstyle("round")
        pen.set_joinstyle("round")
        pen.set_snap(False)
        renderer.draw_path(pen, line, down)  # type: ignore[no-untyped-call]
        pen.restore()
