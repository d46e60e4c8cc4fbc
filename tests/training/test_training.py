"""Training on synthetic faces: the face model, the synthesizer and the run."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import feat_pose_plugin.training
from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.mlp.network import PoseNetwork
from feat_pose_plugin.pose.rotations import geodesic_angle, resample_by_arc_length, rotvec_to_matrix
from feat_pose_plugin.training.face_model import HEAD_VERTICES, FaceModel, read_face_model
from feat_pose_plugin.training.run import Training, train_synth
from feat_pose_plugin.training.synthetic_faces import RECIPES, Synthesis, synthesize

ROOT = Path(__file__).parents[2]
MODEL = ROOT.parent / "shared" / "data" / "ict_facekit_face.npz"
QUICK = Training(hidden=(32, 16), faces=20_000, batch=200, evaluate_every=20, held_out=1000)
# No habits, no differences between faces: landmarks are projections of one face.
PLAIN = Synthesis(
    identity_sd=0,
    anisotropy_sd=0,
    height_scale=(1, 1),
    depth_scale=(1, 1),
    expression_share=0,
    weak_perspective_share=1,
    contour_share=0,
    fixed_contour_share=0,
    jaw_back_cm=(0, 0),
    group_shift_sd=0,
    group_scale_sd=0,
    group_depth_sd_cm=0,
    jaw_slide_sd=0,
    point_noise=(0, 0),
)

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="../shared/data is not here")


@pytest.fixture(scope="module")
def face() -> FaceModel:
    return read_face_model(MODEL)


@pytest.fixture
def raw() -> dict[str, np.ndarray]:
    with np.load(MODEL) as file:
        return {key: file[key] for key in file.files}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The face model


def write_obj_checkout(folder: Path, raw: dict[str, np.ndarray]) -> None:
    """The model as ICT-FaceKit's repository has it, vertices of eyes and teeth after the head."""
    models = folder / "FaceXModel"
    models.mkdir()
    names = [f"identity{number:03d}" for number in range(len(raw["identity"]))]
    names += raw["expression_names"].tolist()
    deltas = dict(zip(names, [*raw["identity"], *raw["expression"]], strict=True))
    deltas["generic_neutral_mesh"] = np.zeros_like(raw["neutral"])
    for name, delta in deltas.items():
        lines = ["# a comment", "v 1 2 3"]
        lines[1:] = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in raw["neutral"] + delta]
        lines += ["v 99 99 99", "vn 0 0 1", "f 1/1 2/2 3/3"]
        (models / f"{name}.obj").write_text("\n".join(lines))
    indices = {
        "expressions": raw["expression_names"].tolist(),
        "idx_to_landmark_verts": raw["landmark_vertices"].tolist(),
    }
    (models / "vertex_indices.json").write_text(json.dumps(indices))


@pytest.mark.slow
def test_a_checkout_of_obj_files_is_the_same_model(face, raw, tmp_path):
    assert len(raw["neutral"]) == HEAD_VERTICES
    write_obj_checkout(tmp_path, raw)
    for path in (tmp_path, tmp_path / "FaceXModel"):
        other = read_face_model(path)
        for field in ("mean", "identity", "expression"):
            assert torch.allclose(getattr(other, field), getattr(face, field), atol=2e-6)


def test_the_first_rows_are_the_landmarks(face, raw):
    assert np.array_equal(face.mean[:68].numpy(), raw["neutral"][raw["landmark_vertices"]])


def test_the_jaw_band_lies_around_the_jaw_and_on_both_sides(face):
    band, jaw = face.mean[68:], face.mean[:17]
    assert len(band) > 100
    assert torch.cdist(band, jaw).min(dim=1).values.max() < 6.5  # cm
    assert abs(int((band[:, 0] > 0).sum() - (band[:, 0] < 0).sum())) < 0.1 * len(band)
    assert band[:, 1].min() > jaw[:, 1].min() - 1  # no throat
    nose_and_mouth = face.mean[27:68]
    assert torch.cdist(band, nose_and_mouth).min() > 1.4


@pytest.mark.parametrize("change", ["missing key", "68 landmarks", "not a zip", "empty folder"])
def test_what_is_no_face_model_is_an_error(raw, tmp_path, change):
    path = tmp_path / "model.npz"
    if change == "missing key":
        np.savez(path, **{key: raw[key] for key in raw if key != "expression"})
    elif change == "68 landmarks":
        np.savez(path, **{**raw, "landmark_vertices": raw["landmark_vertices"][:51]})
    elif change == "not a zip":
        path.write_bytes(b"no model")
    else:
        path = tmp_path
    with pytest.raises(TrainingError, match=re.escape(str(path))):
        read_face_model(path)


# The synthesizer


def test_one_seed_gives_the_same_faces(face):
    first, second, other = (synthesize(face, RECIPES["2d"], 50, generator(s)) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("kind", RECIPES)
def test_faces_are_finite_and_turned_as_stated(face, kind):
    landmarks, rotvec = synthesize(face, RECIPES[kind], 4000, generator())
    assert landmarks.shape == (4000, 68, 2)
    assert rotvec.shape == (4000, 3)
    assert landmarks.isfinite().all()
    assert landmarks.dtype == rotvec.dtype == torch.float32
    # Half of them near frontal, the others spread to profile.
    yaw = torch.asin(rotvec_to_matrix(rotvec)[:, 0, 2]).abs().rad2deg()
    assert 0.35 < (yaw < 20).float().mean() < 0.6
    assert (yaw > 60).float().mean() > 0.1


def test_without_habits_the_landmarks_are_the_turned_mean_face(face):
    zero_deg = (7.0, 0.0, -3.0)
    landmarks, rotvec = synthesize(face, replace(PLAIN, head_zero_deg=zero_deg), 200, generator())
    points = face.mean[:68] * torch.tensor([1.0, -1.0, -1.0])
    zero = rotvec_to_matrix(torch.tensor(zero_deg).deg2rad())
    turn = rotvec_to_matrix(rotvec) @ zero.mT
    expected = ((points - points.mean(dim=0)) @ turn.mT)[..., :2]
    expected = expected / (points[36] - points[45]).norm()
    # The mean face is almost, not quite, its own mirror image.
    found = landmarks - landmarks.mean(dim=1, keepdim=True)
    assert (found - expected).abs().max() < 2e-3  # a camera at 100 m


@pytest.mark.parametrize(
    ("axis", "sees"),
    [
        (0, lambda p: p[30, 1] - p[33, 1] > 0.05),  # nods: the tip of the nose drops
        (1, lambda p: p[30, 0] < p[[36, 45], 0].mean() - 0.05),  # turns to the subject's right
        (2, lambda p: p[45, 1] > p[36, 1] + 0.1),  # tilts to the subject's left
    ],
    ids=["nod", "turn", "tilt"],
)
def test_signs_of_the_turn_can_be_seen_in_the_picture(face, axis, sees):
    most = [0.01, 0.01, 0.01]
    most[axis] = 40
    recipe = replace(PLAIN, frontal_share=0, turned_most_deg=tuple(most))
    landmarks, rotvec = synthesize(face, recipe, 300, generator())
    level = synthesize(face, replace(recipe, turned_most_deg=(0.01,) * 3), 1, generator())[0][0]
    turned = landmarks[rotvec[:, axis] > math.radians(25)]
    assert len(turned) > 20
    if axis == 0:
        drop = (turned[:, 30, 1] - turned[:, 27, 1]) - (level[30, 1] - level[27, 1])
        assert (drop > 0).all()
    else:
        assert all(sees(points) for points in turned)


def test_a_visible_contour_has_equal_arcs_on_either_side_of_the_chin(face):
    recipe = replace(PLAIN, contour_share=1)
    landmarks, _ = synthesize(face, recipe, 300, generator())
    for half in (landmarks[:, :9], landmarks[:, 8:17]):
        steps = half.diff(dim=1).norm(dim=-1)
        visible = steps.sum(dim=1) > 0.3  # the far half may be hidden behind the chin
        assert visible.float().mean() > 0.8
        half, steps = half[visible], steps[visible]
        # Chords of equal arcs: equal but where the outline bends.
        assert (steps.amax(dim=1) / steps.median(dim=1).values).median() < 1.05
        assert torch.allclose(
            resample_by_arc_length(half, 9).diff(dim=1).norm(dim=-1).mean(dim=1),
            steps.mean(dim=1),
            rtol=0.05,
        )


def test_a_visible_contour_encloses_the_projected_jaw(face):
    """Seen from the side, the far half of the contour is cheek, outside the far jaw points."""
    recipe = replace(PLAIN, frontal_share=0, turned_most_deg=(0.01, 60, 0.01))
    fixed, rotvec = synthesize(face, recipe, 300, generator())
    sliding, _ = synthesize(face, replace(recipe, contour_share=1), 300, generator())
    to_the_left = rotvec[:, 1] > math.radians(30)  # the subject's right: left in the picture
    far = slice(0, 4)
    assert to_the_left.sum() > 50
    difference = sliding[to_the_left, far, 0] - fixed[to_the_left, far, 0]
    assert (difference.mean(dim=1) < -0.02).all()


def test_lag_leaves_inner_points_behind_and_not_the_label(face):
    recipe = replace(PLAIN, frontal_share=0, turned_most_deg=(0.01, 60, 0.01))
    full, rotvec = synthesize(face, recipe, 300, generator())
    lagging, same = synthesize(face, replace(recipe, lag_deg=(10, 10)), 300, generator())
    assert torch.equal(rotvec, same)
    nose = [
        (points[:, 30, 0] - points[:, [36, 45], 0].mean(dim=1)).abs() for points in (full, lagging)
    ]
    turned = rotvec[:, 1].abs() > math.radians(30)
    assert (nose[1] < nose[0])[turned].all()


def test_every_ingredient_matters(face):
    """A field that changes nothing would be a promise that the code does not keep."""
    other = {
        "expressions": (9, 20),
        "frontal_sd_deg": (1.0, 1.0, 1.0),
        "turned_most_deg": (5.0, 5.0, 5.0),
        "distance_cm": (400.0, 500.0),
        "jaw_lower": (0.1, 0.2),
        "head_zero_deg": (1.0, 2.0, 3.0),
        "lag_deg": (5.0, 9.0),
    }
    recipe = replace(RECIPES["3d"], fixed_contour_share=0.4, contour_share=0.4)
    before = synthesize(face, recipe, 200, generator())
    for field in fields(Synthesis):
        value = getattr(recipe, field.name)
        if isinstance(value, tuple):
            changed = other.get(field.name, tuple(0.5 * end + 0.3 for end in value))
        else:
            changed = 0.5 * value
        after = synthesize(face, replace(recipe, **{field.name: changed}), 200, generator())
        assert not all(torch.equal(*pair) for pair in zip(before, after, strict=True)), field.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"contour_share": 1.5},
        {"contour_share": 0.7, "fixed_contour_share": 0.7},
        {"lag_deg": (0.0, float("nan"))},
    ],
)
def test_recipes_that_cannot_be(wrong):
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        Synthesis(**wrong)


# The run


def train(face, output: Path, **options) -> float:
    return train_synth(face, output, "3d", **{"settings": QUICK, **options})


def files_of(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), output.with_suffix(".json").read_bytes()


def test_a_run_learns_and_its_card_says_what_it_did(face, tmp_path):
    output = tmp_path / "mine.safetensors"
    error = train(face, output)
    checkpoint = read_checkpoint(output)
    card = checkpoint.card
    assert checkpoint.model.hidden == (32, 16)
    assert card["landmark_kind"] == "3d"
    assert card["data"]["sha256"] == face.sha256
    assert card["training"]["faces"] == QUICK.faces
    assert card["synthesis"]["lag_deg"] == [0.0, 0.0]
    assert card["figures"]["geodesic_error_deg"] == pytest.approx(error)
    history = [entry["geodesic_error_deg"] for entry in card["figures"]["history"]]
    assert history[-1] < 0.5 * history[0]
    assert not list(tmp_path.glob("*.training"))

    # The figure is that of the file, on faces of another seed.
    landmarks, rotvec = synthesize(face, RECIPES["3d"], 2000, generator(77))
    pose = PoseNetwork(checkpoint)(landmarks)
    found = geodesic_angle(rotvec_to_matrix(pose[:, :3]), rotvec_to_matrix(rotvec)).rad2deg()
    assert found.mean().item() == pytest.approx(error, rel=0.1)
    assert pose[:, 3:].isnan().all()


def test_one_seed_gives_one_file(face, tmp_path):
    outputs = [tmp_path / folder / "w.safetensors" for folder in ("a", "b", "c")]
    for output, seed in zip(outputs, (3, 3, 4), strict=True):
        output.parent.mkdir()
        train(face, output, seed=seed, settings=replace(QUICK, faces=4000))
    assert files_of(outputs[0]) == files_of(outputs[1])
    assert outputs[0].read_bytes() != outputs[2].read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_file(face, tmp_path):
    undisturbed, killed = tmp_path / "u" / "w.safetensors", tmp_path / "k" / "w.safetensors"
    for output in (undisturbed, killed):
        output.parent.mkdir()
    train(face, undisturbed)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torch;"
        f"torch.set_num_threads({torch.get_num_threads()});"
        "from pathlib import Path; import test_training as t;"
        "t.train(t.read_face_model(t.MODEL), Path(sys.argv[2]))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT / "tests" / "training"), str(killed)]
    )
    state = killed.with_suffix(".training")
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert state.exists()
    assert not killed.exists()
    train(face, killed)
    assert files_of(killed) == files_of(undisturbed)


def test_a_state_of_other_settings_or_a_damaged_one_is_refused(face, tmp_path, monkeypatch):
    output = tmp_path / "w.safetensors"
    state = output.with_suffix(".training")
    # A run that is interrupted after its first evaluation.
    monkeypatch.setattr(
        "feat_pose_plugin.training.run.write_checkpoint",
        lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        train(face, output, settings=replace(QUICK, faces=4000))
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="other settings"):
        train(face, output)
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="damaged"):
        train(face, output, settings=replace(QUICK, faces=4000))


def test_a_run_that_no_longer_improves_ends_early(face, tmp_path):
    output = tmp_path / "w.safetensors"
    settings = replace(QUICK, faces=40_000, learning_rate=1e-12, patience=2, evaluate_every=5)
    train(face, output, settings=settings)
    history = read_checkpoint(output).card["figures"]["history"]
    assert len(history) < 20
    assert history[-1]["faces"] < settings.faces


def test_an_unknown_landmark_kind_is_named(face, tmp_path):
    with pytest.raises(TrainingError, match="4d"):
        train_synth(face, tmp_path / "w.safetensors", "4d", settings=QUICK)


def test_training_reads_nothing_that_is_kept_for_validation():
    folder = Path(feat_pose_plugin.training.__file__).parent
    sources = "\n".join(path.read_text() for path in folder.glob("*.py")).lower()
    for name in (
        "aflw",
        "pose_mlp_v2_dev",
        "turned_faces",
        "pyfeat_paths",
        "video_",
        "image_faces",
    ):
        assert name not in sources
