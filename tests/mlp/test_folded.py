"""The folded network against the plain module: one answer, however a face arrives."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from feat_pose_plugin import get_pose_backend
from feat_pose_plugin.mlp.checkpoint import Checkpoint, read_checkpoint
from feat_pose_plugin.mlp.folded import FoldedPoseNetwork, FoldedPyFeatNetwork
from feat_pose_plugin.mlp.model import normalise
from feat_pose_plugin.mlp.network import PoseNetwork, PyFeatNetwork
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import load_checkpoint, load_network, run
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import usable_rows
from feat_pose_plugin.pose.rotations import geodesic_angle, matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.testing import FACE_68, project_face

CPU = torch.device("cpu")
KIND_2D = find_landmark_model("2d")
SAME = 1e-3  # degrees

OURS = {"output": "rotation_vector", "upright": True}
KINDS = ["bundled 2d", "bundled 3d", "v2", "small", "centred", "upright", "mesh"]


@pytest.fixture(params=KINDS)
def checkpoint(request, make_checkpoint) -> Checkpoint:
    match request.param.split():
        case ["bundled", kind]:
            return load_checkpoint(BUNDLED / f"pose_mlp_synth_{kind}.safetensors")
        case ["v2"]:
            return read_checkpoint(make_checkpoint())
        case ["small"]:
            return read_checkpoint(make_checkpoint(hidden=(20, 7)))
        case ["centred"]:
            return read_checkpoint(make_checkpoint(hidden=(20, 7), output="rotation_vector"))
        case ["upright"]:
            return read_checkpoint(make_checkpoint(hidden=(20, 7), **OURS))
        case _:
            return read_checkpoint(make_checkpoint(hidden=(20, 7), features=204, **OURS))


def faces(
    count: int, of: Checkpoint | None = None, *, noise: float = 5.0, seed: int = 0
) -> torch.Tensor:
    """Faces of mixed turn and shape, 100 to 600 pixels wide, within 2,000 pixels.

    With depth where a checkpoint reads it.
    """
    generator = torch.Generator().manual_seed(seed)
    points = project_face(0.4 * torch.randn(count, 3, generator=generator))
    if of is not None and of.model.features == 204:
        depth = 20 * FACE_68[:, 2:].expand(count, -1, -1)
        points = torch.cat([points, depth], dim=2)
    points = points + noise * torch.randn(points.shape, generator=generator)
    size = 0.5 + 2.5 * torch.rand(count, 1, 1, generator=generator)
    where = 2000 * torch.rand(count, 1, points.shape[2], generator=generator)
    return (points - points.mean(dim=1, keepdim=True)) * size + where


def degrees_between(pose: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest geodesic distance of two sets of rotations, NaN in the same rows."""
    assert pose.dtype == expected.dtype == torch.float32
    assert torch.equal(pose[:, :3].isnan(), expected[:, :3].isnan())
    first, second = (rotvec_to_matrix(each[:, :3].double()) for each in (pose, expected))
    between = geodesic_angle(first, second).rad2deg().nan_to_num()
    return between.max().item() if len(between) else 0.0


# The definition


def test_folded_network_is_the_plain_one(checkpoint):
    landmarks = faces(3000, checkpoint)
    landmarks[7, 36] = landmarks[7, 45]
    landmarks[8, 3, 1] = torch.nan
    landmarks[9] = 0.0
    folded, plain = FoldedPoseNetwork(checkpoint), PoseNetwork(checkpoint)
    for pitch_zero in (0.0, 0.1):
        expected = plain(landmarks, pitch_zero)
        assert degrees_between(folded(landmarks, pitch_zero), expected) <= SAME
        alone = torch.cat([folded(landmark[None], pitch_zero) for landmark in landmarks[:200]])
        assert degrees_between(alone, expected[:200]) <= SAME
        for pose in (alone, folded(landmarks)):
            assert pose[7:10].isnan().all()
            close = torch.allclose(pose[10:200, 3:], expected[10:200, 3:], 0, 1e-5, equal_nan=True)
            assert close


def test_folded_network_is_pyfeats(checkpoint):
    if checkpoint.output != "euler_angles":
        pytest.skip("py-feat does not run it")
    landmarks = faces(3000)
    landmarks[7, 36] = landmarks[7, 45]
    landmarks[8, 3, 1] = torch.nan
    folded, plain = FoldedPyFeatNetwork(checkpoint), PyFeatNetwork(checkpoint)
    pose = checkpoint.model(normalise(landmarks)) * checkpoint.std + checkpoint.mean
    torch.testing.assert_close(plain(landmarks), pose, atol=0, rtol=0, equal_nan=True)
    torch.testing.assert_close(folded(landmarks), pose, atol=1e-5, rtol=0, equal_nan=True)
    alone = torch.cat([folded(landmark[None]) for landmark in landmarks[:200]])
    torch.testing.assert_close(alone, pose[:200], atol=1e-5, rtol=0, equal_nan=True)
    assert pose[8].isnan().all()


@pytest.mark.parametrize("far", [0, 1e4, 1e5])
@pytest.mark.parametrize("kind", [FoldedPoseNetwork, PoseNetwork])
def test_far_from_the_origin_it_is_the_same(checkpoint, kind, far):
    landmarks = faces(300, checkpoint).double()
    network = kind(checkpoint)
    expected = PoseNetwork(checkpoint)(landmarks)
    assert degrees_between(network(landmarks + far), expected) <= SAME


# Exact symmetries


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_a_turned_picture_turns_the_pose(checkpoint, degrees):
    if not checkpoint.upright:
        pytest.skip("its network does not promise this")
    network, landmarks = FoldedPoseNetwork(checkpoint), faces(2000, checkpoint)
    turn = rotvec_to_matrix(torch.tensor([0, 0, math.radians(degrees)], dtype=torch.float64))
    turned = landmarks.double()
    turned[..., :2] = turned[..., :2] @ turn[:2, :2].T
    expected = matrix_to_rotvec(turn @ rotvec_to_matrix(network(landmarks)[:, :3].double()))
    for network in (FoldedPoseNetwork(checkpoint), PoseNetwork(checkpoint)):
        assert degrees_between(network(turned.float()), expected.float()) <= 0.05


# What must not matter


def test_number_of_rows_and_neighbours_do_not_matter(checkpoint):
    network = FoldedPoseNetwork(checkpoint)
    landmarks = faces(4500, checkpoint)
    landmarks[::7, 5] = torch.inf
    expected = run(network, landmarks)
    for count in (0, 1, 2, 31, 2047, 2048, 2049, 4097):
        rows = slice(4500 - count, None)
        assert degrees_between(run(network, landmarks[rows]), expected[rows]) <= SAME
    order = torch.randperm(4500, generator=torch.Generator().manual_seed(0))
    assert degrees_between(run(network, landmarks[order]), expected[order]) <= SAME


def layouts(landmarks: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = len(landmarks)
    at_odd_offset = torch.empty(1 + landmarks.numel())
    at_odd_offset[1:] = landmarks.flatten()
    return {
        "68 x, then 68 y": landmarks.mT.contiguous().mT,
        "among others": torch.cat([landmarks, landmarks], dim=2)[..., : landmarks.shape[2]],
        "odd offset": at_odd_offset[1:].view(landmarks.shape),
        "every other row": landmarks.repeat_interleave(2, dim=0)[::2],
        "rows innermost": landmarks.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        "one row repeated": landmarks[:1].expand(rows, -1, -1),
        "needs gradients": landmarks.clone().requires_grad_(),
    }


@pytest.mark.parametrize("name", layouts(faces(2)))
@pytest.mark.parametrize("rows", [1, 3, 2050])
def test_memory_layout_does_not_matter(name, rows, checkpoint):
    landmarks = layouts(faces(rows, checkpoint))[name]
    before = landmarks.detach().clone()
    network = FoldedPoseNetwork(checkpoint)
    pose = run(network, landmarks)
    assert degrees_between(pose, run(network, before)) <= SAME
    assert not pose.requires_grad
    assert torch.equal(landmarks, before)


def test_half_floats_are_taken(checkpoint):  # float64: test_far_from_the_origin_it_is_the_same
    pose = FoldedPoseNetwork(checkpoint)((faces(50, checkpoint) % 500).half())
    assert pose.dtype == torch.float32
    assert pose[:, :3].isfinite().all()


coordinates = arrays(
    np.float32, (68, 2), elements=st.floats(width=32) | st.floats(0, 2000, width=32)
)


def with_left_eye_at(x: float, y: float = 0) -> np.ndarray:
    points = np.zeros((68, 2), np.float32)
    points[45] = x, y
    return points


@given(coordinates, st.booleans())
@example(with_left_eye_at(2.0**64), False)  # the square is beyond float32
@example(with_left_eye_at(3e38, 3e38), False)  # the distance is
@example(with_left_eye_at(1e17, 1e17), False)
@example(with_left_eye_at(1e-6), False)
def test_any_numbers_are_an_answer_or_six_nan(points, coinciding):
    if coinciding:
        points[36] = points[45]
    landmarks = torch.from_numpy(points)[None]
    backend = get_pose_backend("pose_mlp_synth")
    alone = backend.estimate(landmarks, landmark_model=KIND_2D)
    among = backend.estimate(torch.cat([faces(1), landmarks, faces(1)]), landmark_model=KIND_2D)
    assert alone.shape == (1, 6)
    assert alone[0, :3].isnan().all() == alone[0, :3].isnan().any()
    if normalise(landmarks).abs().max() < 1e6:  # a face of such size may be one or the other
        assert torch.equal(alone.isnan(), among[1:2].isnan())
    if not usable_rows(landmarks):
        assert alone.isnan().all()
        assert among[1].isnan().all()
    assert among[[0, 2]][:, :3].isfinite().all()


# Threads, processes, memory


def test_two_hundred_threads_at_once(checkpoint):
    """More than OpenBLAS serves at a time: it ended the process."""
    network = FoldedPoseNetwork(checkpoint)
    start = threading.Barrier(200)
    landmarks = faces(200, checkpoint, seed=1)
    expected = network(landmarks)
    wrong = []

    def estimate(row: int) -> None:
        start.wait()
        alone, batch = network(landmarks[row : row + 1]), network(landmarks[row : row + 10])
        for pose, rows in ((alone, 1), (batch, 10)):
            if degrees_between(pose, expected[row : row + rows]) > SAME:
                wrong.append(row)

    threads = [threading.Thread(target=estimate, args=(row,)) for row in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def run_python(script: str, timeout: float = 120) -> str:
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_of_a_process_that_has_estimated_estimates():
    run_python("""
import os, torch
from feat_pose_plugin import get_pose_backend
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.testing import project_face

KIND_2D = find_landmark_model("2d")
backend = get_pose_backend("pose_mlp_synth")
faces = project_face(0.3 * torch.randn(3000, 3))
estimate = lambda: [
    backend.estimate(some, landmark_model=KIND_2D)[:, :3] for some in (faces, faces[:1])
]
expected = estimate()
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        found = torch.cat(estimate())
        os._exit(0 if torch.allclose(found, torch.cat(expected), rtol=0, atol=1e-5) else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
""")


def test_memory_does_not_grow_with_the_batch():
    grown = run_python("""
import resource, torch
from feat_pose_plugin import get_pose_backend
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.testing import project_face

KIND_2D = find_landmark_model("2d")
backend = get_pose_backend("pose_mlp_synth")
faces = project_face(torch.zeros(1, 3)).repeat(400_000, 1, 1)
backend.estimate(faces[:10_000], landmark_model=KIND_2D)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
pose = backend.estimate(faces, landmark_model=KIND_2D)
print(peak() - before - pose.nbytes // 1024)
""")
    # Kilobytes on Linux. A copy of the landmarks would be 212,500, one hidden layer 400,000.
    assert int(grown) < 20_000


@pytest.mark.usefixtures("fresh_weights")
def test_networks_without_layer_norm_know_unusable_rows(make_checkpoint):
    network = load_network(make_checkpoint(hidden=(30, 10), layer_norm=False), CPU)
    landmarks = faces(5)
    landmarks[1, 36] = landmarks[1, 45]
    landmarks[2, 60, 0] = torch.inf
    landmarks[3, 36, 1] = -torch.inf
    pose = network(landmarks)
    for lost in (pose.isnan().all(dim=1), pose.isnan().any(dim=1)):
        assert lost.tolist() == [False, True, True, True, False]
