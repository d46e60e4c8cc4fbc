"""Scripts for older versions of py-feat: what they say runs on py-feat 2, or is an error."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import feat
import pandas as pd
import pytest
import torch
from fakes import Fake
from feat.detector import FasterDoFRCNN, Retinaface
from feat_models import feat_hub

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    Detector,
    Detectorv1,
    available_pose_backends,
)
from feat_pose_plugin.errors import BackendError, DetectorError, WeightsNotFoundError
from feat_pose_plugin.frameworks.successors import SUCCESSORS
from feat_pose_plugin.pose import registry

NO_MODELS = dict.fromkeys(("au_model", "emotion_model", "identity_model", "gaze_model"))

# Calls as scripts write them: what Detectorv1 gets, and how the message of each warning begins.
CALLS = {
    "Detector(n_jobs=1)": ("",),
    "Detector('retinaface', 'mobilenet', 'rf', 'resmasknet')": (
        "face_model='retinaface', landmark_model='mobilefacenet', "
        "au_model='xgb', emotion_model='resmasknet'",
        "landmark_model='mobilenet' became landmark_model='mobilefacenet': py-feat 2 cannot",
        "au_model='rf' became au_model='xgb'",
    ),
    "Detector(landmark_model='mobilenet', au_model=None)": (
        "landmark_model='mobilenet', au_model=None",
    ),
    "Detector(landmark_model='MobileNet', au_model=None, emotion_model='svm')": (
        "landmark_model='mobilefacenet', au_model=None, emotion_model='svm'",
        "landmark_model='MobileNet' became landmark_model='mobilefacenet'",
    ),
    "Detector(au_model='drml', emotion_model='rf')": (
        "au_model='xgb', emotion_model='resmasknet'",
        "au_model='drml' became au_model='xgb'",
        "emotion_model='rf' became emotion_model='resmasknet'",
    ),
    "Detector(face_model='FaceBoxes', landmark_model='PFLD', au_model='JAANET', "
    "emotion_model='fer')": (
        "face_model='retinaface', landmark_model='pfld', au_model='xgb', "
        "emotion_model='resmasknet'",
        "face_model='FaceBoxes' became face_model='retinaface'",
        "au_model='JAANET' became au_model='xgb'",
        "emotion_model='fer' became emotion_model='resmasknet'",
    ),
    "Detector(face_model='MTCNN', au_model='logistic', facepose_model='PnP')": (
        "face_model='retinaface', au_model='xgb', pose_model='pose_mlp_synth'",
        "face_model='MTCNN' became face_model='retinaface'",
        "au_model='logistic' became au_model='xgb'",
        "facepose_model='PnP' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='img2pose', facepose_model='pnp')": (
        "face_model='img2pose', pose_model='pose_mlp_synth'",
        "facepose_model='pnp' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='retinaface', facepose_model='img2pose', device='CPU')": (
        "face_model='retinaface', device='cpu', pose_model='pose_mlp_synth'",
        "facepose_model='img2pose' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='img2pose', facepose_model='img2pose')": (
        "face_model='img2pose', pose_model='img2pose'",
    ),
    "Detector(facepose_model='img2pose-c', n_jobs=40, verbose=True)": (
        "pose_model='pose_mlp_synth'",
        "facepose_model='img2pose-c' became facepose_model='pose_mlp_synth'",
        "n_jobs became num_workers of detect",
        "verbose became progress_bar of detect",
    ),
    "Detector(facepose_model_kwargs={'RETURN_DIM': 6}, au_model_kwargs={})": ("",),
    "Detector('img2pose-c', 'mobilenet', 'svm', 'svm', 'img2pose-c', 'facenet', 'cpu', -1, True)": (
        "face_model='img2pose', landmark_model='mobilefacenet', au_model='svm', "
        "emotion_model='svm', pose_model='img2pose', identity_model='facenet', device='cpu'",
        "face_model='img2pose-c' became face_model='img2pose'",
        "landmark_model='mobilenet' became landmark_model='mobilefacenet'",
        "facepose_model='img2pose-c' became facepose_model='img2pose'",
        "n_jobs became num_workers of detect",
        "verbose became progress_bar of detect",
    ),
    "Detector(emotion_model='SVM', identity_model='FaceNet', facepose_model=None)": (
        "emotion_model='svm', identity_model='facenet', pose_model=None",
    ),
    "Detector(face_model='retinaface_r34', identity_model='arcface_r50', gaze_model='l2cs')": (
        "face_model='retinaface', identity_model='arcface', gaze_model='l2cs'",
        "face_model='retinaface_r34' became face_model='retinaface'",
        "identity_model='arcface_r50' became identity_model='arcface'",
    ),
    "Detector(device=torch.device('cpu'))": ("device=torch.device('cpu')",),
    "Detector(facepose_model='POSE_MLP_SYNTH')": ("pose_model='pose_mlp_synth'",),
    "Detector(facepose_model='mypose', facepose_model_kwargs={'label': 'mine'})": (
        "pose_model='MyPose', pose_options={'label': 'mine'}",
        "facepose_model_kwargs became pose_options",
    ),
    "Detector(facepose_model='pnp', pose_model='pose_mlp_synth')": (
        "pose_model='pose_mlp_synth'",
        "facepose_model='pnp' gives way to pose_model='pose_mlp_synth'",
    ),
    "Detector(facepose_model=None, pose_model='pose_mlp_synth')": ("pose_model='pose_mlp_synth'",),
}

NOT_BUILT = {
    "Detector(fase_model='retinaface')": "unknown argument 'fase_model'. Did you mean 'face_model'",
    "Detector(quux=1)": "unknown argument 'quux'. There are",
    "Detector(face_model='dlib')": "face_model='dlib' has no successor in py-feat 2. It takes "
    "'retinaface', 'img2pose'",
    "Detector(landmark_model=None)": "landmark_model=None has no successor",
    "Detector(facepose_model='hopenet')": "facepose_model='hopenet' has no successor in py-feat 2. "
    "It takes None, 'MyPose', 'img2pose'",
    "Detector(face_model_kwargs={'top_k': 50})": "face_model_kwargs={'top_k': 50} has no successor",
    "Detector(facepose_model_kwargs={'MAX_SIZE': 700})": "{'MAX_SIZE': 700} need a pose_model",
    "Detector('retinaface', face_model='img2pose')": "face_model is passed by position and by name",
    "Detector(*range(10))": "10 arguments by position are passed, 9 at most",
    # device and n_jobs were the sixth argument of 0.5 and 0.4
    "Detector('retinaface', 'mobilefacenet', 'xgb', 'resmasknet', 'img2pose', 'cpu')": (
        "identity_model='cpu' has no successor"
    ),
    "Detector('retinaface', 'mobilenet', 'svm', 'resmasknet', 'img2pose', 4)": (
        "identity_model=4 has no successor"
    ),
}

DETECTIONS = {
    # 0.3 and 0.4
    "detector.detect_image(image)": (1,),
    "detector.detect_image([image], verbose=True)": (1, "verbose became progress_bar"),
    "detector.detect_image(inputFname=image, outputFname=csv)": (
        1,
        "inputFname became inputs",
        "outputFname became save",
    ),
    "detector.detect_image([image, image], batch_size=2, singleframe4error=True)": (
        2,
        "singleframe4error became the row of each frame",
    ),
    "detector.detect_video(video, batch_size=2, outputFname=csv, return_detection=False, "
    "skip_frames=24)": (3, "outputFname became save", "return_detection became the result"),
    # 0.5 and 0.6
    "detector.detect_image(input_file_list=[image], output_size=256, batch_size=1, num_workers=0, "
    "pin_memory=False, frame_counter=0, face_detection_threshold=0.5, "
    "face_identity_threshold=0.8)": (1, "input_file_list became inputs"),
    "detector.detect_image(image, threshold=0.985, facepose_model_kwargs={})": (
        1,
        "threshold became face_detection_threshold",
    ),
    "detector.detect_image(image, skip_failed_detections=True)": (
        1,
        "skip_failed_detections became the row of each frame",
    ),
    "detector.detect_video(video_path=video, skip_frames=24, output_size=700)": (
        3,
        "video_path became inputs",
    ),
    # 0.7
    "detector.detect([image], 'image', None, 1, 0, False)": (1,),
    "detector.detect(inputs=video, data_type='video', skip_frames=24, batch_size=3, save=csv, "
    "progress_bar=False)": (3,),
    "detector.detect(torch.zeros(2, 3, 562, 572), data_type='tensor')": (2,),
}

NOT_DETECTED = {
    "detector.detect_video(video, skip_frame=24)": (
        "unknown argument 'skip_frame'. Did you mean 'skip_frames'"
    ),
    "detector.detect(image, kwargs={})": "unknown argument 'kwargs'. There are",
    "detector.detect_image(image, frame_counter=10)": "frame_counter=10 has no successor",
    "detector.detect_image(image, face_model_kwargs={'top_k': 5})": (
        "face_model_kwargs={'top_k': 5} has no successor"
    ),
    "detector.detect_video(video, 24)": "data_type is passed by position and by name",
    "detector.detect_image(inputs=image, inputFname=image)": "inputFname says inputs a second time",
    "detector.detect_image(image, input_file_list=[image])": (
        "input_file_list says inputs a second time"
    ),
}


def still(label="still"):
    """Sees every head face the camera."""
    return Fake(name=label)


@pytest.fixture(scope="module", autouse=True)
def networks(hub_folder):
    """py-feat with random weights, and a backend ``MyPose``.

    Both networks that find faces say where the face of single_face.jpg is.
    """
    box = torch.tensor([[187.8, 141.4, 372.7, 397.9]])
    face = [[*box[0].tolist(), 1.0]]
    face_with_pose = {"boxes": box, "scores": torch.ones(1), "dofs": torch.zeros(1, 6)}
    available_pose_backends()  # reads the entry points
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as feat has it when it is imported first
    with feat_hub(hub_folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(FasterDoFRCNN, "forward", lambda _, images: [face_with_pose] * len(images))
        patch.setattr(Retinaface, "forward", lambda _, images: [face] * len(images))
        patch.setattr(registry, "_targets", {**registry._targets, "MyPose": still})
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def files(feat_folder, tmp_path):
    data = feat_folder / "tests" / "data"
    return {
        "image": str(data / "single_face.jpg"),
        "video": str(data / "single_face.mp4"),
        "csv": str(tmp_path / "fex.csv"),
    }


@pytest.fixture(scope="module")
def detector():
    return Detector(facepose_model="pose_mlp_synth", **NO_MODELS)


def run(code, **names):
    """What a line of a script gives, and what it is told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = eval(compile(code, "script.py", "eval"), globals(), names)
    return result, [
        str(warning.message)
        for warning in caught
        if warning.filename == "script.py" and warning.category is FutureWarning
    ]


def assert_told(messages, expected):
    assert len(messages) == len(expected), messages
    for beginning in expected:
        assert any(message.startswith(beginning) for message in messages), messages


@pytest.mark.parametrize("code", CALLS)
def test_call_of_an_older_version_becomes_one_of_py_feat_2(code, monkeypatch):
    passed = {}
    monkeypatch.setattr(Detectorv1, "__init__", lambda self, **by_name: passed.update(by_name))
    detector, messages = run(code)
    assert isinstance(detector, feat.Detectorv1)
    expected, *told = CALLS[code]
    assert passed == eval(f"dict({expected})")
    assert_told(messages, told)


@pytest.mark.parametrize(
    ("code", "pose", "models"),
    [
        ("Detector()", "pose_mlp", "retinaface mobilefacenet xgb resmasknet arcface"),
        (
            "Detector('img2pose-c', 'mobilenet', 'svm', 'svm', 'img2pose-c', 'facenet')",
            "img2pose",
            "img2pose mobilefacenet svm svm facenet",
        ),
        (
            "Detector(landmark_model='PFLD', facepose_model='mypose', "
            "facepose_model_kwargs={'label': 'mine'}, emotion_model=None)",
            "mine",
            "retinaface pfld xgb None arcface",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:face_model='retinaface' does not")
def test_call_of_an_older_version_builds_and_runs(code, pose, models, files):
    detector, _ = run(code)
    kinds = ("face", "landmark", "au", "emotion", "identity")
    assert " ".join(str(detector.info[f"{kind}_model"]) for kind in kinds) == models
    fex = detector.detect_image(files["image"], progress_bar=False)
    assert isinstance(fex, feat.Fex)
    assert len(fex) == 1
    assert fex.facepose_model.split()[0] == pose
    assert list(fex.poses.columns) == FEAT_FACEPOSE_COLUMNS_6D
    assert fex.poses[["Pitch", "Roll", "Yaw"]].notna().all(axis=None) == (pose != "pose_mlp")


@pytest.mark.parametrize("code", NOT_BUILT)
def test_call_without_a_successor_is_an_error(code):
    with pytest.raises(DetectorError, match=re.escape(NOT_BUILT[code])):
        run(code)


def test_options_that_no_backend_takes_are_an_error():
    with pytest.raises(BackendError, match="MAX_SIZE"):
        run("Detector(facepose_model='img2pose', facepose_model_kwargs={'MAX_SIZE': 700})")


def test_official_weights_are_looked_for_when_the_detector_is_built(
    make_checkpoint, fresh_weights, monkeypatch
):
    with pytest.raises(WeightsNotFoundError):
        Detector(facepose_model="pose_mlp")
    monkeypatch.setenv("FEAT_POSE_MLP_PATH", str(make_checkpoint()))
    detector, messages = run("Detector(facepose_model='Pose_MLP', **NO_MODELS)")
    assert messages == []
    assert detector.info["facepose_model"].startswith("pose_mlp_v2 ")


@pytest.mark.parametrize("code", DETECTIONS)
def test_detection_of_an_older_version_runs(code, detector, files):
    rows, *expected = DETECTIONS[code]
    fex, messages = run(code, detector=detector, **files)
    assert_told(messages, expected)
    assert isinstance(fex, feat.Fex)
    assert len(fex) == rows
    assert fex.facepose_model.startswith("pose_mlp_synth")
    assert Path(files["csv"]).exists() == ("csv" in code)
    if "csv" in code:
        assert len(pd.read_csv(files["csv"])) == rows


@pytest.mark.parametrize("code", NOT_DETECTED)
def test_detection_without_a_successor_is_an_error(code, detector, files):
    with pytest.raises(DetectorError, match=re.escape(NOT_DETECTED[code])):
        run(code, detector=detector, **files)


def test_successors_are_what_there_is_and_what_they_replace_is_not():
    supported = feat.Detectorv1.SUPPORTED_MODELS
    for row in SUCCESSORS:
        if row.value is not None:
            backends = available_pose_backends()
            pose = row.argument == "facepose_model"
            options = backends if pose else supported[row.argument]["options"]
            assert row.new in options
            assert row.only or row.value not in options
