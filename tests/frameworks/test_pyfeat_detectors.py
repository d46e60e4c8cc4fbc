"""py-feat's detectors with a choice of pose model, through ``detect`` on real files.

Networks have random weights, but for PFLD; faces are known (see ``feat_models``).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import feat
import feat.detector
import feat.detector_v2
import feat.MPDetector
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from fakes import Fake
from feat.utils.io import read_feat
from feat_models import WARNINGS_OF_FEAT, KnownFace, detect, feat_hub
from scipy.spatial.transform import Rotation

from feat_pose_plugin import (
    FEAT_FACEPOSE_COLUMNS_6D,
    Detectorv1,
    MPDetector,
    convert_pose,
    estimate_pose,
    get_pose_backend,
)
from feat_pose_plugin.errors import (
    BackendError,
    DetectorError,
    UnknownBackendError,
    WeightsNotFoundError,
)
from feat_pose_plugin.frameworks import pyfeat_detectors as detectors
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.testing import FRAME_SIZE, project_face

mpl.use("Agg")

pytestmark = WARNINGS_OF_FEAT

ROTATION = ["Pitch", "Roll", "Yaw"]
V1 = {"au_model": None, "emotion_model": None, "identity_model": None, "gaze_model": None}
PATHS: dict[str, tuple[str, dict[str, object]]] = {
    "retinaface": ("Detectorv1", {**V1, "landmark_model": "mobilefacenet"}),
    "img2pose": ("Detectorv1", {**V1, "face_model": "img2pose", "landmark_model": "mobilenet"}),
    "multitask": ("Detectorv2", {"identity_model": None}),
    "mediapipe": ("MPDetector", V1),
}
FEATS = {
    "Detectorv1": feat.detector.Detectorv1,
    "Detectorv2": feat.detector_v2.Detectorv2,
    "MPDetector": feat.MPDetector.MPDetector,
}
EACH_PATH = pytest.mark.parametrize("path", PATHS)
NOBODY = "free-mountain-vector-01.jpg"
SIZES = {
    "multi_face.jpg": (667, 1000),
    "single_face.jpg": (562, 572),
    NOBODY: (1080, 1920),
    "single_face.mp4": (360, 640),
    "face_noface.mov": (540, 960),
}

Build = Callable[..., torch.nn.Module]


@pytest.fixture(scope="module")
def build(hub_folder: Path) -> Build:
    """Detectors by path, built once for each set of arguments."""
    built: dict[tuple[str, str], torch.nn.Module] = {}

    def build(path: str, pose_model: object = "pose_mlp_synth", **arguments: object):
        name, common = PATHS[path]
        key = (path, repr((pose_model, sorted(arguments.items()))))
        if key not in built:
            with feat_hub(hub_folder), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "face_model='retinaface'")
                built[key] = getattr(detectors, name)(**common, **arguments, pose_model=pose_model)
        return built[key]

    return build


@pytest.fixture
def pictures(feat_folder: Path) -> Path:
    return feat_folder / "tests" / "data"


@pytest.fixture
def known(shared_data: Path, canonical_face: np.ndarray) -> Callable[..., list[KnownFace]]:
    """The faces of a picture, of multi_face.jpg five, as a path sees them."""
    table = pd.read_csv(shared_data / "image_faces.csv")

    def known(path: str, name: str = "multi_face.jpg") -> list[KnownFace]:
        return faces_of(path, table[table["input"] == name], canonical_face)

    return known


@pytest.fixture
def look(hub, pictures: Path) -> Callable[..., pd.DataFrame]:
    """Detect the faces given for each picture; by default in multi_face.jpg."""

    def look(detector, frames, names=None, **options: object) -> pd.DataFrame:
        names = names or ["multi_face.jpg"] * len(frames)
        files = [str(pictures / name) for name in names]
        return detect(detector, files, frames, [SIZES[name] for name in names], **options)

    return look


def points_of(table: pd.DataFrame) -> np.ndarray:
    """``[n, 68, 2]`` landmarks of a table."""
    return table[landmark_columns()].to_numpy(float).reshape(-1, 2, 68).transpose(0, 2, 1)


def mesh_in(box: np.ndarray, rotvec: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """``[478, 3]`` a mesh, turned, as far away as fills the box; without irises."""
    turned = (mesh - mesh.mean(axis=0)) @ Rotation.from_rotvec(rotvec).as_matrix().T
    points = turned * (box[3] - box[1]) / 20 + [*(box[:2] + box[2:]) / 2, 0]
    return np.concatenate([points, np.zeros((10, 3))])


def faces_of(path: str, table: pd.DataFrame, mesh: np.ndarray) -> list[KnownFace]:
    """The faces of a table as a path sees them: its landmarks, or a mesh with its pose."""
    points = points_of(table)
    if {"x1", "y1"} <= set(table.columns):
        boxes = table[["x1", "y1", "x2", "y2"]].to_numpy()
    else:  # as the faces of image_faces.csv have them
        low, high = points.min(axis=1), points.max(axis=1)
        boxes = np.concatenate([low - [0, 0.33] * (high - low), high], axis=1)
    if PATHS[path][0] != "Detectorv1":
        rotvecs = table[["rx", "ry", "rz"]].to_numpy()
        points = [mesh_in(*face, mesh) for face in zip(boxes, rotvecs, strict=True)]
    return [KnownFace(*face) for face in zip(boxes, points, strict=True)]


LANDMARK_MODELS = {
    "retinaface": "mobilefacenet",
    "img2pose": "mobilenet",
    "multitask": "detectorv2",
    "mediapipe": "mediapipe",
}


def pose_of(faces: list[KnownFace], path: str) -> np.ndarray:
    """``[n, 3]`` what ``estimate_pose`` says of known landmarks."""
    points = np.stack([face.landmarks for face in faces])
    return estimate_pose(points, landmark_model=LANDMARK_MODELS[path])[ROTATION].to_numpy()


def assert_pose_is_that_of_the_table(fex: pd.DataFrame, path: str, **options) -> None:
    table = pd.DataFrame(fex)
    expected = estimate_pose(table, landmark_model=LANDMARK_MODELS[path], **options)
    pd.testing.assert_frame_equal(
        table[expected.columns], expected, check_dtype=False, rtol=1e-5, atol=1e-4
    )


# Rows


@EACH_PATH
@pytest.mark.parametrize("output_size", [300, 1000])
def test_each_face_has_the_pose_of_its_landmarks(path, output_size, build, known, look):
    """Pictures with many faces, none and one, in mixed batches, padded and rescaled."""
    names = ["multi_face.jpg", NOBODY, "single_face.jpg"]
    frames = [known(path, name) for name in names]
    assert [len(faces) for faces in frames] == [5, 0, 1]
    fex = look(build(path), frames, names, output_size=output_size, batch_size=2)
    assert [Path(name).name for name in fex["input"]] == [names[0]] * 5 + names[1:]
    assert list(fex["frame"]) == [0] * 5 + [1, 2]
    is_face = fex["frame"] != 1
    heights = [SIZES[Path(name).name][0] for name in fex["input"]]
    # py-feat knows the height to the pixel of the scaled frame.
    np.testing.assert_allclose(fex["FrameHeight"], heights, atol=1920 / output_size)
    np.testing.assert_allclose(
        fex.loc[is_face, ROTATION], pose_of([*frames[0], *frames[2]], path), atol=1e-4
    )
    assert_pose_is_that_of_the_table(fex, path)
    assert fex.loc[~is_face, [*fex.facepose_columns, *fex.landmark_columns]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("path", "video", "every", "options"),
    [
        ("retinaface", "face_noface", 24, {"batch_size": 4, "num_workers": 1}),
        ("img2pose", "face_noface", 36, {"batch_size": 5, "output_size": 320}),
        ("multitask", "single_face", 36, {"batch_size": 2, "output_size": 200}),
        ("mediapipe", "face_noface", 36, {"batch_size": 3}),
    ],
)
def test_each_frame_of_a_video_has_the_pose_of_its_face(
    path, video, every, options, build, hub, pictures, shared_data, canonical_face
):
    file = next(pictures.glob(f"{video}.m*"))
    table = pd.read_csv(shared_data / f"video_{video}.csv").iloc[::every]
    is_face = table["x_0"].notna().to_numpy()
    faces = faces_of(path, table, canonical_face)
    fex = detect(
        build(path),
        str(file),
        [[face] if found else [] for face, found in zip(faces, is_face, strict=True)],
        [SIZES[file.name]] * len(table),
        data_type="video",
        skip_frames=every,
        **options,
    )
    assert list(fex["frame"]) == list(table["frame"])
    assert (fex["FaceScore"] > 0).tolist() == is_face.tolist()
    assert (~is_face).any() == (video == "face_noface")
    known = [face for face, found in zip(faces, is_face, strict=True) if found]
    np.testing.assert_allclose(fex.loc[is_face, ROTATION], pose_of(known, path), atol=1e-4)
    assert fex.loc[~is_face, FEAT_FACEPOSE_COLUMNS_6D].isna().all(axis=None)
    assert_pose_is_that_of_the_table(fex, path)


@EACH_PATH
def test_a_batch_without_any_face(path, build, look):
    fex = look(build(path), [[]], [NOBODY], output_size=256)
    assert len(fex) == 1
    assert fex.poses.isna().all(axis=None)


# Signs, size and agreement

TURNS_DEG = np.array(
    [
        (0, 0, 0), (15, 0, 0), (-15, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 25), (0, 0, -25),
        (15, 15, 10), (-15, 15, -10), (10, -15, 20),
    ],
    dtype=float,
)  # fmt: skip
"""rx, ry, rz: rotation vectors in the camera's axes."""


def rotvec_deg(fex: pd.DataFrame) -> np.ndarray:
    """``[n, 3]`` rx, ry, rz of py-feat's columns, by the definition of their signs."""
    angles = pd.DataFrame(fex)[["Roll", "Yaw", "Pitch"]].to_numpy(np.float64) * [-1, 1, -1]
    turns = np.full((len(fex), 3), np.nan)
    known = np.isfinite(angles).all(axis=1)
    turns[known] = Rotation.from_euler("ZYX", angles[known]).as_rotvec(degrees=True)
    return turns


def blank(frames: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(1, 3, *size, dtype=torch.uint8).expand(frames, -1, -1, -1)


# The zero of each kind of landmarks, degrees: of projected points taken for 2D landmarks, and of
# MediaPipe's canonical face.
ZERO_DEG = {"retinaface": (-2.3, 0, 0.8), "img2pose": (-2.3, 0, 0.8)}
ZERO_OF_MESH_DEG = (-1.9, 0, 0)


@EACH_PATH
def test_known_turns_come_back_with_sign_and_size(path, build, hub, canonical_face):
    height, width = FRAME_SIZE
    turns = np.radians(TURNS_DEG)
    box = np.array([width / 2 - 130, height / 2 - 130, width / 2 + 130, height / 2 + 130])
    if path in ZERO_DEG:
        points = project_face(torch.tensor(turns)).numpy()
    else:
        points = np.stack([mesh_in(box, turn, canonical_face) for turn in turns])
    fex = detect(
        build(path),
        blank(len(turns), FRAME_SIZE),
        [[KnownFace(box, face)] for face in points],
        [FRAME_SIZE] * len(turns),
        data_type="tensor",
        batch_size=5,
    )
    away = rotvec_deg(fex) - TURNS_DEG - ZERO_DEG.get(path, ZERO_OF_MESH_DEG)
    assert np.abs(away).max() < 3
    up, right, tilted = fex.iloc[2], fex.iloc[3], fex.iloc[6]
    assert up["Pitch"] > 0.2  # looks up
    assert right["Yaw"] > 0.2  # turns to the subject's right
    assert tilted["Roll"] > 0.2  # towards the subject's right shoulder


def test_the_three_classes_agree_on_the_same_head(build, hub, shared_data):
    with np.load(shared_data / "pyfeat_paths_dev.npz") as file:
        size = tuple(file["frame_size"].tolist())
        points, mesh = (
            file[key][::15].astype(float) for key in ("landmarks_mobilefacenet", "mesh_detectorv2")
        )
    mesh[..., 2] *= 715  # pixels of the crop, on average
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    found = {}
    for path, landmarks in (
        ("retinaface", points),
        ("multitask", mesh),
        ("mediapipe", mesh),
    ):
        fex = detect(
            build(path),
            blank(len(points), size),
            [[KnownFace(*face)] for face in zip(boxes, landmarks, strict=True)],
            [size] * len(points),
            data_type="tensor",
            batch_size=9,
        )
        found[path] = rotvec_deg(fex)
    # Their zeros of pitch are 0.2 degrees apart.
    np.testing.assert_allclose(found["multitask"], found["mediapipe"], atol=0.21)
    around = np.abs(found["multitask"] - found["retinaface"])
    assert around.mean(axis=0).max() < 3
    assert around[:, 1:].max() < 3  # yaw and roll in every frame; pitch of talking faces is noisier


# PFLD, the one trained network


@pytest.fixture(scope="module")
def pfld(hub_folder: Path) -> torch.nn.Module:
    weights = Path(__file__).parents[3] / "shared" / "data" / "models" / "pfld_model_best.pth.tar"
    if not weights.is_file():
        pytest.skip(f"{weights} is missing")
    with feat_hub(hub_folder, {("pfld", weights.name): weights}):
        return Detectorv1(**V1, landmark_model="pfld", pose_model="pose_mlp_synth")


def angles_between(fex: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
    found = Rotation.from_rotvec(rotvec_deg(fex), degrees=True)
    return np.degrees((Rotation.from_rotvec(table[["rx", "ry", "rz"]]).inv() * found).magnitude())


def test_five_heads_by_pfld(pfld, look, known, shared_data):
    table = pd.read_csv(shared_data / "image_faces.csv").query("input == 'multi_face.jpg'")
    fex = look(pfld, [[KnownFace(face.box) for face in known("retinaface")]])
    assert len(fex) == 5
    assert angles_between(fex, table).max() < 6
    assert np.abs(rotvec_deg(fex) - np.degrees(table[["rx", "ry", "rz"]])).max(axis=None) < 6


# py-feat's own pose


@EACH_PATH
def test_without_pose_model_all_is_py_feats_own(
    path, build, hub_folder, look, known, make_checkpoint
):
    dofs = np.random.default_rng(0).normal(size=(5, 6))
    faces = [
        KnownFace(face.box, face.landmarks, dof)
        for face, dof in zip(known(path), dofs, strict=True)
    ]
    official = make_checkpoint("pose_mlp_v2.safetensors")
    own = {("pose_mlp_v2", file.name): file for file in (official, official.with_suffix(".json"))}
    name, arguments = PATHS[path]
    with feat_hub(hub_folder, own) as hub:
        ours = build(path, None)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "face_model='retinaface'")
            theirs = FEATS[name](**arguments)
        found, expected = (
            look(detector, [faces, []], ["multi_face.jpg", NOBODY], output_size=400, batch_size=2)
            for detector in (ours, theirs)
        )
        assert ("py-feat/pose_mlp_v2/pose_mlp_v2.safetensors" in hub.asked) == (
            path == "retinaface"
        )
    pd.testing.assert_frame_equal(found, expected, atol=1e-5)
    assert type(found) is type(expected)
    assert expected.poses.notna().sum().tolist() == [5] * 6
    assert repr(ours) == repr(theirs)
    assert ours.info == theirs.info
    assert found.facepose_model == expected.facepose_model
    if path == "img2pose":
        native = build(path, "img2pose")
        passed = look(native, [faces], output_size=400)
        np.testing.assert_allclose(passed.poses, expected.poses[:5], atol=1e-5)
        # py-feat makes Euler angles of the rotation vectors that its network says.
        feat_pose = convert_pose(dofs, "rotvec", "feat")
        np.testing.assert_allclose(passed.poses, feat_pose, atol=1e-4)
        assert native.info["facepose_model"] == "img2pose"


def test_py_feats_warning_is_about_its_own_pose_only(hub):
    with pytest.warns(UserWarning, match="does not regress 6DoF head pose"):
        Detectorv1(**V1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Detectorv1(**V1, pose_model="pose_mlp_synth")
    assert not [w for w in caught if "retinaface" in str(w.message)]


def test_the_hub_is_not_asked_for_pose(hub, look, known):
    """Where py-feat has no weights it asks again for each batch."""
    asked = {}
    for pose_model in ("pose_mlp_synth", None):
        hub.asked.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "face_model='retinaface'")
            detector = Detectorv1(**V1, pose_model=pose_model)
        fex = look(detector, [known("retinaface")] * 3)
        asked[pose_model] = [file for file in hub.asked if "pose" in file]
        assert fex.poses[ROTATION].notna().all(axis=None) == (pose_model is not None)
    assert asked["pose_mlp_synth"] == []
    assert len(asked[None]) == 3


# What a Fex tells, and files


@EACH_PATH
def test_fex_tells_which_weights_ran(path, build, look, known):
    kind = "2d" if PATHS[path][0] == "Detectorv1" else "mesh"
    digest = get_pose_backend("pose_mlp_synth").provenance.weights[kind].sha256
    detector = build(path)
    assert detector.info["facepose_model"] == f"pose_mlp_synth {kind} {digest[:12]}"
    fex = look(detector, [known(path)])
    assert fex.facepose_model == detector.info["facepose_model"]
    assert fex[:2].facepose_model == fex.facepose_model
    assert list(fex.poses.columns) == FEAT_FACEPOSE_COLUMNS_6D
    with mpl.rc_context():  # seaborn doubles all fonts there, for the rest of the process
        figures = fex.plot_detections(poses=True, au_barplot=False, emotion_barplot=False)
    assert len(figures) == 1
    assert len(figures[0].axes[0].lines) > 3 * 5  # three axes for each face
    plt.close("all")


@EACH_PATH
def test_a_saved_table_reads_back(path, build, look, known, tmp_path):
    faces = known(path)
    file = tmp_path / "detections.csv"
    saves = {"save": file} if PATHS[path][0] == "Detectorv1" else {}  # batch by batch
    fex = look(build(path), [faces, [], faces[:2]], batch_size=2, **saves)
    assert len(fex) == 8
    if not saves:
        fex.to_csv(file, index=False)
    for read in (pd.read_csv(file), read_feat(str(file))):
        np.testing.assert_allclose(read[FEAT_FACEPOSE_COLUMNS_6D], fex.poses, atol=1e-6)
        assert read["Pitch"].isna().tolist() == [False] * 5 + [True] + [False] * 2
        assert_pose_is_that_of_the_table(read, path)
    assert list(read_feat(str(file)).poses.columns) == FEAT_FACEPOSE_COLUMNS_6D


# Choosing


def fixed(colour: str = "fixed") -> Fake:
    """Sees every head alike, and none where there are no landmarks."""
    pose = torch.tensor([0.1, 0.2, 0.3, 1, 2, 3])
    return Fake(lambda landmarks: pose + 0 * landmarks.sum(dim=(1, 2))[:, None], colour)


@EACH_PATH
def test_a_backend_of_ones_own(path, look, known):
    name, arguments = PATHS[path]
    backend = fixed()
    detector = getattr(detectors, name)(**arguments, pose_model=backend)
    assert detector.info["facepose_model"] == "fixed"
    fex = look(detector, [known(path), []], batch_size=2)
    np.testing.assert_allclose(rotvec_deg(fex[:5]), np.degrees([[0.1, 0.2, 0.3]] * 5), atol=1e-4)
    assert fex[["X", "Y", "Z"]].to_numpy()[:5].tolist() == [[1, 2, 3]] * 5
    assert fex.poses[5:].isna().all(axis=None)
    asked = {(frame_size, model.name) for _, frame_size, model in backend.asked}
    assert asked == {((667, 1000), LANDMARK_MODELS[path])}


@EACH_PATH
def test_options_of_estimation(path, build, look, known):
    options = {"rotation_frame": "camera", "inter_ocular_mm": 95.0, "quality": True}
    fex = look(build(path, pose_options=options), [known(path), []], output_size=500, batch_size=2)
    assert {"PoseResidual", "PoseFlags"} <= set(fex.columns)
    assert_pose_is_that_of_the_table(fex, path, **options)
    plain = estimate_pose(pd.DataFrame(fex), landmark_model=LANDMARK_MODELS[path])
    assert np.abs(fex["Yaw"] - plain["Yaw"]).max() > 0.05  # five heads side by side
    assert (fex["Z"][:5] / plain["Z"][:5]).between(100, 120).all()
    assert fex.loc[5, ["Pitch", "Z", "PoseResidual", "PoseFlags"]].isna().all()


@pytest.mark.parametrize("name", FEATS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pose_model": "pose_mpl"}, UnknownBackendError, "'pose_mpl'.*'pose_mlp_synth'"),
        ({"pose_model": "pose_mlp"}, WeightsNotFoundError, "pose_mlp_synth"),
        ({"pose_model": 3}, UnknownBackendError, "unknown pose_model 3"),
        ({"pose_options": {"a": 1}}, DetectorError, r"\{'a': 1\} need a pose_model"),
        (
            {"pose_model": "pose_mlp_synth", "pose_options": {"convention": "img2pose"}},
            DetectorError,
            "cannot hold 'convention'.*estimate_pose",
        ),
        ({"pose_model": "pose_mlp_synth", "pose_options": {"a": 1}}, BackendError, r"\{'a': 1\}"),
        ({"pose_model": fixed(), "pose_options": {"a": 1}}, DetectorError, r"'a': 1.*no effect"),
    ],
)
def test_what_cannot_be_is_an_error_before_anything_is_loaded(
    name, arguments, error, message, hub, no_official_weights
):
    with pytest.raises(error, match=message):
        getattr(detectors, name)(**arguments)
    assert hub.asked == []


@pytest.mark.parametrize("path", ["retinaface", "multitask", "mediapipe"])
@pytest.mark.filterwarnings("ignore:face_model='retinaface'")
def test_img2pose_needs_the_face_model_that_has_it(path, hub):
    name, arguments = PATHS[path]
    with pytest.raises(DetectorError, match=f"face_model='img2pose'.*{name}.*'pose_mlp_synth'"):
        getattr(detectors, name)(**arguments, pose_model="img2pose")


def test_img2pose_reads_no_landmarks():
    with pytest.raises(BackendError, match=r"'img2pose' reads pictures.*face_model='img2pose'"):
        estimate_pose(torch.zeros(1, 68, 2), pose_model="img2pose")


@pytest.mark.parametrize("cls", [Detectorv1, MPDetector])
def test_a_detector_without_landmarks_takes_no_pose_model(cls, hub):
    with pytest.raises(DetectorError, match=rf"{cls.__name__}\(landmark_model=None\)"):
        cls(**V1, landmark_model=None, pose_model="pose_mlp_synth")


@pytest.mark.parametrize("name", FEATS)
def test_supported_models_list_the_pose_models(name):
    models = getattr(detectors, name).SUPPORTED_MODELS
    options = models["facepose_model"]["options"]
    assert {None, "pose_mlp_synth", "pose_mlp"} <= set(options)
    assert ("img2pose" in options) == (name == "Detectorv1")
    theirs = FEATS[name].SUPPORTED_MODELS
    assert {**theirs, "facepose_model": None} == {**models, "facepose_model": None}
    assert json.loads(json.dumps(models)) == models
