"""The conformance suite: a right backend passes, and each rule catches a wrong one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from documents import python_blocks
from torch import Tensor

from feat_pose_plugin import PoseBackend, Provenance, get_pose_backend
from feat_pose_plugin.errors import BackendError
from feat_pose_plugin.pose.backend import WeightsFile
from feat_pose_plugin.pose.landmark_models import LandmarkModel
from feat_pose_plugin.pose.landmarks import usable_rows
from feat_pose_plugin.testing import (
    FACE_68,
    RULES,
    check_known_turns,
    check_mirror_image,
    check_pose_backend,
    check_position_and_size,
    check_provenance,
    check_result,
    check_rows_independent,
    check_translation,
    check_usable_rows,
    project_face,
)


@pytest.fixture(scope="session")
def example() -> PoseBackend:
    """The documented example backend."""
    names: dict[str, Callable[[], PoseBackend]] = {}
    exec(python_blocks("write-a-backend.md")[0], names)  # type: ignore[arg-type]
    return names["WeakPerspective"]()


@pytest.mark.parametrize("rule", RULES)
def test_documented_example_and_bundled_weights_follow_every_rule(rule, example):
    rule(example)
    rule(get_pose_backend("pose_mlp_synth"))


def cleans_in_place(estimate, x):
    pose = estimate(x)
    x.nan_to_num_(0.0)
    return pose


def crashes_on_empty(estimate, x):
    if len(x) == 0:
        raise IndexError("no faces")
    return estimate(x)


def with_translation(estimate, x, value):
    return torch.cat([estimate(x)[:, :3], value * torch.ones(len(x), 3)], dim=1)


def smoothed_over_the_batch(estimate, x):
    pose = estimate(x)
    return 0.9 * pose + 0.1 * pose.roll(1, dims=0) if usable_rows(x).all() else pose


def always_frontal(estimate, x):
    return 0.0 * estimate(x)


BROKEN = [
    (check_result, "three columns", lambda estimate, x: estimate(x)[:, :3]),
    (check_result, "one dimension too few", lambda estimate, x: estimate(x).squeeze(0)),
    (check_result, "float64", lambda estimate, x: estimate(x).double()),
    (check_result, "numpy", lambda estimate, x: estimate(x).numpy()),
    (check_result, "gradient", lambda estimate, x: estimate(x) * torch.nn.Parameter(torch.ones(6))),
    (check_result, "crashes on empty", crashes_on_empty),
    (check_result, "drops rows", lambda estimate, x: estimate(x[usable_rows(x)])),
    (check_result, "centres in place", lambda estimate, x: estimate(x.sub_(x.mean(1, True)))),
    (check_result, "cleans in place", cleans_in_place),
    (check_usable_rows, "garbage", lambda estimate, x: estimate(x).nan_to_num(0.0)),
    (check_usable_rows, "translation", partial(with_translation, value=0)),
    (check_usable_rows, "poisoned", lambda estimate, x: estimate(x + 0 * x.sum())),
    (check_rows_independent, "noise", lambda e, x: e(x) + torch.randn(len(x), 6) * 1e-3),
    (check_rows_independent, "contiguous only", lambda e, x: e(x.view(-1, 136).view(x.shape))),
    (check_rows_independent, "smoothed", smoothed_over_the_batch),
    (check_position_and_size, "position", lambda e, x: e(x) + 1e-4 * (x[:, 30, :1] - 640)),
    (check_known_turns, "degrees", lambda estimate, x: estimate(x).rad2deg()),
    (check_known_turns, "swapped", lambda estimate, x: estimate(x)[:, [0, 2, 1, 3, 4, 5]]),
    (check_known_turns, "signs", lambda e, x: e(x) * torch.tensor([-1.0, 1, -1, 1, 1, 1])),
    (check_known_turns, "transposed", lambda estimate, x: -estimate(x)),
    (check_known_turns, "too little", lambda estimate, x: 0.7 * estimate(x)),
    (check_known_turns, "always frontal", always_frontal),
    (check_mirror_image, "to one side", lambda e, x: e(x) + torch.tensor([0, 0.15, 0, 0, 0, 0])),
]


class Broken(PoseBackend):
    """A right backend with one fault."""

    provenance = Provenance("broken", "MIT")

    def __init__(self, right, fault=lambda estimate, x: estimate(x)):
        self._right = right
        self._fault = fault

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        return self._fault(partial(self._right.estimate, landmark_model=landmark_model), landmarks)


@pytest.mark.parametrize(("rule", "what", "fault"), BROKEN, ids=[what for _, what, _ in BROKEN])
def test_broken_backend_is_caught_by_the_rule_it_breaks(rule, what, fault, example):
    with pytest.raises(BackendError, match=f"Broken breaks {rule.__name__}: "):
        check_pose_backend(Broken(example, fault))


def test_no_fault_no_error(example):
    check_pose_backend(Broken(example))


@pytest.mark.parametrize(("declared", "value"), [(True, torch.nan), (False, 9.0)])
def test_translation_that_is_not_as_declared_is_caught(declared, value, example):
    backend = Broken(example, partial(with_translation, value=value))
    backend.has_translation = declared
    with pytest.raises(BackendError, match=f"has_translation is {declared}"):
        check_translation(backend)


def test_positional_frame_size_is_caught(example):
    class Positional(Broken):
        def estimate(self, landmarks, frame_height=None, frame_width=None):
            return super().estimate(landmarks, landmark_model=LandmarkModel("2d", "2d"))

    with pytest.raises(BackendError, match="Positional breaks check_result"):
        check_pose_backend(Positional(example))


def test_one_landmark_kind_only_is_caught(example):
    class OnlyContours(Broken):
        def estimate(self, landmarks, *, frame_size=None, landmark_model):
            pose = self._right.estimate(landmarks, landmark_model=landmark_model)
            return pose if landmark_model.kind == "2d" else pose * torch.nan

    with pytest.raises(BackendError, match=r"not finite \(kind='3d'"):
        check_usable_rows(OnlyContours(example))


def test_a_fault_with_a_frame_size_only_is_caught(example):
    class WithoutFrames(Broken):
        def estimate(self, landmarks, *, frame_size=None, landmark_model):
            pose = self._right.estimate(landmarks, landmark_model=landmark_model)
            return pose if frame_size is None else pose * torch.nan

    with pytest.raises(BackendError, match=r"not finite \(kind='2d', frame_size=\(720, 1280\)\)"):
        check_usable_rows(WithoutFrames(example))


def test_provenance_is_checked(example, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    named, backend = example.provenance, Broken(example)
    for wrong in (
        None,
        replace(named, name=""),
        replace(named, licence=""),
        replace(named, weights={"2d": WeightsFile(weights, "0" * 64)}),
    ):
        backend.provenance = wrong
        with pytest.raises(BackendError, match="check_provenance"):
            check_pose_backend(backend)
    duck = SimpleNamespace(provenance=named, estimate=example.estimate)
    with pytest.raises(BackendError, match="SimpleNamespace breaks check_provenance"):
        check_pose_backend(duck)


def test_every_rule_catches_something():
    shown = {rule for rule, *_ in BROKEN} | {check_provenance, check_translation}
    assert shown == set(RULES)


def test_message_says_what_was_read_instead_and_keeps_the_cause(example):
    with pytest.raises(BackendError, match=r"-30 degrees in rx .* \(-30.0, 0.0, 0.0\) degrees"):
        check_pose_backend(Broken(example, always_frontal))
    with pytest.raises(BackendError) as caught:
        check_pose_backend(Broken(example, crashes_on_empty))
    assert isinstance(caught.value.__cause__, IndexError)


def test_face_is_ict_facekits(shared_data):
    with np.load(shared_data / "ict_facekit_face.npz") as ict:
        points = ict["neutral"][ict["landmark_vertices"]] * [1, -1, -1]
    np.testing.assert_allclose(FACE_68.numpy(), points, atol=0.0051)


def test_projected_face_stands_upright_in_the_middle_of_the_frame():
    face: Tensor = project_face(torch.zeros(1, 3))[0]
    chin, right_ear, left_ear, nose_bridge = face[8], face[0], face[16], face[27]
    assert right_ear[0] < 640 < left_ear[0]
    assert nose_bridge[1] < 360 < chin[1]
    assert 150 < left_ear[0] - right_ear[0] < 250


def test_import_needs_no_test_framework():
    script = "import sys, feat_pose_plugin.testing; assert not {'pytest', 'feat'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", script], check=True)
