"""The reference face: bundled, verified, and the product of a training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.pose import reference_face
from feat_pose_plugin.pose.conventions import INTER_OCULAR_UNITS
from feat_pose_plugin.pose.landmarks import MIRROR_68
from feat_pose_plugin.pose.reference_face import (
    STEADY_LANDMARKS,
    read_reference_face,
    write_reference_face,
)
from feat_pose_plugin.training.face_model import read_face_model
from feat_pose_plugin.training.mean_face import make_reference_face, read_img2pose_face
from feat_pose_plugin.training.recipes import RECIPES

FOLDER = Path(reference_face.__file__).parent / "reference_faces"
kinds = pytest.mark.parametrize("kind", RECIPES)


def bundled(kind: str) -> torch.Tensor:
    """As it lies in the package, from the zero of its own network."""
    return read_reference_face(FOLDER / f"{kind}.json").double()


@kinds
def test_it_is_a_face_that_looks_at_the_camera_in_img2poses_unit_and_origin(kind) -> None:
    face, other = bundled(kind), read_img2pose_face()
    x, y, z = face.T
    assert z.argmin() == 30  # the tip of the nose is nearest
    assert y.argmax() == 8  # the chin is lowest
    assert x[36] < -0.3 < 0.3 < x[45]  # the subject's right eye is on the left of the picture
    assert (face[36] - face[45]).norm().item() == pytest.approx(INTER_OCULAR_UNITS, rel=0.03)

    steady = STEADY_LANDMARKS[kind]
    np.testing.assert_allclose(face[steady].mean(0), other[steady].mean(0), atol=1e-3)
    # The scale is the one that brings the two nearest.
    centred, there = (each[steady] - each[steady].mean(0) for each in (face, other))
    assert (centred * there).sum() / centred.square().sum() == pytest.approx(1, abs=1e-3)
    apart = (face - other).norm(dim=1)
    assert apart[17:].mean() < 0.1
    assert apart.mean() > 0.02  # the points are ours


def test_the_3d_face_is_symmetric() -> None:
    face = bundled("3d")
    centred = face - face.mean(dim=0)
    mirrored = centred[list(MIRROR_68)] * torch.tensor([-1.0, 1, 1])
    np.testing.assert_allclose(centred, mirrored, atol=2e-4)


@pytest.mark.slow
@kinds
def test_the_bundled_face_is_what_a_training_run_writes(kind, shared_data: Path) -> None:
    """20,000 faces by the recipe, the first of seed 0, as the card says."""
    model = read_face_model(shared_data / "ict_facekit_face.npz")
    card = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    assert card["data"]["sha256"] == model.sha256
    generator = torch.Generator().manual_seed(card["seed"])
    made = make_reference_face(model, RECIPES[kind], kind, card["faces"], generator)
    np.testing.assert_allclose(bundled(kind), made, atol=1e-3)


# The file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "w.reference.json"
    write_reference_face(path, bundled("3d"), {"name": "w", "note": None})
    return path


def test_what_is_written_is_what_is_read(path: Path) -> None:
    np.testing.assert_allclose(read_reference_face(path), bundled("3d"), atol=1e-6)
    assert read_reference_face(path).dtype == torch.float32
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["name"], content["note"]) == ("w", None)


@pytest.mark.parametrize(
    "change",
    [
        {"points": [[0.0, 0.0, 0.0]] * 67},
        {"points": [[0.0, 0.0, 0.0]] * 68},
        {"points": "none"},
        {"points": [[None, 0.0, 0.0]] * 68},
        {"sha256": "0" * 64},
        *("", "[]", "[" * 5000, '{"points": []}', "\0"),
    ],
)
def test_a_damaged_file_is_refused_by_name(change, path: Path) -> None:
    if isinstance(change, dict):
        content = json.loads(path.read_text(encoding="utf-8"))
        change = json.dumps({**content, **change})
    path.write_text(change, encoding="utf-8")
    with pytest.raises(WeightsError, match=path.name):
        read_reference_face(path)


def test_a_changed_digit_is_noticed(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["points"][5][1] += 0.1
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WeightsError, match="written"):
        read_reference_face(path)
    with pytest.raises(WeightsError, match="nowhere"):
        read_reference_face(path.with_name("nowhere.json"))
