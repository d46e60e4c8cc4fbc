"""py-feat's own function against ours: the same files, the same faces, the same answers.

The only test module that imports feat, which takes seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, pose_from_landmarks_mlp
from feat_pose_plugin.errors import LandmarkError, WeightsError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, find_official
from feat_pose_plugin.testing import project_face

pytestmark = pytest.mark.usefixtures("fresh_pyfeat")

KINDS = {
    "v2": {"hidden": (512, 256, 128), "layer_norm": True},
    "v1": {"hidden": (256, 128, 64), "layer_norm": False},
    "small": {"hidden": (64, 32), "layer_norm": True},
}


@pytest.fixture(scope="session")
def pyfeat():
    """py-feat's module, imported for real; the variables that the import sets are put back."""
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from feat.utils import face_pose_mlp
    os.environ.clear()
    os.environ.update(before)
    return face_pose_mlp


@pytest.fixture
def fresh_pyfeat(pyfeat, fresh_weights):
    """Nothing loaded, neither there nor here."""
    pyfeat._CACHE.clear()
    yield
    pyfeat._CACHE.clear()


@pytest.fixture
def faces() -> torch.Tensor:
    """10,000 faces of mixed turn, shape, size and position, float32 pixels."""
    generator = torch.Generator().manual_seed(0)
    points = project_face(0.4 * torch.randn(10_000, 3, generator=generator))
    points = points + 5 * torch.randn(points.shape, generator=generator)
    size = 10 ** (1.3 * torch.rand(10_000, 1, 1, generator=generator) - 0.8)
    where = 2000 * torch.rand(10_000, 1, 2, generator=generator)
    return (points - 500) * size + where


def own_folder(folder: Path) -> Iterator[Path]:
    """A folder inside the installed py-feat, taken away again, also after a run that was killed."""
    mark = folder / "made-by-a-test"
    if mark.exists():
        shutil.rmtree(folder)
    if folder.exists():
        pytest.skip(f"{folder} is in use")
    folder.mkdir()
    mark.touch()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def models_folder(feat_folder: Path) -> Iterator[Path]:
    """``models/`` beside the installed py-feat."""
    yield from own_folder(feat_folder.parent / "models")


@pytest.fixture
def hub_folder(feat_folder: Path) -> Iterator[Path]:
    """Where py-feat keeps what it has downloaded of the official weights."""
    yield from own_folder(feat_folder / "resources" / "models--py-feat--pose_mlp_v2")


def difference(pyfeat, faces: torch.Tensor) -> float:
    theirs, ours = pyfeat.pose_from_landmarks_mlp(faces), pose_from_landmarks_mlp(faces)
    assert theirs is not None
    assert ours is not None
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.device == theirs.device
    assert torch.equal(ours.isnan(), theirs.isnan())
    return (ours - theirs).abs().nan_to_num().max().item() if len(faces) else 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_same_pose_from_a_named_path(kind, pyfeat, faces, make_checkpoint, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint(**KINDS[kind])))
    assert difference(pyfeat, faces) <= 1e-5


def test_same_pose_from_what_pyfeat_has_downloaded(pyfeat, faces, make_checkpoint, hub_folder):
    snapshot = hub_folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (hub_folder / "refs").mkdir()
    (hub_folder / "refs" / "main").write_text("0" * 40)
    path = make_checkpoint()
    for suffix in (".safetensors", ".json"):
        shutil.copy(path.with_suffix(suffix), snapshot / f"pose_mlp_v2{suffix}")
    assert find_official() == snapshot / "pose_mlp_v2.safetensors"
    assert difference(pyfeat, faces[:100]) <= 1e-5


def test_named_path_goes_before_the_models_folder(
    pyfeat, faces, make_checkpoint, models_folder, monkeypatch
):
    first, second = make_checkpoint("a.safetensors"), make_checkpoint("b.safetensors", seed=1)
    for suffix in (".safetensors", ".json"):
        shutil.copy(second.with_suffix(suffix), models_folder / f"pose_mlp_v2{suffix}")
    assert find_official() == models_folder / "pose_mlp_v2.safetensors"
    assert difference(pyfeat, faces[:100]) <= 1e-5
    monkeypatch.setenv(PATH_VARIABLE, str(first))
    pyfeat._CACHE.clear()
    assert find_official() == first
    assert difference(pyfeat, faces[:100]) <= 1e-5
    monkeypatch.setenv(PATH_VARIABLE, str(first.with_name("no.safetensors")))
    pyfeat._CACHE.clear()
    with pytest.warns(UserWarning, match=r"no\.safetensors does not exist"):
        assert difference(pyfeat, faces[:100]) <= 1e-5


def test_pyfeats_exact_card_loads_here(pyfeat, faces, make_checkpoint, monkeypatch):
    path = make_checkpoint()
    card = json.loads(path.with_suffix(".json").read_text())
    kept = ("hidden", "dropout", "output_normalization")
    architecture = {key: card["architecture"][key] for key in kept}
    path.with_suffix(".json").write_text(json.dumps({"architecture": architecture}))
    assert read_checkpoint(path).card == {"architecture": architecture}
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    assert difference(pyfeat, faces[:100]) <= 1e-5


def test_networks_have_the_same_state(pyfeat, make_checkpoint):
    for kind in KINDS.values():
        ours = read_checkpoint(make_checkpoint(**kind)).model
        theirs = pyfeat.PoseMLP(kind["hidden"], use_layernorm=kind["layer_norm"])
        shapes = [(key, value.shape) for key, value in theirs.state_dict().items()]
        assert [(key, value.shape) for key, value in ours.state_dict().items()] == shapes


def unusual_faces() -> dict[str, torch.Tensor]:
    face = project_face(torch.zeros(3, 3))
    with_nan, with_inf, one_eye = face.clone(), face.clone(), face.clone()
    with_nan[1, 3] = torch.nan
    with_inf[1, 3, 0] = torch.inf
    one_eye[1, 36] = one_eye[1, 45]
    return {
        "none": face[:0],
        "one": face[:1],
        "nan": with_nan,
        "infinity": with_inf,
        "double": face.double(),
        "strided": face.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        "gradient": face.clone().requires_grad_(),
        # Divided by 1e-6, the features are some 1e8 and only their ratios mean anything.
        "eyes that coincide": one_eye,
    }


@pytest.mark.parametrize("name", unusual_faces())
def test_same_pose_for_unusual_faces(name, pyfeat, make_checkpoint, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint()))
    assert difference(pyfeat, unusual_faces()[name].detach()) <= 1e-5
    ours = pose_from_landmarks_mlp(unusual_faces()[name])
    assert not ours.requires_grad


def test_boxes_are_ignored(pyfeat, faces, make_checkpoint, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint()))
    boxes = torch.rand(10, 5)
    expected = pose_from_landmarks_mlp(faces[:10])
    for pose in (
        pose_from_landmarks_mlp(faces[:10], boxes),
        pose_from_landmarks_mlp(landmarks_2d=faces[:10], bboxes=boxes),
    ):
        torch.testing.assert_close(pose, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(68, 2), (1, 68, 3), (1, 2, 68), (1, 67, 2), (1, 478, 2), (68,)])
def test_same_errors(shape, pyfeat, make_checkpoint, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint()))
    with pytest.raises(ValueError, match="landmarks") as theirs:
        pyfeat.pose_from_landmarks_mlp(torch.zeros(shape))
    with pytest.raises(ValueError, match="landmarks") as ours:
        pose_from_landmarks_mlp(torch.zeros(shape))
    assert str(ours.value) == str(theirs.value)
    assert isinstance(ours.value, LandmarkError)


def test_integers_raise_in_both(pyfeat, make_checkpoint, monkeypatch):
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint()))
    for function in (pyfeat.pose_from_landmarks_mlp, pose_from_landmarks_mlp):
        with pytest.raises(RuntimeError, match="mean"):
            function(torch.zeros(1, 68, 2, dtype=torch.int64))


@pytest.mark.usefixtures("no_official_weights")
def test_same_none_offline_and_one_warning_that_says_why(pyfeat, faces):
    assert pyfeat.pose_from_landmarks_mlp(faces[:1]) is None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answers = [pose_from_landmarks_mlp(landmarks) for landmarks in faces[:5, None]]
        answers.append(pose_from_landmarks_mlp(torch.zeros(3)))  # before the shape is looked at
    assert answers == [None] * 6
    (warning,) = caught
    assert "FEAT_POSE_MLP_PATH: not set" in str(warning.message)
    assert "pose_mlp_synth" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.usefixtures("no_official_weights")
def test_weights_that_appear_after_a_none_are_used(pyfeat, faces, make_checkpoint, monkeypatch):
    with pytest.warns(UserWarning, match="returns None"):
        assert pose_from_landmarks_mlp(faces[:1]) is None
    assert pyfeat.pose_from_landmarks_mlp(faces[:1]) is None
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint()))
    assert difference(pyfeat, faces[:10]) <= 1e-5


def test_damaged_weights_are_an_error_and_not_none(pyfeat, faces, make_checkpoint, monkeypatch):
    path = make_checkpoint()
    path.write_bytes(b"damaged")
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    with pytest.raises(Exception, match=r"(?i)header"):
        pyfeat.pose_from_landmarks_mlp(faces[:1])
    with pytest.raises(WeightsError, match="damaged"):
        pose_from_landmarks_mlp(faces[:1])


# What else is taken over from py-feat


def test_columns_are_pyfeats():
    from feat import utils

    assert FEAT_FACEPOSE_COLUMNS_6D == utils.FEAT_FACEPOSE_COLUMNS_6D
