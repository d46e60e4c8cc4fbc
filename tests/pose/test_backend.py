"""The table block made of what a backend says, and the backends of the shared network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import Fake, faces, table_of

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    get_pose_backend,
)
from feat_pose_plugin.errors import BackendError, ConventionError, FrameSizeError, WeightsError
from feat_pose_plugin.mlp.pose_mlp import MLPBackend
from feat_pose_plugin.mlp.weights import PATH_VARIABLE
from feat_pose_plugin.pose.conventions import CONVENTIONS, from_rotvec_pose
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmark_models import LandmarkModel, find_landmark_model
from feat_pose_plugin.pose.landmarks import Landmarks
from feat_pose_plugin.testing import (
    RULES,
    check_known_turns,
    check_mirror_image,
)

FACES = faces(4)


def landmarks(is_3d: list[bool], points: torch.Tensor = FACES) -> Landmarks:
    models = (find_landmark_model("2d"), find_landmark_model("3d"))
    return Landmarks(points[: len(is_3d)], models, torch.tensor(is_3d, dtype=torch.int64))


# The block


def estimated(backend, landmarks, frame_size=None, **options):
    return PoseEstimator(backend=backend, **options)(landmarks, frame_size=frame_size)


def test_block_has_the_columns_dtype_and_index_of_the_table():
    index = pd.Index(["c", "a", "a", "b"], name="face")
    table = table_of(FACES).set_axis(index)
    block = estimated(Fake(), table)
    assert list(block.columns) == FEAT_FACEPOSE_COLUMNS_6D
    assert FEAT_FACEPOSE_COLUMNS_6D == ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]
    assert (block.dtypes == np.float32).all()
    pd.testing.assert_index_equal(block.index, index)
    assert list(estimated(Fake(), landmarks([False] * 2)).index) == [0, 1]


@pytest.mark.parametrize(
    "convention", [name for name, each in CONVENTIONS.items() if each.has_angles]
)
def test_block_speaks_the_convention(convention):
    pose = torch.tensor([[0.1, -0.2, 0.3, 1, 2, 3]])
    fake = Fake(pose)
    block = estimated(fake, landmarks([False] * 2), convention=convention)
    expected = from_rotvec_pose(pose.expand(2, 6), convention)
    if CONVENTIONS[convention].translation_unit != "img2pose":
        expected[:, 3:] = torch.nan  # nobody says how long a unit is
    np.testing.assert_array_equal(block, expected)


def test_rows_are_asked_by_landmark_model_and_frame_size_and_stay_in_order():
    fake = Fake(lambda points: points[:, :3].flatten(1))
    mixed = landmarks([True, False, True, False])
    sizes = np.array([[480, 640], [480, 640], [np.nan, 640], [480, 640]])
    block = estimated(fake, mixed, frame_size=sizes, convention="img2pose")
    asked = [(points, model.kind, size) for points, size, model in fake.asked]
    expected = [([1, 3], "2d", (480, 640)), ([2], "3d", None), ([0], "3d", (480, 640))]
    assert [each[1:] for each in asked] == [each[1:] for each in expected]
    for (points, *_), (rows, *_) in zip(asked, expected, strict=True):
        assert torch.equal(points, FACES[rows])
    np.testing.assert_array_equal(block["X"], FACES[:, 1, 1])


@pytest.mark.parametrize("reads", [{"2d", "3d"}, {"2d", "3d", "mesh"}])
def test_meshes_come_with_depth_to_backends_that_read_it(reads):
    deep = torch.cat([FACES, 100 * torch.rand(4, 68, 1)], dim=2)
    deep[2, :, 2] = 0
    fake = Fake()
    fake.reads = frozenset(reads)
    estimated(fake, deep, landmark_model="mediapipe")
    asked = {model.kind: points for points, _, model in fake.asked}
    if "mesh" in reads:
        assert torch.equal(asked["mesh"], deep[[0, 1, 3]])
        assert torch.equal(asked["3d"], FACES[[2]])
    else:
        assert torch.equal(asked["3d"], FACES)
    assert {model.name for _, _, model in fake.asked} == {"mediapipe"}


def test_provenance_names_the_network_that_reads_a_landmark_model(pair):
    backend = MLPBackend("random", "MIT", pair)
    two, three = (f"{kind} {file.sha256[:12]}" for kind, file in backend.provenance.weights.items())
    describe = backend.provenance.describe
    assert describe() == f"random {two} {three}"
    assert describe("dlib") == f"random {two}"
    assert describe("3d") == describe("mediapipe") == f"random {three}"


@pytest.mark.parametrize("size", [None, (720, 1280)])
def test_float64_is_rounded_where_it_does_not_matter(size):
    fake = Fake()
    estimated(fake, torch.cat([FACES.double(), 10_000 + FACES.double()]), frame_size=size)
    (given, *_) = fake.asked[0]
    assert given.dtype == torch.float32
    assert torch.equal(given[:4], FACES)
    moved = FACES - FACES.mean(dim=1, keepdim=True)
    torch.testing.assert_close(given[4:], moved, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "frame_size",
    [
        *((480,), (480, 640, 3), (0, 640), (480, -1), (480, 2**40), (480.0, 640.0)),
        *(("480", "640"), 480, "4x", (None, None), (float("nan"), 640), np.array([["a", None]])),
    ],
)
def test_frame_size_that_is_none_is_repeated(frame_size):
    fake = Fake()
    with pytest.raises(FrameSizeError, match=r"\(height, width\)") as caught:
        estimated(fake, landmarks([False]), frame_size=frame_size)
    assert " ".join(repr(frame_size).split()) in str(caught.value)
    assert fake.asked == []


@pytest.mark.parametrize("frame_size", [(480, 640), [480, 640], tuple(np.array([480, 640]))])
def test_frame_size_is_any_pair_of_integers(frame_size):
    fake = Fake()
    estimated(fake, landmarks([False]), frame_size=frame_size)
    assert tuple(fake.asked[0][1]) == (480, 640)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda points: torch.zeros(len(points), 3), r"torch.float32 of shape \[4, 3\]"),
        (lambda points: torch.zeros(6), r"torch.float32 of shape \[6\]"),
        (lambda points: torch.zeros(len(points) + 1, 6), r"torch.float32 of shape \[5, 6\]"),
        (lambda points: torch.zeros(len(points), 6).double(), r"torch.float64 of shape \[4, 6\]"),
        (lambda points: np.zeros((len(points), 6)), "ndarray"),
    ],
)
def test_backend_that_breaks_its_contract_is_named(answer, found):
    with pytest.raises(BackendError, match=f"'fake' returned {found} for 4 faces"):
        estimated(Fake(answer), landmarks([False] * 4))


@pytest.mark.parametrize("convention", ["radians", "matrix", "quaternion"])
def test_convention_that_is_unknown_or_does_not_fit_into_six_columns(convention):
    with pytest.raises(ConventionError, match=f"'{convention}'"):
        estimated(Fake(), landmarks([False]), convention=convention)


# Backends of the shared network


def ask(backend, kind):
    return backend.estimate(FACES, landmark_model=LandmarkModel(kind, kind))  # without a zero


@pytest.fixture(params=["euler_angles", "rotation_vector"])
def pair(request, make_checkpoint) -> dict[str, Path]:
    return {
        "2d": make_checkpoint("2d.safetensors", output=request.param),
        "3d": make_checkpoint("3d.safetensors", output=request.param, seed=1),
    }


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule not in (check_known_turns, check_mirror_image)]
)
def test_any_weights_follow_every_rule_that_is_not_of_their_making(rule, pair):
    rule(MLPBackend("random", "MIT", pair))


def test_each_landmark_kind_has_its_network_and_its_hash(pair):
    backend = MLPBackend("random", "MIT", pair)
    for kind, path in pair.items():
        alone = MLPBackend("random", "MIT", {"2d": path, "3d": path})
        same = ask(backend, kind)[:, :3], ask(alone, "2d")[:, :3]
        torch.testing.assert_close(*same, atol=1e-5, rtol=0)
        weights = backend.provenance.weights[kind]
        assert weights.path == path
        assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    two, three = (ask(backend, kind)[:, :3] for kind in ("2d", "3d"))
    assert not torch.allclose(two, three)


def test_translation_is_passed_on_or_nan(pair):
    backend = MLPBackend("random", "MIT", pair)
    position = ask(backend, "2d")[:, 3:]
    assert position.isfinite().all() if backend.has_translation else position.isnan().all()
    assert backend.has_translation is (
        "euler_angles" in pair["2d"].with_suffix(".json").read_text()
    )


def test_missing_weights_are_an_error_when_the_backend_is_made(pair, tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        MLPBackend(
            "random",
            "MIT",
            pair | {"3d": tmp_path / "nowhere.safetensors"},
        )


@pytest.mark.usefixtures("fresh_weights")
def test_official_weights_serve_both_types_and_keep_their_translation(make_checkpoint, monkeypatch):
    path = make_checkpoint()
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    for name in ("pose_mlp", "pose_mlp_v2"):
        backend = get_pose_backend(name)
        assert backend.provenance.name == "pose_mlp_v2"
        assert {weights.path for weights in backend.provenance.weights.values()} == {path}
        two, three = (ask(backend, kind)[:, :3] for kind in ("2d", "3d"))
        torch.testing.assert_close(two, three, atol=1e-5, rtol=0)
        assert two.isfinite().all()
