"""A pose model in a framework that is not py-feat, and docs/frameworks.md as it stands."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from documents import python_blocks

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, Provenance, estimate_pose, get_pose_backend
from feat_pose_plugin.errors import BackendError, DetectorError, WeightsNotFoundError
from feat_pose_plugin.frameworks.protocol import Faces, with_pose_model
from feat_pose_plugin.pose.backend import PoseBackend, WeightsFile
from feat_pose_plugin.testing import FRAME_SIZE, project_face

TURNS = torch.tensor([[0.0, 0, 0], [0.2, -0.3, 0.1], [-0.1, 0.2, 0.3]])


class Toy:
    """Writes faces down as a list of dictionaries, and finds what it is told."""

    landmark_model = "3d"
    native_pose = None

    def __init__(self, threshold: float, *, name: str = "toy") -> None:
        self.threshold = threshold
        self.said = f"{name}, no pose"

    def find(self, faces: list[dict], frame_size: tuple[int, int] | None = FRAME_SIZE):
        """The faces that are sure enough; one that is not for a picture without any."""
        found = [face for face in faces if face["score"] > self.threshold]
        lost = {"points": torch.ones(68, 2), "score": 0.0}
        return [{**face, "size": frame_size} for face in found or [lost]]

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


PosedToy = with_pose_model(Toy, "find")
FACES = [
    {"points": points, "score": score}
    for points, score in zip(project_face(TURNS), (0.9, 0.2, 0.8), strict=True)
]


class Asked(PoseBackend):
    """Remembers what it is asked; its method has no weights."""

    provenance = Provenance("asked", "MIT")

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        self.landmarks, self.frame_size, self.landmark_model = (
            landmarks,
            frame_size,
            landmark_model.name,
        )
        return landmarks.new_full((len(landmarks), 6), 0.5)


def test_each_face_has_its_pose():
    found = PosedToy(0.5, pose_model="pose_mlp_synth").find(FACES)
    expected = estimate_pose(
        project_face(TURNS[[0, 2]]), landmark_model="3d", frame_size=FRAME_SIZE
    )
    assert len(found) == 2
    poses = pd.DataFrame([face["pose"] for face in found])
    pd.testing.assert_frame_equal(poses, expected, check_dtype=False)


def test_a_row_without_a_face_is_nan_and_no_backend_sees_its_landmarks():
    backend = Asked()
    (found,) = PosedToy(1.0, pose_model=backend).find(FACES)
    assert backend.landmarks.isnan().all()
    assert list(found["pose"]) == FEAT_FACEPOSE_COLUMNS_6D
    (found,) = PosedToy(1.0, pose_model="pose_mlp_synth").find(FACES)
    assert np.isnan(list(found["pose"].values())).all()


@pytest.mark.parametrize("size", [FRAME_SIZE, None])
def test_the_backend_is_told_frame_size_and_kind_of_landmarks(size):
    backend = Asked()
    PosedToy(0.5, pose_model=backend).find(FACES, frame_size=size)
    assert backend.frame_size == size
    assert backend.landmark_model == "3d"


def test_without_pose_model_nothing_changes():
    own, ours = Toy(0.5, name="x"), PosedToy(0.5, name="x")
    assert vars(ours) == {**vars(own), "pose_estimator": None}
    for found, expected in zip(ours.find(FACES), own.find(FACES), strict=True):
        assert found.keys() == expected.keys()


def test_the_class_is_the_frameworks_with_two_more_arguments():
    assert issubclass(PosedToy, Toy)
    assert PosedToy.__name__ == "Toy"
    assert PosedToy.__doc__ == Toy.__doc__
    assert PosedToy.find.__doc__ == Toy.find.__doc__
    parameters = inspect.signature(PosedToy).parameters
    assert list(parameters) == ["threshold", "name", "pose_model", "pose_options"]
    assert parameters["name"] == inspect.signature(Toy).parameters["name"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        PosedToy(0.5, colour="red")


def test_what_was_chosen_is_told_with_the_hash_of_its_weights():
    digest = get_pose_backend("pose_mlp_synth").provenance.weights["3d"].sha256
    detector = PosedToy(0.5, pose_model="pose_mlp_synth")
    assert detector.said == f"pose_mlp_synth 3d {digest[:12]}"
    assert PosedToy(0.5, pose_model=Asked()).said == "asked"


def test_a_description_names_the_weights_of_a_landmark_model():
    files = {kind: WeightsFile(Path(kind), kind[0] * 64) for kind in ("2d", "3d")}
    provenance = Provenance("two", "MIT", files)
    assert provenance.describe("2d") == f"two 2d {'2' * 12}"
    assert provenance.describe() == f"two 2d {'2' * 12} 3d {'3' * 12}"


def test_the_backend_is_made_before_the_detector(no_official_weights):
    class Slow(Toy):
        def __init__(self) -> None:
            raise AssertionError("the framework's own models are loaded")

    with pytest.raises(WeightsNotFoundError):
        with_pose_model(Slow, "find")(pose_model="pose_mlp")


def test_a_native_pose_is_passed_through():
    class Native(Toy):
        native_pose = "img2pose"

    detector = with_pose_model(Native, "find")(0.5, pose_model="img2pose")
    assert "pose" not in detector.find(FACES)[0]
    assert detector.said == "toy, no pose"
    for options, error, message in (
        ({"colour": 1}, BackendError, "colour"),
        ({"landmark_model": "2d"}, DetectorError, "cannot hold 'landmark_model'"),
        ({"quality": True}, DetectorError, r"\{'quality': True\} have no effect on 'img2pose'"),
    ):
        with pytest.raises(error, match=message):
            with_pose_model(Native, "find")(0.5, pose_model="img2pose", pose_options=options)
    with pytest.raises(DetectorError, match=r"pose_model='img2pose' needs .*For this Toy"):
        PosedToy(0.5, pose_model="img2pose")


def test_a_class_that_lacks_part_of_the_protocol_is_refused():
    class Half:
        landmark_model = "2d"

        def read_faces(self, result):
            return result

    with pytest.raises(DetectorError) as caught:
        with_pose_model(Half, "find")
    for name in ("native_pose", "accept_pose_model", "write_pose", "find"):
        assert name in str(caught.value)
    assert "read_faces" not in str(caught.value)
    with pytest.raises(DetectorError, match="it has no seek"):
        with_pose_model(Toy, "seek")


def test_a_mask_of_other_length_is_refused():
    class Short(Toy):
        def read_faces(self, result):
            return Faces(super().read_faces(result).landmarks, empty=np.array([False]))

    detector = with_pose_model(Short, "find")(0.5, pose_model="pose_mlp_synth")
    with pytest.raises(DetectorError, match=r"shape \[1\] for 2 rows"):
        detector.find(FACES)


def test_a_detector_can_be_pickled(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Toy", PosedToy)
    copy = pickle.loads(pickle.dumps(PosedToy(0.5, pose_model="pose_mlp_synth")))
    assert copy.find(FACES)[0]["pose"].keys() == set(FEAT_FACEPOSE_COLUMNS_6D)


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
