"""X, Y, Z and the frame of rotation: heads whose place and turn are known, through a camera."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import Fake, faces, table_of, told
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.errors import FrameSizeError, OptionError
from feat_pose_plugin.pose.landmark_models import LandmarkKind, find_landmark_model
from feat_pose_plugin.pose.reference_face import load_reference_face
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.testing import project_face

HEIGHT, WIDTH = SIZE = (1080, 1920)
FOCAL, MIDDLE = 3000.0, (960.0, 540.0)
ROTATION, TRANSLATION = ["Pitch", "Roll", "Yaw"], ["X", "Y", "Z"]
TYPES: list[LandmarkKind] = ["2d", "3d"]


def seen(
    rotation: Rotation,
    translation: np.ndarray,
    landmark_model: LandmarkKind = "3d",
    focal: float = FOCAL,
    middle: tuple[float, float] = MIDDLE,
) -> Tensor:
    """``[n, 68, 2]`` float32 pixels of the reference face, projected in float64."""
    face = (
        load_reference_face(find_landmark_model(landmark_model), torch.device("cpu"))
        .double()
        .numpy()
    )
    matrices = rotation.as_matrix().reshape(-1, 3, 3)
    points = face @ matrices.transpose(0, 2, 1) + np.atleast_2d(translation)[:, None]
    pixels = points[..., :2] / points[..., 2:] * focal + middle
    return torch.from_numpy(pixels.astype(np.float32))


def rays(points: Tensor, focal: float = FOCAL, middle: tuple[float, float] = MIDDLE) -> Rotation:
    """The smallest turns from the optical axis to the rays through the centroids."""
    x, y = ((points.double().mean(dim=1).numpy() - middle) / focal).T
    angle = np.arctan(np.hypot(x, y))
    axis = np.stack([-y, x, np.zeros_like(x)], axis=1)
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    return Rotation.from_rotvec(
        np.divide(axis, length, out=np.zeros_like(axis), where=length > 0) * angle[:, None]
    )


def line_of_sight_of(rotation: Rotation, points: Tensor) -> Rotation:
    return rays(points).inv() * rotation


def rotations_of(pose: pd.DataFrame) -> Rotation:
    """Of columns in convention img2pose."""
    return Rotation.from_euler("xyz", pose[ROTATION].to_numpy(np.float64, copy=True))


def angle_between(first: Rotation, second: Rotation) -> np.ndarray:
    return np.rad2deg((first.inv() * second).magnitude())


def corners_and_between(distance: float) -> np.ndarray:
    """``[63, 3]`` places over the whole frame, the middle among them."""
    u, v = np.meshgrid(np.linspace(0, WIDTH, 9), np.linspace(0, HEIGHT, 7))
    x, y = (u.ravel() - MIDDLE[0]) / FOCAL, (v.ravel() - MIDDLE[1]) / FOCAL
    return np.stack([x, y, np.ones_like(x)], axis=1) * distance


# With the rotation known


@pytest.mark.parametrize("landmark_model", TYPES)
@pytest.mark.parametrize("distance", [3.0, 10.0, 40.0])
def test_a_known_rotation_gives_the_place_anywhere_in_the_frame(landmark_model, distance):
    places = corners_and_between(distance)
    turns = Rotation.random(len(places), random_state=0) ** 0.3
    points = seen(turns, places, landmark_model)
    pose = estimate_pose(
        points,
        pose_model=told(line_of_sight_of(turns, points)),
        landmark_model=landmark_model,
        frame_size=SIZE,
        convention="img2pose",
        rotation_frame="camera",
    )
    np.testing.assert_allclose(pose[TRANSLATION], places, rtol=0, atol=1e-4)
    assert angle_between(rotations_of(pose), turns).max() < 1e-3


@settings(max_examples=50)
@given(
    st.tuples(*[st.floats(-0.9, 0.9)] * 3),
    st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(4, 20)),
    st.floats(300, 5000),
    st.tuples(*[st.floats(-500, 2500)] * 2),
)
def test_any_camera_that_is_given_is_the_one_that_is_used(rotvec, place, focal, middle):
    turn, place = Rotation.from_rotvec([rotvec]), np.array([place])
    points = seen(turn, place, "3d", focal, middle)
    pose = estimate_pose(
        points,
        pose_model=told(rays(points, focal, middle).inv() * turn),
        landmark_model="3d",
        convention="img2pose",
        rotation_frame="camera",
        focal_length=focal,
        principal_point=middle,
    )
    np.testing.assert_allclose(pose[TRANSLATION], place, rtol=2e-5, atol=2e-5 * place[0, 2])
    assert angle_between(rotations_of(pose), turn).max() < 1e-3


def test_the_camera_is_img2poses_and_either_part_can_be_given():
    turn, place = Rotation.identity(1), np.array([[0.3, -0.2, 9.0]])
    for given_, focal, middle in (
        ({}, FOCAL, MIDDLE),
        ({"focal_length": 1500.0}, 1500.0, MIDDLE),
        ({"principal_point": (900.0, 600.0)}, FOCAL, (900.0, 600.0)),
    ):
        points = seen(turn, place, "3d", focal, middle)
        known = told(rays(points, focal, middle).inv())
        pose = estimate_pose(
            points, pose_model=known, landmark_model="3d", frame_size=SIZE, **given_
        )
        np.testing.assert_allclose(pose[TRANSLATION], place, atol=1e-4)


def test_the_jaw_of_2d_landmarks_does_not_count():
    turn, place = Rotation.from_euler("y", [30], degrees=True), np.array([[0.5, 0.1, 8.0]])
    for landmark_model in TYPES:
        points = seen(turn, place, landmark_model)
        known = told(line_of_sight_of(turn, points))
        slid = points.clone()
        slid[:, 0:16:2, 0] += 25
        slid[:, 1:17:2, 0] -= 25  # the centroid, and with it the line of sight, stays
        options = {"landmark_model": landmark_model, "frame_size": SIZE, "pose_model": known}
        before, after = (estimate_pose(each, **options)[TRANSLATION] for each in (points, slid))
        apart = float((after - before).abs().to_numpy().max())
        assert apart < 1e-3 if landmark_model == "2d" else apart > 1e-2


def test_noise_does_not_bring_the_head_nearer():
    turns = Rotation.random(2000, random_state=0) ** 0.2
    places = np.tile([0.4, -0.3, 10.0], (2000, 1))
    points = seen(turns, places)
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    pose = estimate_pose(
        points + 0.05 * 258 * noise,  # five percent of the distance of the eyes
        pose_model=told(line_of_sight_of(turns, points)),
        landmark_model="3d",
        frame_size=SIZE,
    )
    # Least squares of the equations would say 1.5 percent less.
    assert pose["Z"].mean() == pytest.approx(10, rel=3e-3)


# Through the bundled network


@pytest.mark.parametrize("degrees", [(0, 0, 0), (-20, 0, 0), (0, 40, 0), (10, -25, 15)])
def test_a_head_that_moves_and_does_not_turn_keeps_its_angles_in_the_camera(degrees):
    places = np.concatenate([[[0, 0, 10.0]], corners_and_between(10.0)])
    turn = Rotation.from_euler("xyz", [degrees] * len(places), degrees=True)
    points = seen(turn, places)
    options = {"landmark_model": "3d", "frame_size": SIZE, "convention": "img2pose"}
    camera, sight = (
        rotations_of(estimate_pose(points, rotation_frame=frame, **options))
        for frame in ("camera", "line_of_sight")
    )
    assert angle_between(camera, camera[0]).max() <= 2.5
    # What is seen turns by the ray instead: 20 degrees in the corners.
    ray = angle_between(rays(points), rays(points)[0])
    assert ray.max() > 19.5
    assert np.abs(angle_between(sight, sight[0]) - ray).max() <= 2.5
    # The two are one turn apart.
    assert angle_between(camera, rays(points) * sight).max() < 1e-3


# Which translation


def test_the_bundled_weights_say_nothing_and_geometry_does():
    points = project_face(torch.zeros(3, 3))
    assert estimate_pose(points)[TRANSLATION].isna().all(axis=None)
    found = estimate_pose(points, frame_size=(720, 1280))[TRANSLATION]
    assert found.notna().all(axis=None)
    asked = estimate_pose(points, frame_size=(720, 1280), translation="geometric")[TRANSLATION]
    pd.testing.assert_frame_equal(asked, found, atol=1e-5)


def test_the_official_weights_keep_theirs_unless_geometry_is_asked_for(official):
    points = project_face(torch.zeros(3, 3))
    own = official.estimate(points, landmark_model=find_landmark_model("2d")).numpy()[:, 3:]
    options = {"pose_model": official, "frame_size": (720, 1280)}
    for translation in (None, "learned"):
        pose = estimate_pose(points, translation=translation, **options)
        np.testing.assert_allclose(pose[TRANSLATION], own, atol=1e-5)
    pose = estimate_pose(points, translation="geometric", **options)
    assert not np.isclose(pose[TRANSLATION], own).any()
    unknown = estimate_pose(points, pose_model=official, translation="geometric")
    assert unknown[TRANSLATION].isna().all(axis=None)
    assert unknown[ROTATION].notna().all(axis=None)


def test_a_place_that_is_known_in_part_is_not_known():
    points = project_face(torch.zeros(1, 3))
    found, geometry = (
        estimate_pose(points, pose_model=Fake(pose), frame_size=(720, 1280))[TRANSLATION]
        for pose in (torch.tensor([0, 0, 0, 1, torch.nan, 3]), None)
    )
    pd.testing.assert_frame_equal(found, geometry)


def test_learned_translation_of_a_model_that_has_none_is_refused():
    with pytest.raises(OptionError, match=r"pose_mlp_synth.*translation='geometric'"):
        estimate_pose(project_face(torch.zeros(1, 3)), translation="learned")


def test_millimetres_follow_from_the_distance_of_the_eyes():
    points = project_face(torch.zeros(1, 3))
    units = estimate_pose(points, frame_size=(720, 1280), landmark_model="3d")
    metric = estimate_pose(
        points, frame_size=(720, 1280), landmark_model="3d", inter_ocular_mm=89.18
    )
    # `project_face` has outer eye corners that are 89.18 mm apart, 1414 mm away; the origin of X,
    # Y, Z lies some 30 mm behind them.
    assert metric.loc[0, "Z"] == pytest.approx(1444, rel=0.02)
    np.testing.assert_allclose(metric[ROTATION], units[ROTATION], atol=1e-5)
    ratio = (metric[TRANSLATION] / units[TRANSLATION]).to_numpy()
    np.testing.assert_allclose(ratio, 89.18 / 0.86, rtol=1e-3)


def test_a_length_does_not_make_pixels_a_place_in_space():
    points, known = project_face(torch.zeros(2, 3)), {"frame_size": (720, 1280)}
    pose = estimate_pose(points, **known, convention="feat-mp", inter_ocular_mm=89.18)
    assert pose[TRANSLATION].isna().all(axis=None)
    assert pose[ROTATION].notna().all(axis=None)
    assert read_tag(pose).translation_unit is None


# Frame sizes


def test_frame_sizes_row_by_row_and_unknown_ones():
    place, turn = np.array([[0.5, 0.2, 8.0]] * 4), Rotation.identity(4)
    sizes = np.array([[1080, 1920], [480, 640], [np.nan, np.nan], [1080, 1920]])
    focal, middle = sizes.sum(axis=1), sizes[:, ::-1] / 2
    points = torch.cat(
        [
            seen(turn[i], place[i], "3d", focal[i], tuple(middle[i]))
            if np.isfinite(focal[i])
            else seen(turn[i], place[i])
            for i in range(4)
        ]
    )
    table = table_of(points)
    table[["FrameHeight", "FrameWidth"]] = sizes
    options = {"landmark_model": "3d", "convention": "img2pose", "rotation_frame": "camera"}
    for pose in (
        estimate_pose(table, **options),
        estimate_pose(points, frame_size=sizes, **options),
        estimate_pose(points, frame_size=torch.from_numpy(sizes), **options),
    ):
        assert pose.loc[2].isna().all()
        known = pose.loc[[0, 1, 3]]
        np.testing.assert_allclose(known[TRANSLATION], place[:3], atol=0.3)
        np.testing.assert_allclose(pose.loc[0], pose.loc[3], atol=1e-6)
    # What is no size in a table is none.
    table.loc[2, ["FrameHeight", "FrameWidth"]] = [0, 1920]
    table.loc[3, "FrameWidth"] = -1
    unknown = estimate_pose(table, **options).isna()
    assert (
        unknown.all(axis=1).tolist() == unknown.any(axis=1).tolist() == [False, False, True, True]
    )
    table.loc[3, "FrameWidth"] = 1920
    # Along the line of sight the angles need no frame size.
    pose = estimate_pose(table, landmark_model="3d")
    assert pose[ROTATION].notna().all(axis=None)
    assert pose[TRANSLATION].isna().all(axis=1).tolist() == [False, False, True, False]
    # With both parts of the camera given, nothing is unknown.
    told = {"focal_length": FOCAL, "principal_point": MIDDLE}
    assert estimate_pose(table, **options, **told).notna().all(axis=None)
    assert estimate_pose(points, **options, **told).notna().all(axis=None)


def test_the_cameras_frame_without_any_frame_size_is_refused():
    points = project_face(torch.zeros(2, 3))
    table = table_of(points)
    for source in (points, table):
        for part in ({}, {"focal_length": 900.0}, {"principal_point": (1.0, 2.0)}):
            with pytest.raises(FrameSizeError, match="frame_size=\\(height, width\\)"):
                estimate_pose(source, rotation_frame="camera", **part)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rotation_frame", "head"),
        ("translation", "guessed"),
        ("focal_length", 0.0),
        ("focal_length", float("nan")),
        ("principal_point", (1.0,)),
        ("principal_point", (1.0, float("inf"))),
        ("inter_ocular_mm", -90),
        ("rotation_frame", np.array(["camera"])),
        ("translation", ["learned"]),
        ("focal_length", "900"),
        ("focal_length", np.array([900.0, 900.0])),
        ("focal_length", 10**400),
        ("principal_point", ("640", "360")),
        ("inter_ocular_mm", [90]),
        ("device", "gpu"),
        ("device", "cuda:99"),
        ("device", 1.5),
        ("device", "meta"),
    ],
)
def test_options_that_cannot_be_are_refused_and_repeated(option, value):
    with pytest.raises(OptionError) as caught:
        estimate_pose(project_face(torch.zeros(1, 3)), **{option: value})
    assert option in str(caught.value)
    assert repr(value)[:100] in str(caught.value)


def test_rows_without_a_face_are_nan_and_disturb_no_other():
    points = faces(6)
    expected = estimate_pose(points, frame_size=(720, 1280), rotation_frame="camera").to_numpy()
    points[1], points[3, 5, 0], points[4, 36] = torch.nan, torch.inf, points[4, 45]
    pose = estimate_pose(points, frame_size=(720, 1280), rotation_frame="camera")
    assert pose.isna().all(axis=1).tolist() == [False, True, False, True, True, False]
    np.testing.assert_allclose(pose.to_numpy()[[0, 2, 5]], expected[[0, 2, 5]], atol=1e-5)
