"""What pose does not depend on, and how many digits it has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import table_of

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.motion import angular_velocity
from feat_pose_plugin.pose.conventions import CONVENTIONS
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.meshes import MESH_VERTICES_68
from feat_pose_plugin.pose.reference_face import load_reference_face, load_rigid_face
from feat_pose_plugin.pose.registry import get_pose_backend
from feat_pose_plugin.tables.pose_tables import estimate_table
from feat_pose_plugin.testing import project_face

FRAME = (1080, 1920)
ANGLES = ["Pitch", "Roll", "Yaw"]


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """``[5000, 68, 2]`` float64 pixels, eyes 50 to 100 apart: more than is estimated at once."""
    turns = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) / 3
    points = project_face(turns).double().numpy()
    noise = np.random.default_rng(0).normal(size=points.shape)
    return np.asarray(points + noise)


def pose_of(faces: object, **options: object) -> np.ndarray:
    return estimate_pose(faces, frame_size=FRAME, **options).to_numpy()


def assert_same(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Angles in radians to the tolerance, positions as shares of the distance."""
    np.testing.assert_allclose(found[:, :3], expected[:, :3], rtol=0, atol=tolerance)
    distance = np.linalg.norm(expected[:, 3:], axis=1, keepdims=True)
    np.testing.assert_allclose(
        found[:, 3:] / distance, expected[:, 3:] / distance, rtol=0, atol=tolerance
    )


def test_batch_size_order_and_neighbours_do_not_matter(faces: np.ndarray) -> None:
    expected = pose_of(faces)
    for rows in (1, 2, 7, 2047, 2048, 2049):
        some = faces[:rows] if rows > 7 else faces[100 : 100 + rows]
        at = slice(0, rows) if rows > 7 else slice(100, 100 + rows)
        assert_same(pose_of(some), expected[at])
    order = np.random.default_rng(1).permutation(len(faces))
    assert_same(pose_of(faces[order]), expected[order])
    neighbours = faces.copy()
    neighbours[::2] = np.nan
    neighbours[2::4] = 1e30
    neighbours[4::8] = np.inf
    assert_same(pose_of(neighbours)[1::2], expected[1::2])


@pytest.mark.usefixtures("one_thread")
def test_threads_do_not_matter(faces: np.ndarray) -> None:
    expected = pose_of(faces)
    for count in (2, 3):
        torch.set_num_threads(count)
        assert_same(pose_of(faces), expected)


def test_the_form_of_the_data_does_not_matter(faces: np.ndarray, tmp_path: Path) -> None:
    """Text with all digits, Parquet, a table, and every layout of memory and coordinates."""
    faces = faces[:300]
    expected = pose_of(faces)
    table = table_of(faces)
    shuffled = table[[*reversed(table.columns)]]
    for form in (
        table, shuffled, table.to_numpy(), np.asfortranarray(faces), torch.from_numpy(faces)
    ):  # fmt: skip
        assert_same(pose_of(form), expected)
    estimator = PoseEstimator(backend=get_pose_backend("pose_mlp_synth"))
    table.to_csv(tmp_path / "in.csv", index=False)
    table.to_parquet(tmp_path / "in.parquet", index=False, row_group_size=7)
    forms = ("csv", "parquet")
    for source, target in product(forms, forms):
        written = tmp_path / f"from_{source}.{target}"
        estimate_table(tmp_path / f"in.{source}", written, estimator, frame_size=FRAME)
        read = pd.read_csv if target == "csv" else pd.read_parquet
        found = read(written)[[*ANGLES, "X", "Y", "Z"]].to_numpy()
        assert_same(found, expected)


def test_coarser_numbers_cost_what_they_round(faces: np.ndarray) -> None:
    """A pose turns by up to 3 radians for landmarks that move by the eyes' distance (2.3 seen).

    So a number that is rounded by a share of its size moves the pose by that share, times how far
    the face is from the origin, in distances of its eyes.
    """
    faces = faces[:500]
    expected = pose_of(faces)
    eyes = np.linalg.norm(faces[:, 36] - faces[:, 45], axis=1)
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int32):
        coarse = torch.from_numpy(faces).to(kind)
        found = pose_of(coarse)
        moved = np.abs(coarse.double().numpy() - faces).max(axis=(1, 2))
        allowed = 3 * moved / eyes + 1e-5
        assert (np.abs(found - expected)[:, :3].max(axis=1) <= allowed).all(), kind
        assert_same(pose_of(coarse.float()), found, 1e-6)  # and not one digit more


@pytest.mark.parametrize("size", [10.0, 1e5])
def test_small_and_large_faces_are_as_accurate(size: float, faces: np.ndarray) -> None:
    """Coordinates from some pixels to a hundred thousand."""
    faces = faces[:200]
    middle = faces.mean(axis=1, keepdims=True)
    near = (faces - middle) / 100
    found = estimate_pose(near * size)[ANGLES].to_numpy()
    expected = estimate_pose(near * 100)[ANGLES].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", [1e3, 1e4, 1e5])
def test_far_from_the_origin_only_the_rounding_of_the_input_is_lost(
    far: float, dtype: type[np.floating], faces: np.ndarray
) -> None:
    """Of float32 up to 0.004 pixels at 1e5, of float64 nothing; of a face alone as of many."""
    faces = faces[:200]
    moved = (faces + far).astype(dtype)
    # What is left of the face, at the origin.
    back = moved.astype(np.float64) - far if dtype == np.float32 else faces
    for rows in (slice(None), slice(1)):
        found, expected = (
            pose_of(points[rows], focal_length=3000.0, principal_point=(960 + shift, 540 + shift))
            for points, shift in ((moved, far), (back, 0))
        )
        assert_same(found, expected)


def test_meshes_in_tables_far_from_the_origin(faces: np.ndarray) -> None:
    mesh = np.zeros((200, 468, 2))
    mesh[:, list(MESH_VERTICES_68)] = faces[:200]

    def estimate(points: np.ndarray) -> np.ndarray:
        found = estimate_pose(table_of(points), quality=True)
        return found[[*ANGLES, "PoseResidual"]].to_numpy()

    np.testing.assert_allclose(estimate(mesh + 1e5), estimate(mesh), rtol=0, atol=1e-5)


@contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "state",
    [
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        torch.inference_mode,
        float64_by_default,
        lambda: torch.device("meta"),
    ],
    ids=["autocast", "inference", "float64", "device"],
)
def test_what_is_set_for_all_of_torch_does_not_matter(state, faces: np.ndarray) -> None:
    """Of one face and many, for what is loaded by then and what is not."""
    options = [
        {"quality": True},
        {"rotation_frame": "camera", "landmark_model": "3d"},
        *({"convention": name} for name, each in CONVENTIONS.items() if each.has_angles),
    ]
    expected = {rows: [pose_of(faces[:rows], **each) for each in options] for rows in (1, 2)}
    load_reference_face.cache_clear()
    load_rigid_face.cache_clear()
    for rows, poses in expected.items():
        with state():
            found = [pose_of(faces[:rows], **each) for each in options]
        for here, there in zip(found, poses, strict=True):
            numbers = here[:, :6].astype(np.float32)
            np.testing.assert_allclose(numbers, there[:, :6].astype(np.float32), rtol=0, atol=1e-5)


def test_a_default_device_does_not_reach_conversions_and_movement() -> None:
    """``meta`` stands for an accelerator: its tensors cannot be mixed with those of the CPU."""
    table = pd.DataFrame(np.linspace(0, 30, 21).reshape(7, 3), columns=["Pitch", "Roll", "Yaw"])
    options = {"convention": "300w-lp", "fps": 30}
    expected = [convert_pose(table, "300w-lp", "feat"), angular_velocity(table, **options)]
    with torch.device("meta"):
        found = [convert_pose(table, "300w-lp", "feat"), angular_velocity(table, **options)]
    for here, there in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(here, there)


@pytest.mark.slow
def test_a_million_faces_leave_memory_where_it_was() -> None:
    """After the first batches, four times as many cost no more at the peak."""
    code = """
import resource, torch
from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.motion import angular_velocity
from feat_pose_plugin.testing import project_face
faces = project_face(torch.randn(10000, 3) / 3)
for number in range(100):
    estimate_pose(faces, frame_size=(1000, 1000), quality=True)
    if number in (19, 99):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = map(int, ended.stdout.split())  # kilobytes
    assert late - early < 16 << 10
