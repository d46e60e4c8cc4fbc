"""Synthetic faces: each habit is where it is said to be, on a face whose every point is known."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.pose.landmarks import MIRROR_68
from feat_pose_plugin.pose.reference_face import STEADY_LANDMARKS
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.mean_face import make_reference_face, read_img2pose_face
from feat_pose_plugin.training.recipes import RECIPES, Synthesis
from feat_pose_plugin.training.synthetic_faces import synthesize

# No habits, no differences between faces: landmarks are projections of one face, from far away.
PLAIN = Synthesis(
    identity_sd=0,
    anisotropy_sd=0,
    height_scale=(1, 1),
    depth_scale=(1, 1),
    expression_share=0,
    open_jaw_share=0,
    frontal_share=0,
    weak_perspective_share=1,
    contour_share=0,
    fixed_contour_share=0,
    jaw_back_cm=(0, 0),
    group_shift_sd=0,
    group_scale_sd=0,
    group_depth_sd_cm=0,
    jaw_slide_sd=0,
    point_noise=(0, 0),
)
YAW = replace(PLAIN, turned_most_deg=(1e-3, 95.0))
PITCH = replace(PLAIN, turned_most_deg=(60.0, 1e-3))
FAR = 2e-3  # inter-ocular distances: what a camera at 100 m leaves of perspective
GROUPS = [range(*ends) for ends in ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36), (36, 42))]
RIGHT_BROW, LEFT_BROW = list(GROUPS[1]), list(GROUPS[2])


def draw(head, recipe: Synthesis, count: int = 200, seed: int = 0, **options):
    return synthesize(head, recipe, count, torch.Generator().manual_seed(seed), **options)


def points_of(head) -> np.ndarray:
    """The face in the camera's axes, about its middle, the eyes one apart."""
    points = (head.mean[:68] * torch.tensor([1.0, -1, -1])).double().numpy()
    points -= points.mean(axis=0)
    return points / np.linalg.norm(points[36] - points[45])


def turned(head, axis: str, degrees: torch.Tensor) -> np.ndarray:
    """``[n, 68, 3]`` the face turned about an axis of the camera."""
    turns = Rotation.from_euler(axis, degrees.double().numpy()[:, None], degrees=True).as_matrix()
    return points_of(head) @ turns.transpose(0, 2, 1)


def test_without_habits_the_landmarks_are_the_turned_mean_face(head) -> None:
    recipe = replace(PLAIN, turned_most_deg=(60.0, 95.0), head_pitch_deg=7.0)
    landmarks, rotvec = draw(head, recipe)
    turn = Rotation.from_rotvec(rotvec.double().numpy()) * Rotation.from_euler(
        "x", -7, degrees=True
    )
    expected = points_of(head) @ turn.as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(landmarks, expected[..., :2], atol=FAR)


@pytest.mark.parametrize("kind", RECIPES)
def test_faces_are_finite_and_turned_as_stated(head, kind) -> None:
    landmarks, rotvec = draw(head, RECIPES[kind], 4000)
    assert landmarks.shape == (4000, 68, 3 if kind == "mesh" else 2)
    assert landmarks.isfinite().all()
    assert landmarks.dtype == rotvec.dtype == torch.float32
    direction = -rotvec_to_matrix(rotvec)[:, :, 2]
    yaw = torch.asin(direction[:, 0]).rad2deg()
    # Half of them near frontal, the others spread to profile, alike on both sides.
    assert 0.35 < (yaw.abs() < 20).float().mean() < 0.6
    assert (yaw.abs() > 60).float().mean() > 0.1
    assert abs(yaw.mean()) < 3


def test_one_seed_gives_the_same_faces(head) -> None:
    first, second, other = (draw(head, RECIPES["2d"], 50, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_pictures_of_one_person_share_all_but_turn_expression_and_noise(head) -> None:
    kept = {"identity_sd", "anisotropy_sd", "height_scale", "group_shift_sd", "jaw_slide_sd"}
    recipe = replace(
        PLAIN,
        turned_most_deg=(1e-3, 1e-3),
        **{name: getattr(Synthesis(), name) for name in kept},
    )
    landmarks, _ = draw(head, recipe, 40, pictures=2)
    one, other = landmarks[::2], landmarks[1::2]
    np.testing.assert_allclose(one, other, atol=FAR)
    assert (one[0] - one[1]).abs().max() > 10 * FAR
    _, rotvec = draw(head, RECIPES["3d"], 40, pictures=2)
    apart = geodesic_angle(rotvec_to_matrix(rotvec[::2]), rotvec_to_matrix(rotvec[1::2]))
    assert apart.rad2deg().min() > 0.5


def test_a_near_camera_sees_what_is_near_larger(head) -> None:
    near = replace(PLAIN, turned_most_deg=(1e-3, 1e-3), weak_perspective_share=0)
    landmarks, _ = draw(head, replace(near, distance_cm=(50.0, 50.0)), 5)
    points, unit = points_of(head), (head.mean[36] - head.mean[45]).norm().item()
    expected = points[:, :2] / (1 + points[:, 2:] * unit / 50)
    np.testing.assert_allclose(landmarks, [expected] * 5, atol=1e-4)


def test_half_of_the_heads_turn_first_and_half_nod_first(head) -> None:
    _, rotvec = draw(head, replace(PLAIN, turned_most_deg=(60.0, 95.0)), 400)
    rotation = rotvec_to_matrix(rotvec)
    yaw_last, pitch_last = rotation[:, 1, 0].abs() < 1e-6, rotation[:, 0, 1].abs() < 1e-6
    assert (yaw_last | pitch_last).all()
    assert yaw_last.float().mean().item() == pytest.approx(0.5, abs=0.1)


# Points that stay behind


def test_a_share_of_a_nod_is_missing_in_the_inner_points(head) -> None:
    landmarks, rotvec = draw(head, replace(PITCH, nod_lag=(0.25, 0.25)))
    degrees = rotvec[:, 0].rad2deg()
    # Beyond 90 degrees the face begins to look back: there a turn is that of its direction.
    within = degrees.abs() < 89
    for part, share in ((slice(17), 1.0), (slice(17, 68), 0.75)):
        expected = turned(head, "x", share * degrees)
        np.testing.assert_allclose(
            landmarks[within, part], expected[within.numpy(), part, :2], atol=FAR
        )


def far_growth(degrees: torch.Tensor) -> torch.Tensor:
    sine = degrees.deg2rad().sin()
    limited = sine.abs().clamp(max=math.sin(math.radians(55)))
    return sine.sign() * (limited / math.sin(math.radians(50))) ** 2


def test_the_lag_grows_with_the_square_of_the_sine_up_to_55_degrees(head) -> None:
    landmarks, rotvec = draw(head, replace(YAW, lag_deg=(10, 10)))
    degrees = rotvec[:, 1].rad2deg()
    expected = turned(head, "y", degrees - 10 * far_growth(degrees))
    np.testing.assert_allclose(landmarks[:, 17:], expected[:, 17:, :2], atol=FAR)
    assert degrees.abs().max() > 80


def test_the_brow_of_the_far_side_is_drawn_to_the_near_side(head) -> None:
    plain, rotvec = draw(head, YAW)
    drawn, same = draw(head, replace(YAW, far_brow_lag=(0.05, 0.05)))
    assert torch.equal(rotvec, same)
    moved = (drawn - plain).numpy()
    degrees = rotvec[:, 1].rad2deg()
    growth = far_growth(degrees).numpy()
    to_left = growth > 0  # + is a turn to the subject's right, the left of the picture
    # Seen past the nose: of a head that looks to the left of the picture, the brow on the left.
    for brow, on in ((RIGHT_BROW, to_left), (LEFT_BROW, ~to_left)):
        expected = np.repeat(0.05 * growth[on, None], 5, axis=1)
        np.testing.assert_allclose(moved[on][:, brow, 0], expected, atol=FAR)
        np.testing.assert_allclose(moved[~on][:, brow], 0, atol=FAR)
    rest = [point for point in range(68) if point not in LEFT_BROW + RIGHT_BROW]
    np.testing.assert_allclose(moved[:, rest], 0, atol=FAR)


# Habits of placing


def moved_by(head, **habit: object) -> np.ndarray:
    """``[200, 68, 2]`` what a habit adds to faces that look at the camera."""
    still = replace(PLAIN, turned_most_deg=(1e-3, 1e-3))
    plain, _ = draw(head, still)
    changed, _ = draw(head, replace(still, **habit))
    return (changed - plain).double().numpy()


def test_a_chin_that_is_lower_is_lower_in_full_at_the_chin_only(head) -> None:
    moved = moved_by(head, jaw_lower=(0.1, 0.1))
    np.testing.assert_allclose(moved[:, 8], [[0, 0.1]] * 200, atol=FAR)  # y is down
    np.testing.assert_allclose(moved[:, [0, 16]], 0, atol=FAR)
    np.testing.assert_allclose(moved[..., 0], 0, atol=FAR)
    np.testing.assert_allclose(moved[:, 17:], 0, atol=FAR)


def test_points_slide_along_the_jaw(head) -> None:
    moved = moved_by(head, jaw_slide_sd=0.2)
    jaw = points_of(head)[:17, :2]
    along = np.gradient(jaw, axis=0)
    across = moved[:, :17, 0] * along[:, 1] - moved[:, :17, 1] * along[:, 0]
    assert np.abs(moved[:, :17]).max() > 0.02
    np.testing.assert_allclose(across, 0, atol=FAR)
    np.testing.assert_allclose(moved[:, 17:], 0, atol=FAR)


def test_groups_move_and_grow_as_one(head) -> None:
    shifted = moved_by(head, group_shift_sd=0.05)
    grown = moved_by(head, group_scale_sd=0.2)
    for group in map(list, GROUPS):
        np.testing.assert_allclose(np.ptp(shifted[:, group], axis=1), 0, atol=FAR)
        np.testing.assert_allclose(grown[:, group].mean(axis=1), 0, atol=FAR)
    assert shifted.std() == pytest.approx(0.05, rel=0.1)
    assert grown.std() > 5 * FAR


def test_the_jaw_is_set_back_at_the_ears_and_not_at_the_chin(head) -> None:
    landmarks, rotvec = draw(head, replace(YAW, jaw_back_cm=(2.0, 2.0)))
    expected = turned(head, "y", rotvec[:, 1].rad2deg())
    about_nose = (landmarks - landmarks[:, 30:31]).numpy() - (expected - expected[:, 30:31])[
        ..., :2
    ]
    unit = 2.0 / float((head.mean[36] - head.mean[45]).norm())
    # Back is away from the camera, z; a yaw brings it to x by its sine.
    sine = np.sin(rotvec[:, 1].double().numpy())
    np.testing.assert_allclose(about_nose[:, 0, 0], unit * sine, atol=2 * FAR)
    np.testing.assert_allclose(about_nose[:, 8], 0, atol=2 * FAR)


def test_an_open_jaw_is_shown_as_often_as_stated(head) -> None:
    moved = moved_by(head, open_jaw_share=0.5)
    chin = moved[:, 8, 1] - moved[:, 30, 1]
    assert (chin > 1e-3).mean() == pytest.approx(0.5, abs=0.1)
    assert chin.min() > -1e-3


# Depth


def test_depth_is_away_from_the_camera_and_lags_in_its_own_way(head) -> None:
    deep = replace(YAW, has_depth=True)
    landmarks, rotvec = draw(head, deep)
    degrees = rotvec[:, 1].rad2deg()
    np.testing.assert_allclose(landmarks, turned(head, "y", degrees), atol=FAR)
    lagging, _ = draw(head, replace(deep, depth_turn_lag=(0.2, 0.2), depth_size=(0.5, 0.5)))
    within = degrees.abs() < 89
    np.testing.assert_allclose(lagging[..., :2], landmarks[..., :2], atol=FAR)
    expected = 0.5 * turned(head, "y", 0.8 * degrees)[..., 2]
    np.testing.assert_allclose(lagging[within, :, 2], expected[within.numpy()], atol=FAR)

    nod, rotvec = draw(head, replace(PITCH, has_depth=True, depth_nod_lag=(0.2, 0.2)))
    expected = turned(head, "x", 0.8 * rotvec[:, 0].rad2deg())[..., 2]
    np.testing.assert_allclose(nod[..., 2], expected, atol=FAR)


# The visible contour


def test_a_visible_contour_encloses_the_projected_jaw(head) -> None:
    """Seen from the side, the far half of the contour is cheek, outside the far jaw points."""
    fixed, rotvec = draw(head, YAW, 300)
    sliding, _ = draw(head, replace(YAW, contour_share=1), 300)
    degrees = rotvec[:, 1].rad2deg()
    to_the_left = (degrees > 30) & (degrees < 60)
    assert to_the_left.sum() > 20
    difference = sliding[to_the_left, :4, 0] - fixed[to_the_left, :4, 0]
    assert (difference.mean(dim=1) < -0.02).all()


# Recipes


def test_every_ingredient_matters(head) -> None:
    """A field that changes nothing would be a promise that the code does not keep."""
    other = {
        "expressions": (2, 2),
        "frontal_sd_deg": (1.0, 1.0),
        "turned_most_deg": (5.0, 5.0),
        "distance_cm": (400.0, 500.0),
        "head_pitch_deg": 3.0,
        "has_depth": False,
    }
    recipe = replace(
        RECIPES["mesh"], fixed_contour_share=0.4, contour_share=0.4, lag_deg=(1.0, 2.0)
    )
    edged = replace(head, band_edge=torch.linspace(-2, 2, len(head.band_edge)))
    before = draw(edged, recipe)
    for field in fields(Synthesis):
        value = getattr(recipe, field.name)
        if field.name in other:
            changed = other[field.name]
        elif isinstance(value, tuple):
            changed = tuple(0.5 * end + 0.3 for end in value)
        else:
            changed = 0.5 * value
        after = draw(edged, replace(recipe, **{field.name: changed}))
        assert not all(torch.equal(*pair) for pair in zip(before, after, strict=True)), field.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"contour_share": 1.5},
        {"contour_share": 0.7, "fixed_contour_share": 0.7},
        {"nod_lag": (0.0, float("nan"))},
    ],
)
def test_recipes_that_cannot_be(wrong) -> None:
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        Synthesis(**wrong)


# The reference face of a recipe


@pytest.mark.parametrize("kind", ["3d", "mesh"])
def test_the_reference_face_of_faces_that_are_all_alike_is_that_face(head, kind) -> None:
    recipe = replace(
        PLAIN, turned_most_deg=(60.0, 95.0), head_pitch_deg=5.0, has_depth=kind == "mesh"
    )
    made = make_reference_face(head, recipe, kind, 500, torch.Generator().manual_seed(0)).numpy()
    # In axes of its own zero: what the label calls no turn is no turn of this face.
    expected = Rotation.from_euler("x", -5, degrees=True).apply(points_of(head))
    there, steady = read_img2pose_face().numpy(), STEADY_LANDMARKS[kind]
    one, other = (each[steady] - each[steady].mean(axis=0) for each in (made, there))
    assert (one * other).sum() / (one**2).sum() == pytest.approx(1, abs=1e-6)  # img2pose's unit
    made -= made.mean(axis=0)
    scale = (made * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(made, scale * expected, atol=2e-3)
    mirrored = made[list(MIRROR_68)] * [-1, 1, 1]
    np.testing.assert_allclose(made, mirrored, atol=1e-6)
