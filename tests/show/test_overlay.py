"""Heads on pictures and videos: where they are, how they are turned, and what stays as it was."""

from __future__ import annotations

import struct
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from command import feat_pose, refused
from PIL import Image

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.errors import (
    ConventionError,
    FrameSizeError,
    PictureError,
    PoseWarning,
    TableError,
)
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.pose.reference_face import load_reference_face
from feat_pose_plugin.pose.tag import PoseTag, write_tag
from feat_pose_plugin.show.heads import BOX_COLUMNS
from feat_pose_plugin.show.overlay import draw_poses, overlay_picture, overlay_video
from feat_pose_plugin.show.video import read_frames, write_video

HEIGHT, WIDTH = 240, 320
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
COLOURS = {"x": (230, 38, 31), "y": (31, 174, 44), "z": (47, 123, 255)}
NOSE_TIP = 30


def a_face(
    *, pitch: float = 0, yaw: float = 0, roll: float = 0, x: float = 0, y: float = 0, z: float = 5
) -> pd.DataFrame:
    """A row of pose (degrees in, feat out, in the axes of the camera) and of its landmarks."""
    rotation = convert_pose(torch.tensor([pitch, roll, yaw]).float(), "degrees", "matrix")
    face = load_reference_face(find_landmark_model("2d"), torch.device("cpu"))
    points = face @ rotation.T + torch.tensor([x, y, z])
    pixels = (HEIGHT + WIDTH) * points[:, :2] / points[:, 2:] + torch.tensor([WIDTH, HEIGHT]) / 2
    values = np.concatenate([np.deg2rad([pitch, roll, yaw]), pixels.T.flatten().numpy()])
    table = pd.DataFrame(values[None], columns=["Pitch", "Roll", "Yaw", *landmark_columns()])
    write_tag(table, PoseTag("feat", "camera"))
    return table


def drawn(table: pd.DataFrame, **options: str) -> np.ndarray:
    return draw_poses(GREY, table, **options)


def extent(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is not grey."""
    rows, columns = np.nonzero((picture != 128).any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def direction(picture: np.ndarray, axis: str, table: pd.DataFrame) -> np.ndarray:
    """``[2]`` from the tip of the nose to the middle of an axis, pixels right and down."""
    near = np.abs(picture.astype(int) - COLOURS[axis]).max(axis=2) < 12
    rows, columns = np.nonzero(near)
    tip = table[[f"x_{NOSE_TIP}", f"y_{NOSE_TIP}"]].to_numpy()[0]
    return np.array([columns.mean(), rows.mean()]) - tip


@pytest.mark.parametrize(
    ("turn", "axis", "towards"),
    [
        ({"yaw": 30}, "z", (-1, 0)),  # the subject's right is the viewer's left
        ({"yaw": -30}, "z", (1, 0)),
        ({"pitch": 30}, "z", (0, -1)),
        ({"pitch": -30}, "z", (0, 1)),
        ({}, "x", (1, 0)),  # the subject's left is the viewer's right
        ({}, "y", (0, -1)),
        ({"roll": 90}, "y", (-1, 0)),  # the crown to the subject's right
        ({"roll": -90}, "y", (1, 0)),
    ],
)
def test_axes_point_where_the_face_points(turn, axis, towards):
    table = a_face(**turn)
    found = direction(drawn(table), axis, table)
    assert np.linalg.norm(found) > 8
    assert found / np.linalg.norm(found) == pytest.approx(towards, abs=0.2)


def test_the_wireframe_lies_on_the_landmarks():
    for turn in ({"yaw": 40, "x": 1.2}, {"pitch": -25, "roll": 30, "y": 0.7, "z": 8}):
        table = a_face(**turn)
        white = np.argwhere((drawn(table) > 240).all(axis=2))[:, ::-1]
        points = table[landmark_columns()].to_numpy().reshape(2, 68).T
        away = np.linalg.norm(points[:, None] - white, axis=2).min(axis=1)
        assert np.median(away) < 1.5
        assert np.quantile(away, 0.75) < 2.5  # the others are under the axes


def test_a_rotation_along_the_line_of_sight_is_turned_into_the_cameras():
    table = a_face(yaw=20, pitch=10, x=1.5)
    landmarks = table[landmark_columns()]
    pictures = []
    for frame in ("camera", "line_of_sight"):
        pose = estimate_pose(landmarks, frame_size=(HEIGHT, WIDTH), rotation_frame=frame)
        both = landmarks.join(pose)
        both.attrs = pose.attrs
        pictures.append(drawn(both))
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() < 16
    both.attrs = {}
    np.testing.assert_array_equal(drawn(both), pictures[1])  # line of sight if nothing is said


def test_other_conventions_are_drawn_the_same():
    table = a_face(yaw=35, pitch=-10, roll=15)
    degrees = convert_pose(table, "feat", "300w-lp")
    assert np.abs(drawn(degrees).astype(int) - drawn(table)).max() < 4
    degrees.attrs = {}
    with pytest.raises(ConventionError, match="Are they degrees"):
        drawn(degrees)
    drawn(degrees, convention="300w-lp")


def test_boxes_and_places_stand_in_for_landmarks():
    table = a_face(yaw=20, x=-0.8, y=0.3, z=6)
    pose = table[["Pitch", "Roll", "Yaw"]]
    expected = extent(drawn(table))
    placed = pose.assign(X=-0.8, Y=0.3, Z=6.0)
    assert extent(drawn(placed)) == pytest.approx(expected, abs=1)
    np.testing.assert_array_equal(drawn(placed.assign(Z=-6.0)), GREY)  # behind the camera
    x, y = table[landmark_columns()].to_numpy().reshape(2, 68)
    hairline = y.min() - 0.3 * np.ptp(y)
    box = [x.min(), hairline, np.ptp(x), y.max() - hairline]
    boxed = pose.assign(**dict(zip(BOX_COLUMNS, box, strict=True)))
    boxed.attrs = {}
    assert extent(drawn(boxed)) == pytest.approx(expected, abs=0.12 * np.ptp(x))
    millimetres = placed.copy()
    write_tag(millimetres, PoseTag("feat", "camera", "mm"))
    for nowhere in (pose, millimetres):
        with pytest.raises(PictureError, match="nothing in the table says where the heads are"):
            drawn(nowhere)


def test_rows_without_a_pose_or_outside_are_not_drawn_and_the_picture_stays():
    faces = pd.concat([a_face(x=x) for x in (-1.2, 1.2, 0, 40)], ignore_index=True)
    faces.loc[1, ["Pitch", "Roll", "Yaw"]] = np.nan
    faces.loc[2, "x_30"] = np.nan
    before = GREY.copy()
    np.testing.assert_array_equal(drawn(faces), drawn(a_face(x=-1.2)))
    for nobody in (faces[1:], faces[:0]):
        np.testing.assert_array_equal(drawn(nobody), GREY)
    np.testing.assert_array_equal(GREY, before)
    left, _, right, _ = extent(drawn(a_face(x=1.4)))  # part of it
    assert (left > WIDTH / 2, right) == (True, WIDTH - 1)


def test_what_cannot_be_drawn_is_refused():
    for image in (GREY / 255, GREY[..., 0], np.zeros((4, 4, 4), np.uint8), GREY[:0], "photo.jpg"):
        with pytest.raises(PictureError, match=r"uint8 array \[H, W, 3\], RGB, got"):
            draw_poses(image, a_face())
    table = a_face().assign(FrameHeight=480, FrameWidth=640)
    with pytest.raises(FrameSizeError, match="height 480 and width 640, and this one has 240"):
        drawn(table)
    drawn(table.assign(FrameHeight=HEIGHT, FrameWidth=np.nan))


def test_five_heads_of_a_photograph_are_drawn_in_their_boxes(shared_data, feat_folder, tmp_path):
    table = pd.read_csv(shared_data / "image_faces.csv")
    table.join(estimate_pose(table)).to_csv(tmp_path / "faces.csv", index=False)
    source, out = feat_folder / "tests" / "data" / "multi_face.jpg", tmp_path / "five.png"
    result = feat_pose("overlay", source, tmp_path / "faces.csv", "-o", out)
    assert result.stdout == f"wrote {out}\n"
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (source, out))
    changed = (before != after).any(axis=2)
    boxes = table[table["input"] == "multi_face.jpg"][["x1", "y1", "x2", "y2"]].astype(int)
    assert len(boxes) == 5
    for x1, y1, x2, y2 in boxes.to_numpy():
        assert 0.03 < changed[y1:y2, x1:x2].mean() < 0.3
        margin = (x2 - x1) // 4  # the end of the red axis
        changed[y1 : y2 + margin, x1 - margin : x2 + margin] = False
    assert not changed.any()


def test_the_nearer_head_covers_the_farther():
    near, far = a_face(z=4), a_face(z=8)
    for order in ((near, far), (far, near)):
        both = pd.concat(order, ignore_index=True)
        both.attrs = near.attrs
        alone = drawn(near)
        covers = (alone != 128).any(axis=2)
        same = (drawn(both)[covers] == alone[covers]).all(axis=1)
        assert same.mean() > 0.95  # but for the soft edge of lines


def make_video(path: Path, times: list[int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A clip with a frame at each of these times (in 1/600 s), each of its own grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if size[0] % 2 else "libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 600)
        for number, time in enumerate(times):
            picture = np.full((*size, 3), 60 + 4 * number % 150, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 600)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.picture for frame in read_frames(path)]


def clip_table(frames: list[int]) -> pd.DataFrame:
    table = pd.concat([a_face(yaw=number) for number in frames], ignore_index=True)
    table["frame"] = frames
    return table


def test_an_overlay_has_the_frames_of_its_video(shared_data, feat_folder, tmp_path):
    source, out = feat_folder / "tests" / "data" / "face_noface.mov", tmp_path / "out.mp4"
    table = pd.read_csv(shared_data / "video_face_noface.csv")
    pose = estimate_pose(table)
    table.join(pose).to_csv(tmp_path / "clip.csv", index=False)
    result = feat_pose("overlay", source, tmp_path / "clip.csv", "-o", out)
    assert result.stdout == f"wrote {out}: {len(table)} frames\n"
    assert result.stderr == ""
    with av.open(str(source)) as before, av.open(str(out)) as after:
        (old, *_), (new, *others) = before.streams.video, after.streams
        assert others == []
        assert (new.width, new.height) == (old.width, old.height)
        assert new.frames == old.frames == len(table)
        # The last frame of the source may be shown a little longer.
        assert float(new.average_rate) == pytest.approx(float(old.average_rate), rel=0.01)
        assert new.codec_context.name == "h264"
        assert new.codec_context.pix_fmt == "yuv420p"
    assert times_of(out) == times_of(source)
    pairs = zip(pictures(source), pictures(out), strict=True)
    for (before_, after_), face in zip(pairs, pose["Pitch"].notna(), strict=True):
        off = np.abs(before_[::3, ::3].astype(int) - after_[::3, ::3])
        assert np.median(off) <= 2  # up to encoding
        assert ((off > 60).any(axis=2).mean() > 0.002) == face


@pytest.mark.parametrize(
    ("dtype", "white"),
    [("uint16", 65535), ("int32", 65535), ("int32", 255), ("float32", 1), ("float32", 255)],
)
def test_pictures_of_16_and_32_bits_keep_their_brightness(dtype, white, tmp_path):
    ramp = np.tile(np.linspace(0, 1, 256), (64, 1))
    Image.fromarray((ramp * white).astype(dtype)).save(tmp_path / "deep.tif")
    nobody = a_face() * np.nan
    overlay_picture(tmp_path / "deep.tif", nobody, tmp_path / "out.png")
    after = np.asarray(Image.open(tmp_path / "out.png"))
    assert after.shape == (64, 256, 3)
    np.testing.assert_allclose(after[..., 1], np.tile(np.arange(256), (64, 1)), atol=1)


def test_times_are_kept_and_odd_sides_grow_by_a_pixel(out):
    source = make_video(out / "odd.mp4", [0, 20, 60, 61, 200], size=(61, 83))
    assert write_video(out / "out.mkv", read_frames(source)) == 5
    shown, expected = (list(map(float, times_of(p))) for p in (out / "out.mkv", source))
    assert shown == pytest.approx(expected, abs=1e-3)
    before, after = pictures(source)[4], pictures(out / "out.mkv")[4]
    assert (before.shape, after.shape) == ((61, 83, 3), (62, 84, 3))
    np.testing.assert_allclose(after[:61, :83], before.astype(int), atol=8)
    np.testing.assert_allclose(after[61, 83], before[60, 82].astype(int), atol=8)


def test_a_video_that_lies_is_turned_upright(tmp_path):
    source = tmp_path / "lying.mp4"
    overlay_video(make_video(tmp_path / "clip.mp4", [0, 20]), clip_table([0, 1]), source)
    lying, data = pictures(source), source.read_bytes()
    # Where right and down go: clockwise, upside down, counterclockwise.
    for turn, matrix in ((-1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (1, (0, -1, 1, 0))):
        a, b, c, d = (65536 * number for number in matrix)
        at = data.index(b"tkhd") + 8 + 20 + 16  # ISO/IEC 14496-12, 8.3.2
        said = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        source.write_bytes(data[:at] + said + data[at + 36 :])
        np.testing.assert_array_equal(pictures(source), np.rot90(lying, turn, axes=(1, 2)))
    write_video(tmp_path / "out.mp4", read_frames(source))
    off = np.abs(np.subtract(pictures(tmp_path / "out.mp4"), pictures(source), dtype=int))
    assert np.median(off) <= 2  # up to encoding


@pytest.fixture
def video(tmp_path):
    """A clip of twelve frames, in a folder "b"."""
    (tmp_path / "b").mkdir()
    return make_video(tmp_path / "b" / "clip.mp4", [*range(0, 240, 20)])


def heads(video: Path, table: pd.DataFrame, **options) -> list[int]:
    """The frames with a head, where the table is drawn on the video."""
    target = video.with_name("out.mp4")
    overlay_video(video, table, target, **options)
    return [number for number, picture in enumerate(pictures(target)) if picture.std() > 5]


def test_a_row_is_drawn_on_its_frame_and_skipped_frames_keep_it(video):
    for frames, drawn in (
        ([2, 3, 4, 9], [2, 3, 4, 9]),  # no frame was skipped, there was no face
        ([0, 3, 6], [*range(9)]),  # skip_frames=3: up to the next, and no longer
        ([9, 3, 6], [*range(3, 12)]),
    ):
        assert heads(video, clip_table(frames)) == drawn
    rows = clip_table([0, 1, 2]).drop(columns="frame")
    rows.loc[1, "Yaw"] = np.nan
    assert heads(video, rows) == [0, 2]


def test_frames_are_counted_as_the_table_counts_them(video):
    from_one = clip_table([2, 3, 4, 12])  # as OpenFace counts
    assert heads(video, from_one.assign(timestamp=[0.033, 0.067, 0.1, 0.367])) == [1, 2, 3, 11]
    assert heads(video, from_one, first=1) == [1, 2, 3, 11]
    from_zero = clip_table([1, 2, 3])
    assert heads(video, from_zero.assign(timestamp=[0.033, 0.067, 0.1])) == [1, 2, 3]
    with pytest.raises(PictureError, match=r"a frame 12, counted from 0.*12 frames.*--first-frame"):
        heads(video, from_one)
    for cell in (np.nan, "?"):
        from_zero["frame"] = [1, cell, 3]
        with pytest.warns(PoseWarning, match="1 of 3 rows have no number"):
            assert heads(video, from_zero) == [1, 2, 3, 4]  # every second


def test_of_a_table_about_several_files_its_own_rows_are_drawn(video):
    table = clip_table([0, 2, 700])
    for inputs in (
        ["study/a.mp4", "study/clip.mp4", "study/a.mp4"],
        ["a/clip.mp4", "b/clip.mp4", "a/clip.mp4"],
        ["D:\\me\\a\\clip.mp4", "D:\\me\\b\\clip.mp4", None],
    ):
        assert heads(video, table.assign(input=inputs)) == [2]
    with pytest.raises(PictureError, match=r"about d/x\.mp4, not about clip\.mp4"):
        heads(video, table.assign(input="d/x.mp4"))
    twice = table.assign(input=["c/clip.mp4", "d/clip.mp4", "d/clip.mp4"])
    with pytest.raises(PictureError, match=r"any of c/clip\.mp4, d/clip\.mp4"):
        heads(video, twice)


def test_a_table_that_cannot_be_drawn_leaves_the_old_file(video):
    photo = video.with_name("photo.png")
    Image.fromarray(GREY).save(photo)
    with pytest.raises(PictureError, match="rows of several frames"):
        overlay_picture(photo, clip_table([0, 1]), video.with_name("out.png"))
    overlay_picture(photo, clip_table([3, 3]), video.with_name("out.png"))
    # Long enough for the encoder to have written some of it.
    make_video(video, [*range(0, 3000, 20)])
    video.with_name("out.mp4").write_text("precious")
    with pytest.raises(PictureError, match=r"a frame 150, counted from 0.* has only 150 frames"):
        heads(video, clip_table([0, 150]))
    with pytest.raises(ConventionError, match="no pose"):
        heads(video, clip_table([0]).drop(columns="Yaw"))
    assert video.with_name("out.mp4").read_text() == "precious"
    assert len([*video.parent.iterdir()]) == 4


def test_what_is_no_video_is_refused(video, tmp_path, monkeypatch):
    clip_table([0]).to_csv(tmp_path / "clip.csv", index=False)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("no picture")
    for source, target, message in (
        ("clip.csv", "out.mp4", "cannot be read as a video: Invalid data"),
        ("cut.mp4", "out.mp4", "cannot be read as a video"),
        ("sound.wav", "out.mp4", "sound.wav has no video stream"),
        ("no.mp4", "out.mp4", "no.mp4 cannot be read as a video: No such file"),
        ("b/clip.mp4", "out.avi", "must end in .mp4"),
        ("b/clip.mp4", "b/clip.mp4", "is the input itself"),
        ("text.jpg", "out.png", "text.jpg cannot be read as a picture"),
        ("text.jpg", "out.mp4", "a picture cannot be written as"),
    ):
        result = feat_pose(
            "overlay", tmp_path / source, tmp_path / "clip.csv", "-o", tmp_path / target
        )
        refused(result, 2, message)
    assert not [*tmp_path.glob("out.*")]
    with pytest.raises(TableError, match="could not be written"):
        overlay_video(video, clip_table([0]), tmp_path / "no" / "out.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PictureError, match=r'pip install "feat-pose-plugin\[video\]"'):
        heads(video, clip_table([0]))
