"""Videos, frame by frame, by PyAV, which is FFmpeg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from feat_pose_plugin.errors import PictureError
from feat_pose_plugin.files import write_whole, writing

if TYPE_CHECKING:
    from types import ModuleType

    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

VIDEO_FORMATS = (".mp4", ".m4v", ".mov", ".mkv")
"""What a video can be written as."""

# Hardly a difference to the eye, and fast.
_QUALITY = {"crf": "18", "preset": "veryfast"}


class Frame(NamedTuple):
    """A picture ``[H, W, 3]`` RGB, upright, and the frame and stream that it was read from."""

    picture: NDArray[np.uint8]
    source: VideoFrame
    stream: VideoStream


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of any video that FFmpeg decodes, in the order in which they are shown.

    Raises:
        PictureError: PyAV is not installed, or the file cannot be read as a video.
    """
    av = _import_av()
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PictureError(f"{path} has no video stream. Pass a video.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                # A telephone writes its pictures lying, and how they were filmed.
                yield Frame(np.rot90(picture, round(frame.rotation / 90)), frame, stream)
                count += 1
    except (OSError, av.FFmpegError) as error:
        said = f"cannot be read as a video: {error.strerror}."
        if count:
            said = f"cannot be decoded after frame {count - 1}: {error.strerror}. Is it whole?"
        raise PictureError(f"{path} {said}") from error
    if not count:
        raise PictureError(f"{path} has a video stream, and no frame in it.")


def write_video(target: Path, frames: Iterable[Frame]) -> int:
    """Write a video with the times of the frames that its pictures were read from.

    Args:
        target: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``, in H.264, yuv420p. A side of odd length
            becomes one pixel longer. Replaced if it exists; appears whole or not at all.
        frames: One or more, with pictures of one size.

    Returns:
        The number of frames.

    Raises:
        PictureError: PyAV is not installed, or the target has another suffix.
        TableError: The target cannot be written.
    """
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise PictureError(
            f"a video cannot be written as {target}. Its name must end in "
            f"{', '.join(VIDEO_FORMATS)}."
        )
    av = _import_av()
    encoder: VideoStream | None = None
    count = 0
    with writing(target), write_whole(target) as part, av.open(str(part), "w") as output:
        for count, (picture, source, stream) in enumerate(frames, 1):  # noqa: B007
            height, width = picture.shape[:2]
            even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=source.colorspace)
            frame.pts, frame.time_base = source.pts, source.time_base
            encoder = encoder or _encoder(output, stream, frame)
            output.mux(encoder.encode(frame))
        if encoder is not None:
            output.mux(encoder.encode(None))
    return count


def _encoder(output: OutputContainer, source: VideoStream, frame: VideoFrame) -> VideoStream:
    encoder = output.add_stream("libx264", rate=source.average_rate, options=_QUALITY)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
    if source.time_base is not None:
        encoder.codec_context.time_base = source.time_base
    encoder.codec_context.colorspace = source.codec_context.colorspace
    return encoder


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise PictureError(
            f'videos need PyAV: {error}. Install it: pip install "feat-pose-plugin[video]".'
        ) from error
    return av
