"""``estimate_pose``: from any landmarks to six columns, with the bundled weights too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import faces, meshes_of, table_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    convert_pose,
    estimate_pose,
    pose_from_landmarks_mlp,
)
from feat_pose_plugin.errors import (
    ConventionError,
    LandmarkError,
    UnknownBackendError,
)
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.testing import project_face

ROTATION = ["Pitch", "Roll", "Yaw"]
FACES = faces(12)


# The form of the answer


@pytest.mark.parametrize("source", [FACES, FACES.numpy(), table_of(FACES)], ids=lambda s: type(s))
def test_answer_is_six_float_columns_row_for_row(source):
    pose = estimate_pose(source)
    assert type(pose) is pd.DataFrame
    assert list(pose.columns) == FEAT_FACEPOSE_COLUMNS_6D
    assert (pose.dtypes == np.float32).all()
    assert len(pose) == len(source)
    assert pose[ROTATION].notna().all(axis=None)
    assert pose[["X", "Y", "Z"]].isna().all(axis=None)
    nobody = estimate_pose(source[:0])
    assert nobody.shape == (0, 6)
    assert list(nobody.columns) == FEAT_FACEPOSE_COLUMNS_6D


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(list("lkjihgfedcba"), name="face"),
        pd.Index([0] * 12),
        pd.MultiIndex.from_product([["a.mp4", "b.mp4"], range(6)], names=["input", "frame"]),
        pd.date_range("2024-01-01", periods=12),
    ],
)
def test_index_and_order_are_those_of_the_table(index):
    table = table_of(FACES)
    pose = estimate_pose(table.set_axis(index))
    pd.testing.assert_index_equal(pose.index, index)
    np.testing.assert_allclose(pose, estimate_pose(table), atol=1e-5)
    shuffled = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        estimate_pose(shuffled), estimate_pose(table).loc[shuffled.index], rtol=1e-5, atol=1e-6
    )


# The same landmarks, the same pose


@pytest.mark.parametrize("convention", ["feat", "img2pose", "300w-lp"])
def test_official_weights_give_what_the_network_gives(convention, official):
    pose = estimate_pose(FACES, pose_model="pose_mlp", convention=convention)
    expected = convert_pose(pose_from_landmarks_mlp(FACES), "img2pose", convention)
    # They take another point of the face off, and round differently: 1e-5 radians.
    most = np.rad2deg(1e-5) if convention == "300w-lp" else 1e-5
    np.testing.assert_allclose(pose, expected, rtol=0, atol=most)
    assert pose.notna().all(axis=None)


def test_landmark_model_is_chosen_by_source_or_said(canonical_face):
    mesh = meshes_of(canonical_face, Rotation.identity(1))[..., :2]
    points = read_landmarks(mesh).points
    by_source, as_mesh, as_2d = (
        estimate_pose(mesh),
        estimate_pose(points, landmark_model="mediapipe"),
        estimate_pose(points),
    )
    np.testing.assert_allclose(by_source, as_mesh, atol=1e-6)
    assert not np.allclose(by_source[ROTATION], as_2d[ROTATION], atol=1e-4)
    np.testing.assert_allclose(estimate_pose(mesh, landmark_model="2d"), as_2d, atol=1e-6)


def test_device_is_that_of_the_caller():
    np.testing.assert_allclose(estimate_pose(FACES, device="cpu"), estimate_pose(FACES), atol=1e-5)
    for device in ("cuda", "mps"):
        if getattr(torch, device).is_available():
            for pose in (estimate_pose(FACES, device=device), estimate_pose(FACES.to(device))):
                np.testing.assert_allclose(pose, estimate_pose(FACES), atol=1e-4)


# Rows without a face


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.sampled_from(["face", "nan", "point", "inf", "eyes"]), max_size=12))
def test_a_row_without_a_face_is_nan_six_times_and_no_other(official, kinds):
    points = FACES[: len(kinds)].clone()
    for face, kind in zip(points, kinds, strict=True):
        if kind == "nan":
            face[:] = torch.nan
        elif kind == "point":
            face[7, 0] = torch.nan
        elif kind == "inf":
            face[60, 1] = -torch.inf
        elif kind == "eyes":
            face[36] = face[45]
    expected = estimate_pose(FACES[: len(kinds)], pose_model=official).to_numpy(copy=True)
    expected[[kind != "face" for kind in kinds]] = np.nan
    for source in (points, table_of(points)):
        pose = estimate_pose(source, pose_model=official)
        np.testing.assert_allclose(pose, expected, atol=1e-5)


# Bad input


@pytest.mark.parametrize(
    ("option", "error", "near"),
    [
        ("pose_model", UnknownBackendError, "pose_mpl"),
        ("landmark_model", LandmarkError, "mesh"),
        ("convention", ConventionError, "300wlp"),
    ],
)
def test_a_name_that_is_unknown_or_no_text_is_refused_and_repeated(option, error, near):
    for value in (near, None, 3, ["feat"], np.array(["2d", "3d"])):
        with pytest.raises(error) as caught:
            estimate_pose(FACES, **{option: value})
        assert repr(value) in str(caught.value)


# What the bundled weights read


@pytest.mark.parametrize("kind", ["2d", "3d", "mesh"])
@pytest.mark.parametrize("column", ROTATION)
def test_known_turns_come_back_with_the_signs_of_feat(column, kind, canonical_face):
    # +pitch looks up, +yaw turns to the subject's right, +roll tilts to the subject's right; in
    # the camera's axes (x right, y down, z away) these are -x, +y and -z.
    axis = {"Pitch": [-1.0, 0, 0], "Yaw": [0, 1.0, 0], "Roll": [0, 0, -1.0]}[column]
    degrees = np.array([0, -30, -20, -10, 10, 20, 30])
    turns = np.deg2rad(degrees)[:, None] * axis
    if kind == "mesh":
        pose = estimate_pose(meshes_of(canonical_face, Rotation.from_rotvec(turns)))
    else:
        pose = estimate_pose(project_face(torch.from_numpy(turns)), landmark_model=kind)
    angles = np.rad2deg(pose[ROTATION])
    assert angles.loc[0, ["Roll", "Yaw"]].abs().max() < 1  # looks at the camera
    expected = np.zeros((len(degrees), 3))
    expected[:, ROTATION.index(column)] = degrees
    apart = np.abs(angles - angles.iloc[0] - expected).max(axis=1)
    assert (apart <= 0.2 * np.abs(degrees) + 2).all(), apart


def test_mediapipes_canonical_face_is_frontal_by_detectorv2s_block(canonical_face, block_vertices):
    block = meshes_of(canonical_face, Rotation.identity(1))[:, block_vertices, :2]
    for source in (block, table_of(block)):
        assert np.rad2deg(estimate_pose(source).loc[0, ["Roll", "Yaw"]].abs().max()) < 3


def test_mesh_and_landmarks_of_the_same_real_frames_agree(shared_data):
    with np.load(shared_data / "pyfeat_paths_dev.npz") as paths:
        points, meshes = paths["landmarks_mobilefacenet"], paths["mesh_detectorv2"]
        blocks = paths["landmarks_detectorv2_block"]
    by_points, by_mesh, by_block = (estimate_pose(source) for source in (points, meshes, blocks))
    # One head, three ways to it: without a choice of its own vertices, 8 and 14 degrees apart.
    for pose in (by_mesh, by_block):
        apart = np.rad2deg((pose - by_points)[ROTATION].median().abs())
        assert apart.max() < 6, apart


@pytest.mark.parametrize("name", ["video_single_face.csv", "video_face_noface.csv"])
def test_pose_of_real_videos_follows_another_method(name, shared_data):
    table = pd.read_csv(shared_data / name)
    # 3DDFA_V2's landmarks are projected points of the head; its rotation is beside them.
    pose = estimate_pose(table, landmark_model="3d")
    has_face = table["x_0"].notna()
    pd.testing.assert_series_equal(pose["Pitch"].notna(), has_face, check_names=False)
    # A head that turns by 12 degrees (standard deviation) and tilts by 3 would be 24 and 6 away
    # with the wrong sign.
    pose = convert_pose(pose, "feat", "rotvec")
    for column, reference in (("r_y", "ry"), ("r_z", "rz")):
        assert np.rad2deg((pose[column] - table[reference]).std()) < 3
