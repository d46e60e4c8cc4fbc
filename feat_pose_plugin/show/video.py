"""Videos, frame by frame, by PyAV, which is FFmpeg."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feat_pose_plugin.errors import PictureError
from feat_pose_plugin.files import write_whole, writing

if TYPE_CHECKING:
    from types import ModuleType

    from av import VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

VIDEO_FORMATS = (".mp4", ".m4v", ".mov", ".mkv")
"""What a video can be written as."""

Frames = Iterator["NDArray[np.uint8]"]
Progress = Callable[[int | None], None]

# Hardly a difference to the eye, and fast.
_QUALITY = {"crf": "18", "preset": "veryfast"}


def read_frames(path: Path) -> Frames:
    """The frames of a video in the order in which they are shown.

    Yields:
        ``[H, W, 3]`` RGB, upright where the file says how it was filmed.

    Raises:
        PictureError: PyAV is not installed, or the file cannot be read as a video.
    """
    with _open(path) as (container, stream):
        for frame in _decode(path, container, stream):
            yield _upright(frame)


def change_video(
    source: Path,
    target: Path,
    change: Callable[[Frames], Frames],
    progress: Progress | None = None,
) -> int:
    """Change the frames of a video.

    Args:
        source: Any video that FFmpeg decodes. Its first video stream is read; sound is left out.
        target: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``, in H.264, yuv420p, with the times of the
            source. A side of odd length becomes one pixel longer. Replaced if it exists; appears
            whole or not at all.
        change: Is given the frames, see :func:`read_frames`; yields as many, of the same size.
        progress: Is told, after each frame, how many the file says it has; None if it does not.

    Returns:
        The number of frames.

    Raises:
        PictureError: PyAV is not installed, the source cannot be read as a video, or the target
            has another suffix.
        TableError: The target cannot be written.
    """
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise PictureError(
            f"a video cannot be written as {target}. Its name must end in "
            f"{', '.join(VIDEO_FORMATS)}."
        )
    av = _import_av()
    with (
        _open(source) as (container, stream),
        writing(target),
        write_whole(target) as part,
        av.open(str(part), "w") as output,
    ):
        decoded: deque[VideoFrame] = deque()

        def pictures() -> Frames:
            for frame in _decode(source, container, stream):
                decoded.append(frame)
                yield _upright(frame)

        encoder: VideoStream | None = None
        count = 0
        for picture in change(pictures()):
            changed = _encodable(picture, decoded.popleft())
            if encoder is None:
                encoder = _encoder(output, stream, changed)
            output.mux(encoder.encode(changed))
            count += 1
            if progress is not None:
                progress(stream.frames or None)
        if encoder is None:
            raise PictureError(f"{source} has a video stream, and no frame in it.")
        output.mux(encoder.encode(None))
    return count


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise PictureError(
            f'videos need PyAV: {error}. Install it: pip install "feat-pose-plugin[video]".'
        ) from error
    return av


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    av = _import_av()
    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise PictureError(f"{path} cannot be read as a video: {error.strerror}.") from error
    with container:
        if not container.streams.video:
            raise PictureError(f"{path} has no video stream. Pass a video.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    av = _import_av()
    frames = container.decode(stream)
    count = 0
    while True:
        try:
            frame = next(frames, None)
        except (OSError, av.FFmpegError) as error:
            raise PictureError(
                f"frame {count} of {path} cannot be decoded: {error.strerror}. Is the file whole?"
            ) from error
        if frame is None:
            return
        yield frame
        count += 1


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """``[H, W, 3]`` RGB, turned as the file says; a telephone writes its pictures lying."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    return np.rot90(picture, round(frame.rotation / 90))


def _encodable(picture: NDArray[np.uint8], source: VideoFrame) -> VideoFrame:
    """A frame with even sides, and the colours and the time of another."""
    av = _import_av()
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    changed: VideoFrame = frame.reformat(format="yuv420p", dst_colorspace=source.colorspace)
    changed.pts, changed.time_base = source.pts, source.time_base
    return changed


def _encoder(output: OutputContainer, source: VideoStream, frame: VideoFrame) -> VideoStream:
    encoder = output.add_stream("libx264", rate=source.average_rate, options=_QUALITY)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
    if source.time_base is not None:
        encoder.codec_context.time_base = source.time_base
    encoder.codec_context.colorspace = source.codec_context.colorspace
    return encoder
