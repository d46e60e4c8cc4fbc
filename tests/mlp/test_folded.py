"""The folded network against the plain module: one answer, however a face arrives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from feat_pose_plugin import get_pose_backend
from feat_pose_plugin.mlp.checkpoint import Checkpoint, read_checkpoint
from feat_pose_plugin.mlp.folded import FoldedNetwork, Network
from feat_pose_plugin.mlp.model import normalise
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import load_checkpoint, load_network
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import usable_rows
from feat_pose_plugin.testing import project_face

CPU = torch.device("cpu")
KIND_2D = find_landmark_model("2d")
SAME = 1e-5

KINDS = ["bundled 2d", "bundled 3d", "v2", "small"]


@pytest.fixture(params=KINDS)
def checkpoint(request, make_checkpoint) -> Checkpoint:
    match request.param.split():
        case ["bundled", landmark_kind]:
            return load_checkpoint(BUNDLED / f"pose_mlp_synth_{landmark_kind}.safetensors")
        case ["v2"]:
            return read_checkpoint(make_checkpoint())
        case _:
            return read_checkpoint(make_checkpoint(hidden=(20, 7)))


def faces(count: int, *, noise: float = 5.0, seed: int = 0) -> torch.Tensor:
    """Faces of mixed turn and shape, 100 to 600 pixels wide, within 2,000 pixels."""
    generator = torch.Generator().manual_seed(seed)
    points = project_face(0.4 * torch.randn(count, 3, generator=generator))
    points = points + noise * torch.randn(points.shape, generator=generator)
    size = 0.5 + 2.5 * torch.rand(count, 1, 1, generator=generator)
    where = 2000 * torch.rand(count, 1, 2, generator=generator)
    return (points - points.mean(dim=1, keepdim=True)) * size + where


def difference(pose: torch.Tensor, expected: torch.Tensor) -> float:
    assert pose.shape == expected.shape
    assert pose.dtype == torch.float32
    assert torch.equal(pose.isnan(), expected.isnan())
    return (pose - expected).abs().nan_to_num().max().item() if len(pose) else 0.0


def exact(checkpoint: Checkpoint, landmarks: torch.Tensor) -> torch.Tensor:
    """The plain module in float64."""
    model = deepcopy(checkpoint.model).double()
    standardised = model(normalise(landmarks.double()).double())
    return (standardised * checkpoint.std + checkpoint.mean).float()


# The plain module


@pytest.mark.parametrize("as_pyfeat", [True, False])
def test_folded_network_is_the_plain_one(checkpoint, as_pyfeat):
    landmarks = faces(5000)
    landmarks[7, 36] = landmarks[7, 45]
    landmarks[8, 3, 1] = torch.nan
    folded = FoldedNetwork(checkpoint, as_pyfeat=as_pyfeat)
    plain = Network(checkpoint, CPU, as_pyfeat=as_pyfeat)
    expected = plain(landmarks)
    assert difference(folded(landmarks), expected) <= SAME
    alone = torch.cat([folded(landmark[None]) for landmark in landmarks[:500]])
    assert difference(alone, expected[:500]) <= SAME
    assert folded(landmarks)[8].isnan().all()
    assert bool(folded(landmarks)[7].isnan().any()) is not as_pyfeat


def test_plain_network_is_the_module(checkpoint):
    landmarks = faces(100)
    pose = checkpoint.model(normalise(landmarks)) * checkpoint.std + checkpoint.mean
    assert torch.equal(Network(checkpoint, CPU, as_pyfeat=True)(landmarks), pose)


def test_rounding_stays_small(checkpoint):
    landmarks = faces(2000)
    folded = FoldedNetwork(checkpoint, as_pyfeat=False)
    assert difference(folded(landmarks), exact(checkpoint, landmarks)) <= SAME / 3


@pytest.mark.parametrize("far", [1e4, 1e5])
@pytest.mark.parametrize("kind", [FoldedNetwork, Network])
def test_far_from_the_origin_is_as_near_to_the_truth(checkpoint, kind, far):
    landmarks = faces(300) + torch.tensor([far, -far])
    given_device = {} if kind is FoldedNetwork else {"device": CPU}
    network = kind(checkpoint, **given_device, as_pyfeat=False)
    for pose in (network(landmarks), torch.cat([network(face[None]) for face in landmarks])):
        assert difference(pose, exact(checkpoint, landmarks)) <= SAME


# What must not matter


def test_number_of_rows_and_neighbours_do_not_matter(checkpoint):
    network = FoldedNetwork(checkpoint, as_pyfeat=False)
    landmarks = faces(4500)
    landmarks[::7, 5] = torch.inf
    expected = network(landmarks)
    for count in (0, 1, 2, 31, 2047, 2048, 2049, 4097):
        assert (
            difference(
                network(landmarks[-count:] if count else landmarks[:0]),
                expected[-count:] if count else expected[:0],
            )
            <= SAME
        )
    order = torch.randperm(4500, generator=torch.Generator().manual_seed(0))
    assert difference(network(landmarks[order]), expected[order]) <= SAME


def layouts(landmarks: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = len(landmarks)
    at_odd_offset = torch.empty(1 + rows * 136)
    at_odd_offset[1:] = landmarks.flatten()
    return {
        "68 x, then 68 y": landmarks.mT.contiguous().mT,
        "with depth": torch.cat([landmarks, torch.ones(rows, 68, 1)], dim=2)[..., :2],
        "odd offset": at_odd_offset[1:].view(rows, 68, 2),
        "every other row": landmarks.repeat_interleave(2, dim=0)[::2],
        "rows innermost": landmarks.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        "one row repeated": landmarks[:1].expand(rows, 68, 2),
        "needs gradients": landmarks.clone().requires_grad_(),
    }


@pytest.mark.parametrize("name", layouts(faces(2)))
@pytest.mark.parametrize("rows", [1, 3, 2050])
def test_memory_layout_does_not_matter(name, rows, checkpoint):
    landmarks = layouts(faces(rows))[name]
    before = landmarks.detach().clone()
    network = FoldedNetwork(checkpoint, as_pyfeat=False)
    pose = network(landmarks)
    assert difference(pose, network(before)) <= SAME
    assert not pose.requires_grad
    assert torch.equal(landmarks, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_floats_are_taken(dtype, checkpoint):
    landmarks = (faces(50) % 500).to(dtype)
    network = FoldedNetwork(checkpoint, as_pyfeat=False)
    pose = network(landmarks)
    assert pose.dtype == torch.float32
    if dtype == torch.float64:
        assert difference(pose, network(landmarks.float())) <= SAME


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
    assert torch.equal(alone.isnan(), among[1:2].isnan())
    if not usable_rows(landmarks):
        assert alone.isnan().all()
        assert among[1].isnan().all()
    assert among[[0, 2]][:, :3].isfinite().all()


# Threads, processes, memory


def test_two_hundred_threads_at_once(checkpoint):
    network = FoldedNetwork(checkpoint, as_pyfeat=False)
    start = threading.Barrier(200)
    landmarks = faces(200, seed=1)
    expected = network(landmarks)
    wrong = []

    def estimate(row: int) -> None:
        start.wait()
        for _ in range(5):
            alone, batch = network(landmarks[row : row + 1]), network(landmarks[row : row + 10])
            if (
                max(
                    difference(alone, expected[row : row + 1]),
                    difference(batch, expected[row : row + 10]),
                )
                > SAME
            ):
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
        os._exit(0 if all(map(torch.equal, estimate(), expected)) else 1)
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


# What load_network makes


@pytest.mark.usefixtures("fresh_weights")
def test_network_without_translation_is_nan_there(make_checkpoint):
    path = make_checkpoint()
    whole, part = load_network(path, CPU), load_network(path, CPU, has_translation=False)
    landmarks = faces(3)
    for some in (landmarks, landmarks[:1]):
        assert torch.equal(part(some)[:, :3], whole(some)[:, :3])
        assert part(some)[:, 3:].isnan().all()
        assert whole(some).isfinite().all()
    assert load_network(path, CPU) is whole


@pytest.mark.usefixtures("fresh_weights")
def test_networks_without_layer_norm_know_unusable_rows(make_checkpoint):
    network = load_network(make_checkpoint(hidden=(30, 10), layer_norm=False), CPU)
    landmarks = faces(5)
    landmarks[1, 36] = landmarks[1, 45]
    landmarks[2, 60, 0] = torch.inf
    landmarks[3, 36, 1] = -torch.inf
    assert network(landmarks).isnan().all(dim=1).tolist() == [False, True, True, True, False]
    assert network(landmarks).isnan().any(dim=1).tolist() == [False, True, True, True, False]
