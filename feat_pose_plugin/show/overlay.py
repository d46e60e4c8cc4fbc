"""Heads drawn where they are, on a picture or a video.

Each head is the wireframe of the reference face, drawn through img2pose's camera, and three axes
that begin at the tip of the nose: red x to the subject's left, green y up, blue z where the face
points.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D
from PIL import Image

from feat_pose_plugin.errors import PictureError, PoseWarning
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.landmarks import LANDMARKS
from feat_pose_plugin.show import PICTURES
from feat_pose_plugin.show.heads import NOSE_TIP, Heads, find_heads
from feat_pose_plugin.show.video import Frame, read_frames, write_video
from feat_pose_plugin.tables.frames import first_frame, frame_numbers, rows_about, usual_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STROKES = (
    [*range(17)],  # jaw
    *([*range(17, 22)], [*range(22, 27)]),  # brows
    *([*range(27, 31)], [*range(31, 36)]),  # nose
    *([*range(36, 42), 36], [*range(42, 48), 42]),  # eyes
    *([*range(48, 60), 48], [*range(60, 68), 60]),  # lips
)
_WIRE = [landmark for stroke in _STROKES for landmark in stroke]
_WIRE_CODES = [
    code for stroke in _STROKES for code in (Outline.MOVETO, *[Outline.LINETO] * (len(stroke) - 1))
]
_AXIS_COLOURS = ("#e6261f", "#1fae2c", "#2f7bff")
_WIRE_COLOUR = "white"
_FULL_SCALES = (1, 255, 65535, 2**31 - 1, 2**32 - 1)  # what white is, in pictures of 32 bits
_EDGE_COLOUR = "black"  # around each line, so that it is seen on any ground


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
        convention: What the pose columns are in, if no tag says it.

    Returns:
        A new ``[H, W, 3]`` uint8 RGB. White is the face; from the tip of its nose go red to the
        subject's left and green up, as far as the outer eye corners are apart, and blue, half as
        long again, where the face points. Rows without a pose or a place (NaN) are not drawn.

    Raises:
        PictureError: The image is something else, or nothing in the table says where heads are.
        FrameSizeError: The table says that its frames have another size.
        ConventionError: See :func:`~feat_pose_plugin.show.poses.in_feat`.
        LandmarkError: Part of the landmark columns is missing, or holds text.
    """
    is_array = isinstance(image, np.ndarray)
    if not (is_array and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size):
        found = f"{image.dtype} of shape {list(image.shape)}" if is_array else type(image).__name__
        raise PictureError(f"a picture must be a uint8 array [H, W, 3], RGB, got {found}.")
    heads = find_heads(table, image.shape[:2], convention)
    return _draw(image, heads, range(len(heads.rows)))


def overlay_picture(
    source: Path, table: pd.DataFrame, target: Path, *, convention: str | None = None
) -> None:
    """Draw the heads of a table on a picture file; see :func:`draw_poses`.

    Pillow reads it. How a camera was held (EXIF) is ignored, as py-feat does; of 16 and 32 bits the
    brightest eight are kept. Of a table with a column ``input``, the rows about this file are
    drawn. The target appears whole or not at all.

    Raises:
        PictureError: The source cannot be read, the target has an unknown suffix, or the table is
            about other files or about several frames.
        TableError: The target cannot be written.
    """
    if target.suffix.lower() not in PICTURES:
        raise PictureError(
            f"a picture cannot be written as {target}. Its name must end in {', '.join(PICTURES)}."
        )
    rows = rows_about(source, table)
    frames = frame_numbers(rows)
    if frames is not None and len(np.unique(frames[np.isfinite(frames)])) > 1:
        raise PictureError(
            f"the table has rows of several frames, and {source} is one picture. Pass the video, "
            "or only the rows of this picture."
        )
    drawn = draw_poses(_read_picture(source), rows, convention=convention)
    with writing(target), write_whole(target) as part:
        Image.fromarray(drawn).save(part)


def overlay_video(
    source: Path,
    table: pd.DataFrame,
    target: Path,
    *,
    convention: str | None = None,
    first: int | None = None,
    progress: Callable[[int | None], None] = lambda _: None,
) -> int:
    """Draw the heads of a table on a video; returns the number of frames.

    The column ``frame`` says which frame a row is about; without it, the first row is about the
    first frame, and so on. Where a table has every n-th frame only (py-feat's ``skip_frames``), its
    heads stay for n frames. Rows whose ``frame`` is empty are not drawn, with a warning.

    Args:
        source: What FFmpeg decodes.
        table: See :func:`overlay_picture`.
        target: See :func:`~feat_pose_plugin.show.video.write_video`.
        convention: See :func:`draw_poses`.
        first: The number of the video's first frame in the table; see :func:`video_frames`.
        progress: Is told, after each frame, how many the file says it has; None if it does not.

    Raises:
        PictureError: A video cannot be read or written, or the table is about other files, or about
            frames that the video does not have.
        TableError: The target cannot be written.
    """
    table = rows_about(source, table)
    numbers = video_frames(table, first)
    step = usual_step(numbers)
    frames = np.unique(numbers[np.isfinite(numbers)])
    lost = int(np.isnan(numbers).sum())
    if lost:
        warnings.warn(
            f"{lost} of {len(numbers)} rows have no number in the column 'frame'. They are not "
            "drawn.",
            PoseWarning,
            stacklevel=2,
        )

    def drawn() -> Iterator[Frame]:
        number, heads = 0, None
        for number, frame in enumerate(read_frames(source)):
            if heads is None:
                heads = find_heads(table, frame.picture.shape[:2], convention)
                heads_of = pd.Series(numbers[heads.rows]).groupby(numbers[heads.rows]).indices
            known = frames[: np.searchsorted(frames, number, side="right")][-1:]
            is_fresh = len(known) and number - known[0] < step
            which = heads_of.get(known[0], ()) if is_fresh else ()
            yield frame._replace(picture=_draw(frame.picture, heads, which))
            progress(frame.stream.frames or None)
        require_frames(source, frames, number + 1)

    return write_video(target, drawn())


def video_frames(table: pd.DataFrame, first: int | None) -> NDArray[np.float64]:
    """``[n]``, which frame of its video each row is about, from 0.

    ``first`` is the number of the video's first frame in the table: if None, 1 where the table
    shows that it counts from 1, as OpenFace does, 0 elsewhere.
    """
    numbers = frame_numbers(table)
    if numbers is None:
        return np.arange(len(table), dtype=np.float64)
    return numbers - (first_frame(table) if first is None else first)


def require_frames(source: Path, frames: NDArray[np.floating], count: int) -> None:
    """Refuse frames, counted from 0, that a video of this length does not have."""
    wrong = frames[(frames < 0) | (frames >= count)]
    if len(wrong):
        raise PictureError(
            f"the table has a frame {wrong[-1]:.0f}, counted from 0, and {source} has only {count} "
            "frames. Is it the table of another video? If its first frame is not number 0, say "
            "which number it is: --first-frame."
        )


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """``[H, W, 3]`` RGB."""
    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):  # 16 or 32 bits, which Pillow would cut off
                values = np.asarray(file, np.float64)
                most = 65535 if "16" in file.mode else values.max(initial=0)
                full = next((full for full in _FULL_SCALES if full >= most), most)
                grey = (values.clip(0) * (255 / full)).round().astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError) as error:
        raise PictureError(f"{path} cannot be read as a picture: {error}.") from error


def _draw(image: NDArray[np.uint8], heads: Heads, which: Iterable[Any]) -> NDArray[np.uint8]:
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
            line = Outline(points[[NOSE_TIP, LANDMARKS + axis]])
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
