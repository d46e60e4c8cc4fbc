"""Graphs that are exported, run by ONNX Runtime, against the pose that this package gives."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command import feat_pose, refused

import feat_pose_plugin
from feat_pose_plugin import estimate_pose
from feat_pose_plugin.errors import (
    ConventionError,
    ExportError,
    LandmarkError,
    OptionError,
    TableError,
    UnknownBackendError,
)
from feat_pose_plugin.mlp import onnx_export as export
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import PoseMLP
from feat_pose_plugin.mlp.onnx_export import export_onnx
from feat_pose_plugin.mlp.pose_mlp import BUNDLED, MLPBackend
from feat_pose_plugin.mlp.weights import load_checkpoint
from feat_pose_plugin.pose.conventions import Convention, find_convention
from feat_pose_plugin.pose.convert import convert_pose
from feat_pose_plugin.pose.rotations import geodesic_angle
from feat_pose_plugin.testing import project_face

SAME = 1e-5
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
KINDS = ["2d", "openseeface", "v2", "v1"]


def faces(count: int, *, seed: int = 0) -> torch.Tensor:
    """Faces of mixed turn, shape, size and place."""
    generator = torch.Generator().manual_seed(seed)
    points = project_face(0.4 * torch.randn(count, 3, generator=generator))
    points = points + 2 * torch.randn(points.shape, generator=generator)
    size = 0.5 + 2 * torch.rand(count, 1, 1, generator=generator)
    return points * size


def run(path: Path, landmarks: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (pose,) = session.run(None, {"landmarks": landmarks.numpy()})
    assert pose.dtype == np.float32
    return pose


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory) -> tuple[Path, Callable[[torch.Tensor], np.ndarray]]:
    """A graph, and what the same weights say here."""
    folder = tmp_path_factory.mktemp("onnx")
    landmark_model, backend = request.param, "pose_mlp_synth"
    if request.param in ("v1", "v2"):
        landmark_model = "2d"
        paths = {"2d": write_random(folder, layer_norm=request.param == "v2")}
        backend = MLPBackend("random", "none", paths)
    path = folder / "pose.onnx"
    export_onnx(path, pose_model=backend, landmark_model=landmark_model)

    def expected(landmarks: torch.Tensor) -> np.ndarray:
        pose = estimate_pose(landmarks, pose_model=backend, landmark_model=landmark_model)
        return pose[["Pitch", "Roll", "Yaw"]].to_numpy()

    return path, expected


def write_random(folder: Path, *, layer_norm: bool) -> Path:
    path = folder / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = PoseMLP((256, 128, 64), 0.1, layer_norm)
    mean, std = torch.linspace(-0.2, 0.3, 6), torch.linspace(0.5, 1.5, 6)
    write_checkpoint(path, model, mean, std, {"description": "random, for a test"})
    return path


# What the graph says


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_the_graph_says_what_the_network_says(exported, count):
    path, expected = exported
    landmarks = faces(count)
    found = run(path, landmarks)
    assert found.shape == (count, 3)
    # As rotations: near gimbal lock rounding moves two angles against each other.
    ours, theirs = (
        convert_pose(torch.tensor(np.array(angles)).double(), "feat", "matrix")
        for angles in (found, expected(landmarks))
    )
    assert (geodesic_angle(ours, theirs) <= 2 * SAME).all()


def test_a_row_without_a_face_is_nan_and_its_neighbours_are_not(exported):
    path, expected = exported
    landmarks = faces(9)
    landmarks[1] = torch.nan
    landmarks[3, 60, 1] = torch.nan
    landmarks[5, 2, 0] = torch.inf
    landmarks[7, 36] = landmarks[7, 45]
    order = [8, 0, 7, 1, 6, 2, 5, 3, 4]
    found = run(path, landmarks)
    without = [1, 3, 5, 7]
    assert np.isnan(found[without]).all()
    np.testing.assert_allclose(found, expected(landmarks), rtol=0, atol=SAME)
    assert np.isfinite(np.delete(found, without, axis=0)).all()
    np.testing.assert_allclose(run(path, landmarks[order]), found[order], rtol=0, atol=SAME)


UNITS = {"300w-lp": "degrees", "feat-0.6": "degrees"}
UNITS |= dict.fromkeys(["img2pose", "openface", "feat-mp"], "radians")
UNITS |= dict.fromkeys(["mediapipe", "matrix", "quaternion"], "none")


@pytest.mark.parametrize(
    "convention",
    [
        *("300w-lp", "quaternion"),  # whatever the others do
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("img2pose", "openface", "feat-0.6", "feat-mp", "mediapipe", "matrix")
        ),
    ],
)
def test_a_convention_is_in_the_graph_and_in_its_metadata(convention, tmp_path):
    path = tmp_path / "pose.onnx"
    export_onnx(path, landmark_model="3d", convention=convention)
    there = find_convention(convention)
    check_rotation(run(path, faces(500)), there)

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    says = {prop.key: prop.value for prop in model.metadata_props}
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in says)
    weights = BUNDLED / "pose_mlp_synth_3d.safetensors"
    assert says.pop("version") == f"feat-pose-plugin {feat_pose_plugin.__version__}"
    assert says == {
        "columns": json.dumps(there.rotation_columns),
        "units": json.dumps([UNITS[convention]] * len(there.rotation_columns)),
        "convention": convention,
        "rotation_frame": "line_of_sight",
        "landmark_model": "3d",
        "model": "pose_mlp_synth",
        "licence": "MIT",
        "weights": weights.name,
        "weights_sha256": load_checkpoint(weights).sha256,
    }
    (given,), (answered,) = model.graph.input, model.graph.output
    assert (given.name, answered.name) == ("landmarks", "pose")
    shape = [size.dim_value or size.dim_param for size in given.type.tensor_type.shape.dim]
    assert shape == ["batch", 68, 2]


def check_rotation(found: np.ndarray, there: Convention) -> None:
    """It is that of img2pose's angles, and where those are small, number for number."""
    assert found.shape == (500, len(there.rotation_columns))
    pose = estimate_pose(faces(500), landmark_model="3d", convention="img2pose")
    turned = torch.tensor(pose[["Pitch", "Roll", "Yaw"]].to_numpy(np.float64))
    rotation = torch.from_numpy(found).double()
    if there.representation == "matrix":
        rotation = rotation.reshape(-1, 3, 3)
    back = convert_pose(rotation, there.name, "matrix")
    assert geodesic_angle(back, convert_pose(turned, "img2pose", "matrix")).max() <= 2 * SAME
    near = convert_pose(turned, "img2pose", there.name).reshape(found.shape).numpy()
    steady = (turned.norm(dim=1) < 1).numpy()  # far from any gimbal lock
    tolerance = np.rad2deg(SAME) if there.degrees else SAME
    np.testing.assert_allclose(found[steady], near[steady], rtol=0, atol=2 * tolerance)


# What is refused


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"pose_model": "nobody"}, UnknownBackendError, "'nobody'"),
        ({"pose_model": "img2pose"}, OptionError, "'pose_mlp_synth' or 'pose_mlp'"),
        ({"landmark_model": "auto"}, LandmarkError, "'auto'"),
        ({"convention": "radians"}, ConventionError, "'radians'"),
    ],
)
def test_what_cannot_be_exported_is_refused(options, error, part, tmp_path):
    with pytest.raises(error, match=re.escape(part)):
        export_onnx(tmp_path / "pose.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"pip install 'feat-pose-plugin\[onnx\]'"):
        export_onnx(tmp_path / "pose.onnx")


def test_a_graph_that_differs_is_not_written(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "_SAME", 0.0)  # no two runtimes round alike
    path = tmp_path / "pose.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ExportError, match=r"of 45 faces; nothing was written"):
        export_onnx(path)
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"before"]


def test_a_folder_that_is_not_there_is_a_table_error(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "_to_onnx", lambda *_: b"graph")
    with pytest.raises(TableError, match="could not be written"):
        export_onnx(tmp_path / "nowhere" / "pose.onnx")


# The command


def test_the_command_writes_what_it_is_told_and_replaces_nothing(monkeypatch, tmp_path):
    path = tmp_path / "pose.onnx"
    options = ["--landmark-model", "3d", "--convention", "300w-lp"]
    result = feat_pose("export", path, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote {path}\n"
    pose = estimate_pose(faces(7), landmark_model="3d", convention="300w-lp")
    np.testing.assert_allclose(run(path, faces(7)), pose[["Pitch", "Roll", "Yaw"]], atol=1e-3)
    path.write_bytes(b"before")
    refused(feat_pose("export", path), 2, str(path), "--force")
    assert path.read_bytes() == b"before"
    monkeypatch.setattr(export, "_to_onnx", lambda *_: b"graph")
    assert feat_pose("export", path, "--force").exit_code == 0
    assert path.read_bytes() == b"graph"
