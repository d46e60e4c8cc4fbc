"""A pose model in a framework that is not py-feat, and docs/frameworks.md as it stands."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from documents import python_blocks
from fakes import Fake

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose, get_pose_backend
from feat_pose_plugin.errors import BackendError, DetectorError, WeightsNotFoundError
from feat_pose_plugin.frameworks.protocol import Faces, WithPoseModel
from feat_pose_plugin.testing import FRAME_SIZE, project_face

TURNS = torch.tensor([[0.0, 0, 0], [0.2, -0.3, 0.1], [-0.1, 0.2, 0.3]])
FACES = [
    {"points": points, "score": score}
    for points, score in zip(project_face(TURNS), (0.9, 0.2, 0.8), strict=True)
]


class Toy:
    """Writes faces down as a list of dictionaries, and finds what it is told."""

    def __init__(self, threshold: float, *, name: str = "toy") -> None:
        self.threshold = threshold
        self.said = f"{name}, no pose"

    def find(self, faces: list[dict], frame_size: tuple[int, int] | None = FRAME_SIZE):
        """The faces that are sure enough; one that is not for a picture without any."""
        found = [face for face in faces if face["score"] > self.threshold]
        lost = {"points": torch.ones(68, 2), "score": 0.0}
        return [{**face, "size": frame_size} for face in found or [lost]]


class PosedToy(WithPoseModel, Toy):
    landmark_model = "3d"

    def find(self, *args, **kwargs):
        return self.add_pose(super().find(*args, **kwargs))

    def accept_pose_model(self, description: str) -> None:
        self.said = description

    def read_faces(self, result: list[dict]) -> Faces:
        return Faces(
            landmarks=torch.stack([face["points"] for face in result]),
            empty=np.array([face["score"] == 0 for face in result]),
            frame_size=result[0]["size"],
        )

    def write_pose(self, result: list[dict], pose: pd.DataFrame) -> list[dict]:
        rows = pose.to_dict("records")
        return [{**face, "pose": row} for face, row in zip(result, rows, strict=True)]


HALF = torch.full((6,), 0.5)


def test_each_face_has_its_pose():
    found = PosedToy(0.5, pose_model="pose_mlp_synth").find(FACES)
    expected = estimate_pose(
        project_face(TURNS[[0, 2]]), landmark_model="3d", frame_size=FRAME_SIZE
    )
    assert len(found) == 2
    poses = pd.DataFrame([face["pose"] for face in found])
    pd.testing.assert_frame_equal(poses, expected, check_dtype=False, atol=1e-5)


def test_a_row_without_a_face_is_nan_and_no_backend_sees_its_landmarks():
    backend = Fake(HALF)
    (found,) = PosedToy(1.0, pose_model=backend).find(FACES)
    assert backend.asked[0][0].isnan().all()
    assert list(found["pose"]) == FEAT_FACEPOSE_COLUMNS_6D
    (found,) = PosedToy(1.0, pose_model="pose_mlp_synth").find(FACES)
    assert np.isnan(list(found["pose"].values())).all()


@pytest.mark.parametrize("size", [FRAME_SIZE, None])
def test_the_backend_is_told_frame_size_and_landmark_model(size):
    backend = Fake(HALF)
    PosedToy(0.5, pose_model=backend).find(FACES, frame_size=size)
    ((_, frame_size, landmark_model),) = backend.asked
    assert (frame_size, landmark_model.name) == (size, "3d")


def test_a_landmark_model_may_be_known_after_the_constructor_only():
    class Late(PosedToy):
        landmark_model = property(lambda self: {0.5: "2d"}[self.threshold])

    backend = Fake(HALF)
    Late(0.5, pose_model=backend).find(FACES)
    assert backend.asked[0][2].name == "2d"


def test_without_pose_model_nothing_changes():
    own, ours = Toy(0.5, name="x"), PosedToy(0.5, name="x")
    assert vars(ours) == {**vars(own), "pose_estimator": None}
    for found, expected in zip(ours.find(FACES), own.find(FACES), strict=True):
        assert found.keys() == expected.keys()
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        PosedToy(0.5, colour="red")


def test_what_was_chosen_is_told_with_the_hash_of_its_weights():
    digest = get_pose_backend("pose_mlp_synth").provenance.weights["3d"].sha256
    detector = PosedToy(0.5, pose_model="pose_mlp_synth")
    assert detector.said == f"pose_mlp_synth 3d {digest[:12]}"
    assert PosedToy(0.5, pose_model=Fake()).said == "fake"


def test_the_backend_is_made_before_the_detector(no_official_weights):
    class Slow:
        def __init__(self) -> None:
            raise AssertionError("the framework's own models are loaded")

    with pytest.raises(WeightsNotFoundError):
        type("PosedSlow", (WithPoseModel, Slow), {})(pose_model="pose_mlp")


def test_a_native_pose_is_passed_through():
    class Native(PosedToy):
        native_pose = "img2pose"

    detector = Native(0.5, pose_model="img2pose")
    assert "pose" not in detector.find(FACES)[0]
    assert detector.said == "toy, no pose"
    for options, error, message in (
        ({"colour": 1}, BackendError, "colour"),
        ({"landmark_model": "2d"}, DetectorError, "cannot hold 'landmark_model'"),
        ({"quality": True}, DetectorError, r"\{'quality': True\} have no effect on 'img2pose'"),
    ):
        with pytest.raises(error, match=message):
            Native(0.5, pose_model="img2pose", pose_options=options)
    with pytest.raises(DetectorError, match=r"pose_model='img2pose' needs .*For this PosedToy"):
        PosedToy(0.5, pose_model="img2pose")


def test_a_mask_of_other_length_is_refused():
    class Short(PosedToy):
        def read_faces(self, result):
            return Faces(super().read_faces(result).landmarks, empty=np.array([False]))

    detector = Short(0.5, pose_model="pose_mlp_synth")
    with pytest.raises(DetectorError, match=r"shape \[1\] for 2 rows"):
        detector.find(FACES)


def test_the_document_runs_and_feat_is_not_imported(tmp_path):
    code = python_blocks("frameworks.md")
    assert code
    check = "import sys\nassert 'feat' not in sys.modules, 'feat is loaded'\n"
    (tmp_path / "document.py").write_text("\n".join([*code, check]))
    result = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "document.py"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "pose_mlp_synth 2d" in result.stdout
