"""The conformance suite: a right backend passes, and each rule catches a wrong one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

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
from feat_pose_plugin.testing import FACE_68, RULES, check_pose_backend, project_face


@pytest.fixture(scope="session")
def example() -> PoseBackend:
    """The documented example backend."""
    names: dict[str, Callable[[], PoseBackend]] = {}
    exec(python_blocks("write-a-backend.md")[0], names)  # type: ignore[arg-type]
    return names["WeakPerspective"]()


@pytest.mark.parametrize("rule", RULES)
def test_documented_example_follows_every_rule(rule, example):
    rule(example)


@pytest.mark.parametrize("rule", RULES)
def test_bundled_weights_follow_every_rule(rule):
    rule(get_pose_backend("pose_mlp_synth"))


def degrees(estimate, landmarks):
    return estimate(landmarks).rad2deg()


def roll_and_yaw_swapped(estimate, landmarks):
    return estimate(landmarks)[:, [0, 2, 1, 3, 4, 5]]


def feat_signs_instead_of_img2pose(estimate, landmarks):
    return estimate(landmarks) * torch.tensor([-1.0, 1, -1, 1, 1, 1])


def transposed(estimate, landmarks):
    return -estimate(landmarks)


def reads_seven_tenths_of_a_turn(estimate, landmarks):
    return 0.7 * estimate(landmarks)


def always_frontal(estimate, landmarks):
    return 0.0 * estimate(landmarks)


def looks_to_one_side(estimate, landmarks):
    return estimate(landmarks) + torch.tensor([0, 0.15, 0, 0, 0, 0])


def centred_on_the_mean_of_the_batch(estimate, landmarks):
    return estimate(landmarks - landmarks.mean(dim=(0, 1)) + 500)


def poisoned_by_unusable_rows(estimate, landmarks):
    return estimate(landmarks + 0 * landmarks.sum())


def smoothed_over_the_batch(estimate, landmarks):
    pose = estimate(landmarks)
    return 0.9 * pose + 0.1 * pose.roll(1, dims=0) if usable_rows(landmarks).all() else pose


def garbage_for_unusable_rows(estimate, landmarks):
    return estimate(landmarks).nan_to_num(0.0)


def translation_for_unusable_rows(estimate, landmarks):
    return torch.cat([estimate(landmarks)[:, :3], torch.zeros(len(landmarks), 3)], dim=1)


def translation_that_is_not_declared(estimate, landmarks):
    rotation = estimate(landmarks)[:, :3]
    return torch.cat([rotation, 0 * rotation + 9], dim=1)


def drops_unusable_rows(estimate, landmarks):
    return estimate(landmarks[usable_rows(landmarks)])


def three_columns(estimate, landmarks):
    return estimate(landmarks)[:, :3]


def one_row_too_few_dimensions(estimate, landmarks):
    return estimate(landmarks).squeeze(0)


def float64(estimate, landmarks):
    return estimate(landmarks).double()


def numpy_array(estimate, landmarks):
    return estimate(landmarks).numpy()


def keeps_a_gradient(estimate, landmarks):
    return estimate(landmarks) * torch.nn.Parameter(torch.ones(6))


def centres_its_input_in_place(estimate, landmarks):
    return estimate(landmarks.sub_(landmarks.mean(dim=1, keepdim=True)))


def cleans_its_input_in_place(estimate, landmarks):
    pose = estimate(landmarks)
    landmarks.nan_to_num_(0.0)
    return pose


def crashes_on_empty(estimate, landmarks):
    if len(landmarks) == 0:
        raise IndexError("no faces")
    return estimate(landmarks)


def wants_contiguous_memory(estimate, landmarks):
    return estimate(landmarks.view(-1, 136).view(-1, 68, 2))


def noise(estimate, landmarks):
    return estimate(landmarks) + torch.randn(len(landmarks), 6) * 1e-3


def reads_position_off_the_picture(estimate, landmarks):
    return estimate(landmarks) + 1e-4 * (landmarks[:, 30, :1] - 640)


BROKEN = [
    (three_columns, "check_result"),
    (one_row_too_few_dimensions, "check_result"),
    (float64, "check_result"),
    (numpy_array, "check_result"),
    (keeps_a_gradient, "check_result"),
    (crashes_on_empty, "check_result"),
    (centres_its_input_in_place, "check_input_unchanged"),
    (cleans_its_input_in_place, "check_input_unchanged"),
    (noise, "check_repeatable"),
    (wants_contiguous_memory, "check_memory_layout"),
    (translation_that_is_not_declared, "check_translation"),
    (garbage_for_unusable_rows, "check_unusable_rows"),
    (translation_for_unusable_rows, "check_unusable_rows"),
    (drops_unusable_rows, "check_unusable_rows"),
    (poisoned_by_unusable_rows, "check_unusable_rows"),
    (smoothed_over_the_batch, "check_rows_independent"),
    (reads_position_off_the_picture, "check_position_and_size"),
    (degrees, "check_known_turns"),
    (roll_and_yaw_swapped, "check_known_turns"),
    (feat_signs_instead_of_img2pose, "check_known_turns"),
    (transposed, "check_known_turns"),
    (reads_seven_tenths_of_a_turn, "check_known_turns"),
    (always_frontal, "check_known_turns"),
    (looks_to_one_side, "check_mirror_image"),
]


class Broken(PoseBackend):
    """A right backend with one fault."""

    provenance = Provenance("broken", "MIT")

    def __init__(self, right, fault):
        self._right = right
        self._fault = fault

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        right = partial(self._right.estimate, landmark_model=landmark_model)
        return self._fault(right, landmarks)


@pytest.mark.parametrize(("fault", "rule"), BROKEN, ids=[fault.__name__ for fault, _ in BROKEN])
def test_broken_backend_is_caught_by_the_rule_it_breaks(fault, rule, example):
    with pytest.raises(BackendError, match=f"Broken breaks {rule}: "):
        check_pose_backend(Broken(example, fault))


def test_no_fault_no_error(example):
    check_pose_backend(Broken(example, lambda estimate, landmarks: estimate(landmarks)))


def test_positional_frame_size_is_caught(example):
    class Positional(Broken):
        def estimate(self, landmarks, frame_height=None, frame_width=None):
            return super().estimate(landmarks, landmark_model=LandmarkModel("2d", "2d"))

    with pytest.raises(BackendError, match="Positional breaks check_result"):
        check_pose_backend(Positional(example, lambda estimate, landmarks: estimate(landmarks)))


def test_one_landmark_kind_only_is_caught(example):
    class OnlyContours(Broken):
        def estimate(self, landmarks, *, frame_size=None, landmark_model):
            pose = self._right.estimate(landmarks, landmark_model=landmark_model)
            return pose if landmark_model.kind == "2d" else pose * torch.nan

    with pytest.raises(BackendError, match="OnlyContours breaks check_keywords"):
        check_pose_backend(OnlyContours(example, None))


def test_provenance_is_checked(example, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    named = example.provenance
    for wrong in (
        None,
        replace(named, name=""),
        replace(named, licence=""),
        replace(named, weights={"2d": WeightsFile(weights, "0" * 64)}),
    ):
        backend = Broken(example, lambda estimate, landmarks: estimate(landmarks))
        backend.provenance = wrong
        with pytest.raises(BackendError, match="check_provenance"):
            check_pose_backend(backend)


def test_class_that_only_looks_like_a_backend_is_caught(example):
    class Duck:
        provenance = example.provenance
        estimate = staticmethod(example.estimate)

    with pytest.raises(BackendError, match="Duck breaks check_provenance"):
        check_pose_backend(Duck())


def test_every_rule_catches_something():
    shown = {rule for _, rule in BROKEN}
    shown |= {"check_provenance", "check_keywords"}
    assert shown == {rule.__name__ for rule in RULES}


def test_cause_of_a_crash_is_kept(example):
    with pytest.raises(BackendError) as caught:
        check_pose_backend(Broken(example, crashes_on_empty))
    assert isinstance(caught.value.__cause__, IndexError)


def test_message_says_what_was_read_instead(example):
    with pytest.raises(BackendError, match=r"-30 degrees in rx .* \(-30.0, 0.0, 0.0\) degrees"):
        check_pose_backend(Broken(example, always_frontal))


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
