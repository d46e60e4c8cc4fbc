"""ICT-FaceKit as it is read from either of its forms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.training.face_model import HEAD_VERTICES, FaceModel, read_face_model


@pytest.fixture
def model(shared_data: Path) -> Path:
    return shared_data / "ict_facekit_face.npz"


@pytest.fixture
def face(model: Path) -> FaceModel:
    return read_face_model(model)


@pytest.fixture
def raw(model: Path) -> dict[str, np.ndarray]:
    with np.load(model) as file:
        return dict(file)


def write_obj_checkout(folder: Path, raw: dict[str, np.ndarray]) -> None:
    """The model as ICT-FaceKit's repository has it, vertices of eyes and teeth after the head."""
    names = [f"identity{number:03d}" for number in range(len(raw["identity"]))]
    names += raw["expression_names"].tolist()
    deltas = dict(zip(names, [*raw["identity"], *raw["expression"]], strict=True))
    deltas["generic_neutral_mesh"] = np.zeros_like(raw["neutral"])
    for name, delta in deltas.items():
        vertices = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in raw["neutral"] + delta]
        lines = ["# a comment", *vertices, "v 99 99 99", "vn 0 0 1", "f 1/1 2/2 3/3"]
        (folder / f"{name}.obj").write_text("\n".join(lines))
    indices = {
        "expressions": raw["expression_names"].tolist(),
        "idx_to_landmark_verts": raw["landmark_vertices"].tolist(),
    }
    (folder / "vertex_indices.json").write_text(json.dumps(indices))


@pytest.mark.slow
def test_a_checkout_of_obj_files_is_the_same_model(face, raw, tmp_path) -> None:
    assert len(raw["neutral"]) == HEAD_VERTICES
    models = tmp_path / "FaceXModel"
    models.mkdir()
    write_obj_checkout(models, raw)
    for path in (tmp_path, models):
        other = read_face_model(path)
        for field in ("mean", "identity", "expression"):
            assert torch.allclose(getattr(other, field), getattr(face, field), atol=2e-6)


def test_landmarks_come_first_and_the_jaw_band_lies_around_the_jaw(face, raw) -> None:
    assert np.array_equal(face.mean[:68].numpy(), raw["neutral"][raw["landmark_vertices"]])
    band, jaw = face.mean[68:], face.mean[:17]
    assert len(band) > 100
    assert torch.cdist(band, jaw).min(dim=1).values.max() < 6.5  # cm
    assert abs(int((band[:, 0] > 0).sum() - (band[:, 0] < 0).sum())) < 0.1 * len(band)
    assert band[:, 1].min() > jaw[:, 1].min() - 1  # no throat
    assert torch.cdist(band, face.mean[27:68]).min() > 1.4  # neither nose nor mouth
    # The back edge is fixed at the chin; at the ears it lies where the vertex does.
    assert (face.band_edge[band[:, 1] < jaw[6, 1]] == -torch.inf).all()
    at_ears = band[:, 1] > jaw[1, 1]
    depth_and_edge = torch.stack([band[at_ears, 2], face.band_edge[at_ears]])
    assert torch.corrcoef(depth_and_edge)[0, 1] < -0.8


@pytest.mark.parametrize("change", ["missing key", "68 landmarks", "not a zip", "empty folder"])
def test_what_is_no_face_model_is_an_error(change, tmp_path) -> None:
    path = tmp_path if change == "empty folder" else tmp_path / "model.npz"
    arrays = {name: np.zeros((1, 80, 3)) for name in ("identity", "expression")}
    arrays |= {"neutral": np.zeros((80, 3)), "landmark_vertices": np.arange(68)}
    if change == "missing key":
        del arrays["expression"]
    if change == "68 landmarks":
        arrays["landmark_vertices"] = np.arange(51)
    np.savez(tmp_path / "model.npz", **arrays)
    if change == "not a zip":
        path.write_bytes(b"no model")
    with pytest.raises(TrainingError, match=re.escape(str(path))):
        read_face_model(path)
