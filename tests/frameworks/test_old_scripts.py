"""Scripts for older versions of py-feat: what they say runs on py-feat 2, or is an error."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import warnings
from pathlib import Path

import feat
import feat.detector
import feat.gaze_detectors.l2cs
import old_scripts_page
import pandas as pd
import pytest
import torch
from feat.detector import ArcFace, FasterDoFRCNN, InceptionResnetV1, ResMasking, Retinaface
from feat.gaze_detectors.l2cs import L2CS
from feat_models import feat_hub

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    Detector,
    Detectorv1,
    PoseBackend,
    Provenance,
    available_pose_backends,
)
from feat_pose_plugin.errors import DetectorError, WeightsNotFoundError
from feat_pose_plugin.frameworks import successors
from feat_pose_plugin.pose import registry

MODELS = ("face_model", "landmark_model", "au_model", "emotion_model", "identity_model")

# Calls as scripts write them: whose pose comes out, and the message of each warning.
CALLS = {
    # 0.2 and 0.3
    "Detector()": ("pose_mlp",),
    "Detector(n_jobs=1)": ("pose_mlp",),
    "Detector('retinaface', 'mobilenet', 'rf', 'resmasknet')": (
        "pose_mlp",
        "landmark_model='mobilenet' became landmark_model='mobilefacenet'",
        "au_model='rf' became au_model='xgb'",
    ),
    "Detector(landmark_model='mobilenet', au_model=None)": ("pose_mlp",),
    "Detector(landmark_model='MobileNet', au_model=None, emotion_model='svm')": (
        "pose_mlp",
        "landmark_model='MobileNet' became landmark_model='mobilefacenet'",
    ),
    "Detector(au_model='drml', emotion_model='rf')": (
        "pose_mlp",
        "au_model='drml' became au_model='xgb'",
        "emotion_model='rf' became emotion_model='resmasknet'",
    ),
    # 0.4
    "Detector(face_model='RetinaFace', emotion_model=None, landmark_model='MobileFaceNet')": (
        "pose_mlp",
    ),
    "Detector(face_model='FaceBoxes', landmark_model='PFLD', au_model='JAANET', "
    "emotion_model='fer')": (
        "pose_mlp",
        "face_model='FaceBoxes' became face_model='retinaface'",
        "au_model='JAANET' became au_model='xgb'",
        "emotion_model='fer' became emotion_model='resmasknet'",
    ),
    "Detector(face_model='MTCNN', emotion_model='svm', au_model='svm')": (
        "pose_mlp",
        "face_model='MTCNN' became face_model='retinaface'",
    ),
    "Detector(face_model='RetinaFace', landmark_model='MobileFaceNet', facepose_model='PnP')": (
        "pose_mlp_synth",
        "facepose_model='PnP' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='faceboxes', landmark_model='pfld', au_model='logistic', "
    "emotion_model='svm', facepose_model='pnp')": (
        "pose_mlp_synth",
        "face_model='faceboxes' became face_model='retinaface'",
        "au_model='logistic' became au_model='xgb'",
        "facepose_model='pnp' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='RetinaFace', facepose_model='img2pose-c')": (
        "pose_mlp_synth",
        "facepose_model='img2pose-c' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='img2pose', facepose_model='pnp', emotion_model='svm')": (
        "pose_mlp_synth",
        "facepose_model='pnp' became facepose_model='pose_mlp_synth'",
    ),
    # 0.5
    "Detector(face_model='retinaface', landmark_model='mobilefacenet', au_model='xgb', "
    "emotion_model='resmasknet', facepose_model='img2pose', device='auto')": (
        "pose_mlp_synth",
        "facepose_model='img2pose' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(face_model='img2pose', landmark_model='mobilefacenet', au_model='svm', "
    "emotion_model='fer', facepose_model='img2pose')": (
        "img2pose",
        "emotion_model='fer' became emotion_model='resmasknet'",
    ),
    "Detector(device='cpu', facepose_model='img2pose-c', n_jobs=40)": (
        "pose_mlp_synth",
        "facepose_model='img2pose-c' became facepose_model='pose_mlp_synth'",
        "n_jobs became num_workers of detect",
    ),
    "Detector(verbose=True)": ("pose_mlp", "verbose became progress_bar of detect"),
    "Detector(facepose_model_kwargs={'RETURN_DIM': 6})": (
        "pose_mlp",
        "facepose_model_kwargs={'RETURN_DIM': 6} became six columns",
    ),
    "Detector(device='cuda' if torch.cuda.is_available() else 'CPU', au_model_kwargs={})": (
        "pose_mlp",
    ),
    # 0.6
    "Detector('img2pose-c', 'mobilenet', 'svm', 'svm', 'img2pose-c', 'facenet', 'cpu', -1, True)": (
        "img2pose",
        "face_model='img2pose-c' became face_model='img2pose'",
        "landmark_model='mobilenet' became landmark_model='mobilefacenet'",
        "facepose_model='img2pose-c' became facepose_model='img2pose'",
        "n_jobs became num_workers of detect",
        "verbose became progress_bar of detect",
    ),
    "Detector(face_model='retinaface', landmark_model='mobilefacenet', au_model='xgb', "
    "emotion_model='resmasknet', facepose_model='img2pose', identity_model='facenet', "
    "device='cpu', verbose=False)": (
        "pose_mlp_synth",
        "facepose_model='img2pose' became facepose_model='pose_mlp_synth'",
    ),
    "Detector(emotion_model='SVM', identity_model='FaceNet')": ("pose_mlp",),
    # 0.6 scripts in which a model is not wanted
    "Detector(face_model='retinaface', landmark_model='pfld', emotion_model='resmasknet', "
    "au_model=None, facepose_model=None)": ("pose_mlp",),
    # 0.7
    "Detector(landmark_model='mobilefacenet', au_model='xgb', emotion_model='resmasknet', "
    "identity_model='facenet', device='cpu')": ("pose_mlp",),
    "Detector(face_model='img2pose', landmark_model='mobilefacenet', au_model=None, "
    "emotion_model=None, identity_model=None, gaze_model='l2cs', device='cpu')": ("img2pose",),
    "Detector(face_model='retinaface_r34', identity_model='arcface_r50')": (
        "pose_mlp",
        "face_model='retinaface_r34' became face_model='retinaface'",
        "identity_model='arcface_r50' became identity_model='arcface'",
    ),
    "Detector(face_model='retinaface', au_model='svm', device=torch.device('cpu'))": ("pose_mlp",),
    # with this package's pose
    "Detector(au_model='svm', facepose_model='POSE_MLP_SYNTH')": ("pose_mlp_synth",),
    "Detector(facepose_model='mypose', facepose_model_kwargs={'label': 'mine'})": (
        "mine",
        "facepose_model_kwargs={'label': 'mine'} became pose_options",
    ),
    "Detector(face_model='mtcnn', facepose_model='pnp', pose_model='pose_mlp_synth')": (
        "pose_mlp_synth",
        "face_model='mtcnn' became face_model='retinaface'",
        "facepose_model='pnp' gives way to pose_model='pose_mlp_synth'",
    ),
    "Detector(facepose_model='img2pose', face_model='img2pose', pose_model=Still('other'))": (
        "other",
        "facepose_model='img2pose' gives way to pose_model=<",
    ),
}

NOT_BUILT = {
    "Detector(fase_model='retinaface')": "unknown argument 'fase_model'. Did you mean 'face_model'",
    "Detector(au_occur_model='jaanet')": "unknown argument 'au_occur_model'. Did you mean",
    "Detector(arguments={})": "unknown argument 'arguments'. There are 'au_model', ",
    "Detector(face_model=None)": "face_model=None has no successor in py-feat 2. It takes 'retina",
    "Detector(face_model='haarcascade')": "face_model='haarcascade' has no successor",
    "Detector(face_model='FaceBoxes', landmark_model=None, au_model=None, emotion_model=None)": (
        "landmark_model=None has no successor in py-feat 2. It takes 'mobilefacenet', 'mobilenet'"
    ),
    "Detector(emotion_model='badmodelname')": "emotion_model='badmodelname' has no successor",
    "Detector(gaze_model='geometric')": "gaze_model='geometric' has no successor",
    "Detector(facepose_model='openface')": "facepose_model='openface' has no successor. It takes ",
    "Detector(facepose_model_kwargs={'keep_top_k': 500})": (
        "facepose_model_kwargs={'keep_top_k': 500} has no successor"
    ),
    "Detector('img2pose', facepose_model='img2pose', facepose_model_kwargs={'MAX_SIZE': 700})": (
        "facepose_model_kwargs={'MAX_SIZE': 700} has no successor"
    ),
    "Detector(face_model_kwargs={'top_k': 50})": "face_model_kwargs={'top_k': 50} has no successor",
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
    "detector.detect_video(inputFname=video, skip_frames=24)": (3, "inputFname became inputs"),
    "detector.detect_video(video, batch_size=2, outputFname=csv, return_detection=False, "
    "skip_frames=24)": (3, "outputFname became save", "return_detection became the result"),
    # 0.5 and 0.6
    "detector.detect_image(input_file_list=[image], output_size=256, batch_size=1, num_workers=0, "
    "pin_memory=False, frame_counter=0, face_detection_threshold=0.5, "
    "face_identity_threshold=0.8)": (1, "input_file_list became inputs"),
    "detector.detect_image(image, threshold=0.985)": (
        1,
        "threshold became face_detection_threshold",
    ),
    "detector.detect_image([image, image], output_size=700, batch_size=4, "
    "skip_failed_detections=True, facepose_model_kwargs={})": (
        2,
        "skip_failed_detections became the row of each frame",
    ),
    "detector.detect_video(video_path=video, skip_frames=24, output_size=700)": (
        3,
        "video_path became inputs",
    ),
    "detector.detect_video(video, data_type='video', skip_frames=24, "
    "face_detection_threshold=0.95)": (3,),
    # 0.7
    "detector.detect(image)": (1,),
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
    "detector.detect_image([image], 256)": "data_type is passed by position and by name",
    "detector.detect_video(video, 24)": "data_type is passed by position and by name",
    "detector.detect_image(inputs=image, inputFname=image)": "inputFname says inputs a second time",
    "detector.detect_image(image, input_file_list=[image])": (
        "inputs is passed by position and by name"
    ),
}


class Still(PoseBackend):
    """Sees every head face the camera."""

    def __init__(self, label="still"):
        self.provenance = Provenance(label, "MIT")

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        return landmarks.new_zeros(len(landmarks), 6)


def answer_once(forward):
    """What a network said of a face, said again when it sees this face again."""
    answers = {}

    def answer(network, faces):
        key = (network, faces.shape, faces.sum().item())
        if key not in answers:
            answers[key] = forward(network, faces)
        return answers[key]

    return answer


@pytest.fixture(scope="module", autouse=True)
def networks(hub_folder):
    """py-feat with random weights, its large networks made once, and a backend ``MyPose``.

    Both networks that find faces say where the face of single_face.jpg is.
    """
    box = torch.tensor([[187.8, 141.4, 372.7, 397.9]])
    face = [[*box[0].tolist(), 1.0]]
    face_with_pose = {"boxes": box, "scores": torch.ones(1), "dofs": torch.zeros(1, 6)}
    gaze = feat.gaze_detectors.l2cs
    available_pose_backends()  # reads the entry points
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as feat has it when it is imported first
    with feat_hub(hub_folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(FasterDoFRCNN, "forward", lambda _, images: [face_with_pose] * len(images))
        patch.setattr(Retinaface, "forward", lambda _, images: [face] * len(images))
        for network in (ArcFace, InceptionResnetV1, L2CS, ResMasking):
            patch.setattr(network, "forward", answer_once(network.forward))
        for network in (ArcFace, InceptionResnetV1, ResMasking, Retinaface):
            patch.setattr(feat.detector, network.__name__, functools.cache(network))
        patch.setattr(gaze, "load_l2cs_from_hf", functools.cache(gaze.load_l2cs_from_hf))
        patch.setattr(registry, "_targets", {**registry._targets, "MyPose": Still})
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
    none = dict.fromkeys(("au_model", "emotion_model", "identity_model", "gaze_model"))
    return Detector(facepose_model="pose_mlp_synth", **none)


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


def named_models(code):
    """The models that a call names and py-feat 2 has."""
    call = ast.parse(code, mode="eval").body
    named = dict(zip(inspect.signature(Detector).parameters, call.args, strict=False))
    named |= {keyword.arg: keyword.value for keyword in call.keywords}
    for argument, value in named.items():
        if argument in MODELS:
            name = ast.literal_eval(value)
            yield argument, name.lower() if name else None


# Detector


@pytest.mark.parametrize("code", CALLS)
def test_call_of_an_older_version_builds_and_runs(code, files):
    pose, *expected = CALLS[code]
    detector, messages = run(code)
    assert_told(messages, expected)
    assert isinstance(detector, feat.Detectorv1)
    assert isinstance(detector, Detectorv1)
    replaced = dict(re.findall(r"became (\w+_model)='(\w+)'", "\n".join(messages)))
    for argument, name in named_models(code):
        assert detector.info[argument] == replaced.get(argument, name)
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


def test_official_weights_are_looked_for_when_the_detector_is_built(
    make_checkpoint, fresh_weights, monkeypatch
):
    with pytest.raises(WeightsNotFoundError):
        Detector(facepose_model="pose_mlp")
    monkeypatch.setenv("FEAT_POSE_MLP_PATH", str(make_checkpoint()))
    detector, messages = run("Detector(facepose_model='Pose_MLP', emotion_model=None)")
    assert messages == []
    assert detector.info["facepose_model"].startswith("pose_mlp_v2 ")


def test_defaults_are_those_of_py_feat():
    ours, theirs = inspect.signature(Detector).parameters, inspect.signature(feat.Detectorv1)
    for name, parameter in theirs.parameters.items():
        assert ours[name].default == parameter.default


# detect, detect_image, detect_video


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


# Tables


@pytest.mark.parametrize("argument", successors.MODELS)
def test_successors_are_what_py_feat_has_and_others_are_not(argument):
    options = feat.Detectorv1.SUPPORTED_MODELS[argument]["options"]
    assert {successor.new for successor in successors.MODELS[argument].values()} <= {*options}
    assert not successors.MODELS[argument].keys() & {*options}


def test_successors_of_poses_are_pose_backends():
    for table in (successors.POSES, successors.POSES_WITH_IMG2POSE):
        assert {successor.new for successor in table.values()} <= {*available_pose_backends()}


def test_the_page_has_the_tables_of_today():
    page = old_scripts_page.PAGE.read_text(encoding="utf-8")
    assert page == old_scripts_page.page(), "run python tests/pages/old_scripts_page.py"
