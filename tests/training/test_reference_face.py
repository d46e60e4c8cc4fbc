"""The reference face: bundled, verified, and the product of a training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from feat_pose_plugin import FeatPoseError
from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.pose import reference_face
from feat_pose_plugin.pose.conventions import INTER_OCULAR_UNITS
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.landmarks import MIRROR_68
from feat_pose_plugin.pose.reference_face import (
    STEADY_LANDMARKS,
    read_reference_face,
    write_reference_face,
)
from feat_pose_plugin.training.face_model import FaceModel, read_face_model
from feat_pose_plugin.training.mean_face import make_reference_face, read_img2pose_face
from feat_pose_plugin.training.recipes import RECIPES

TYPES: list[LandmarkKind] = ["2d", "3d", "mesh"]


@pytest.fixture
def face(shared_data: Path) -> FaceModel:
    return read_face_model(shared_data / "ict_facekit_face.npz")


def bundled(landmark_kind: LandmarkKind) -> torch.Tensor:
    """As it lies in the package, from the zero of its own network."""
    folder = Path(reference_face.__file__).parent / "reference_faces"
    return read_reference_face(folder / f"{landmark_kind}.json").double()


# What is bundled


@pytest.mark.parametrize("landmark_kind", TYPES)
def test_it_is_a_face_that_looks_at_the_camera(landmark_kind):
    face = bundled(landmark_kind)
    x, y, z = face.T
    assert z.argmin() == 30  # the tip of the nose is nearest
    assert y.argmax() == 8  # the chin is lowest
    assert x[36] < -0.3 < 0.3 < x[45]  # the subject's right eye is on the left of the picture


@pytest.mark.parametrize("landmark_kind", TYPES)
def test_unit_and_origin_are_img2poses_and_the_points_are_not(landmark_kind):
    face, other = bundled(landmark_kind), read_img2pose_face()
    steady = STEADY_LANDMARKS[landmark_kind]
    np.testing.assert_allclose(face[steady].mean(0), other[steady].mean(0), atol=1e-3)
    # The scale is the one that brings the two nearest.
    centred, there = (each[steady] - each[steady].mean(0) for each in (face, other))
    assert (centred * there).sum() / centred.square().sum() == pytest.approx(1, abs=1e-3)
    apart = (face - other).norm(dim=1)
    assert apart[17:].mean() < 0.1
    assert apart.mean() > 0.02


@pytest.mark.parametrize("landmark_kind", TYPES)
def test_its_eyes_are_as_far_apart_as_is_said(landmark_kind):
    face = bundled(landmark_kind)
    assert (face[36] - face[45]).norm().item() == pytest.approx(INTER_OCULAR_UNITS, rel=0.03)


def test_the_3d_face_is_symmetric():
    face = bundled("3d")
    centred = face - face.mean(dim=0)
    mirrored = centred[list(MIRROR_68)] * torch.tensor([-1.0, 1, 1])
    np.testing.assert_allclose(centred, mirrored, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("landmark_kind", TYPES)
def test_the_bundled_face_is_what_a_training_run_writes(landmark_kind, face):
    """20,000 faces by the recipe, the first of seed 0, as the card says."""
    path = Path(reference_face.__file__).parent / "reference_faces" / f"{landmark_kind}.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card["data"]["sha256"] == face.sha256
    generator = torch.Generator().manual_seed(card["seed"])
    made = make_reference_face(
        face, RECIPES[landmark_kind], landmark_kind, card["faces"], generator
    )
    np.testing.assert_allclose(bundled(landmark_kind), made, atol=1e-3)


# The file


def written(folder: Path, **changes: object) -> Path:
    path = folder / "w.reference.json"
    write_reference_face(path, bundled("3d"), {"name": "w", "note": None})
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


def test_what_is_written_is_what_is_read(tmp_path):
    path = tmp_path / "w.reference.json"
    write_reference_face(path, bundled("3d"), {"name": "w", "note": None})
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
    ],
)
def test_a_damaged_file_is_refused_by_name(change, tmp_path):
    path = written(tmp_path, **change)
    with pytest.raises(WeightsError, match=path.name):
        read_reference_face(path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 5000, '{"points": []}', "\0"])
def test_what_is_no_reference_face_is_refused_by_name(text, tmp_path):
    path = tmp_path / "w.reference.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=path.name):
        read_reference_face(path)
    with pytest.raises(FeatPoseError, match="nowhere"):
        read_reference_face(tmp_path / "nowhere.json")


def test_a_changed_digit_is_noticed(tmp_path):
    path = tmp_path / "w.reference.json"
    write_reference_face(path, bundled("3d"), {})
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    row = next(i for i, line in enumerate(lines) if line.startswith("    ["))
    digit = lines[row].index(".") + 2
    other = "1" if lines[row][digit] != "1" else "2"
    lines[row] = lines[row][:digit] + other + lines[row][digit + 1 :]
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(WeightsError, match="written"):
        read_reference_face(path)
