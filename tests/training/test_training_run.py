"""The training run: tied weights, and one file for one seed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import feat_pose_plugin.training
from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.mlp.model import normalise
from feat_pose_plugin.mlp.network import PoseNetwork
from feat_pose_plugin.pose.landmarks import MIRROR_68
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.recipes import RECIPES
from feat_pose_plugin.training.run import Training, train_synth
from feat_pose_plugin.training.symmetric import SymmetricMLP, mirror_features
from feat_pose_plugin.training.synthetic_faces import synthesize

QUICK = Training(hidden=(32, 16), faces=40_000, batch=200, held_out=1000)


def train(head, output: Path, kind: str = "3d", **options) -> float:
    return train_synth(head, output, kind, **{"settings": QUICK, **options})


def test_the_mirror_image_of_features_is_that_of_the_face(head) -> None:
    landmarks, _ = synthesize(head, RECIPES["mesh"], 10, torch.Generator().manual_seed(0))
    mirrored = landmarks[:, list(MIRROR_68)] * torch.tensor([-1.0, 1, 1])
    for width in (2, 3):
        found = mirror_features(normalise(landmarks[..., :width]))
        torch.testing.assert_close(found, normalise(mirrored[..., :width]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("features", [136, 204])
def test_tied_weights_give_the_mirrored_answer_and_written_out_the_same(features) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        model = SymmetricMLP((32, 16, 8), features)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        faces = torch.randn(50, features)
    pose = model(faces)
    assert pose.std(dim=0).min() > 0.1
    mirrored = model(mirror_features(faces))
    torch.testing.assert_close(mirrored, pose * torch.tensor([1.0, -1, -1]), atol=1e-5, rtol=0)
    plain = model.plain()(faces)
    torch.testing.assert_close(plain[:, :3], pose, atol=1e-5, rtol=0)
    assert (plain[:, 3:] == 0).all()


@pytest.mark.parametrize("kind", RECIPES)
def test_a_run_learns_and_its_card_says_what_it_did(head, tmp_path, kind) -> None:
    output = tmp_path / "mine.safetensors"
    error = train(head, output, kind, seed=7)
    checkpoint = read_checkpoint(output)
    card = checkpoint.card
    assert checkpoint.model.hidden == (32, 16)
    assert (checkpoint.upright, checkpoint.output) == (True, "rotation_vector")
    assert (card["landmark_kind"], card["seed"]) == (kind, 7)
    assert card["data"]["sha256"] == head.sha256
    assert card["training"]["faces"] == QUICK.faces
    assert card["synthesis"]["nod_lag"] == list(RECIPES[kind].nod_lag)
    assert card["figures"]["geodesic_error_deg"] == pytest.approx(error)
    assert error < 12
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}

    # The figure is that of the file, on faces of another seed.
    landmarks, rotvec = synthesize(head, RECIPES[kind], 2000, torch.Generator().manual_seed(77))
    found = PoseNetwork(checkpoint)(landmarks)[:, :3]
    apart = geodesic_angle(rotvec_to_matrix(found), rotvec_to_matrix(rotvec)).rad2deg()
    assert apart.mean().item() == pytest.approx(error, rel=0.1)


def test_one_seed_gives_one_file(head, tmp_path) -> None:
    files = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        output = tmp_path / folder / "w.safetensors"
        output.parent.mkdir()
        torch.manual_seed(len(files))  # which must not matter
        state = torch.random.get_rng_state()
        train(head, output, seed=seed, settings=replace(QUICK, faces=4000))
        assert torch.equal(torch.random.get_rng_state(), state)
        files.append([path.read_bytes() for path in sorted(output.parent.iterdir())])
    assert files[0] == files[1]
    assert files[0][-1] != files[2][-1]


def test_every_setting_matters(head, tmp_path) -> None:
    """A setting that changes no weight would be a promise that the code does not keep."""
    others = {
        "hidden": (16, 16),
        "faces": 3000,
        "batch": 100,
        "learning_rate": 1e-3,
        "warm_up": 0.5,
        "weight_decay": 0.5,
        "huber_deg": 40.0,
        "pair_weight": 0.0,
        "averaging": 0.1,
        "held_out": 500,
    }
    assert others.keys() == {field.name for field in fields(Training)}
    quick = replace(QUICK, faces=2000)
    written = set()
    for changed in ({}, *({name: value} for name, value in others.items())):
        output = tmp_path / "w.safetensors"
        train(head, output, settings=replace(quick, **changed))
        assert output.read_bytes() not in written, changed
        written.add(output.read_bytes())


@pytest.mark.parametrize(
    "wrong", [{"hidden": (31,)}, {"hidden": ()}, {"batch": 5}, {"faces": 10}, {"held_out": 0}]
)
def test_settings_that_cannot_be(wrong) -> None:
    with pytest.raises(TrainingError, match=next(iter(wrong))):
        Training(**wrong)


def test_an_unknown_landmark_kind_is_named(head, tmp_path) -> None:
    with pytest.raises(TrainingError, match=r"'2d', '3d', 'mesh'.*'4d'"):
        train(head, tmp_path / "w.safetensors", "4d")


def test_training_reads_nothing_that_is_kept_for_validation() -> None:
    folder = Path(feat_pose_plugin.training.__file__).parent
    sources = "\n".join(path.read_text() for path in folder.glob("*.py")).lower()
    for name in ("aflw", "pose_mlp_v2_dev", "turned_faces", "pyfeat_paths", "video_", "real/"):
        assert name not in sources
