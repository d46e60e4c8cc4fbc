"""The commands that train and that measure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command import feat_pose, refused

from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.pose import registry
from feat_pose_plugin.pose.backend import PoseBackend, Provenance
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.testing import project_face


@pytest.fixture
def known_table(tmp_path: Path) -> Path:
    """Projections of known turns, as a table with the pose in convention rotvec."""
    rotvec = 0.4 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    points = project_face(rotvec)
    table = pd.DataFrame(points.mT.flatten(1).numpy(), columns=landmark_columns())
    table[["r_x", "r_y", "r_z"]] = rotvec.numpy()
    path = tmp_path / "known.csv"
    table.to_csv(path, index=False)
    return path


def test_train_synth(shared_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    result = feat_pose(
        *("train", "synth", "--face-model", shared_data / "ict_facekit_face.npz", "-o", output),
        *("--landmark-kind", "2d", "--hidden", "16-8", "--faces", "2000", "--seed", "5"),
    )
    assert result.exit_code == 0, result.output
    assert f"wrote {output}" in result.stdout
    checkpoint = read_checkpoint(output)
    assert checkpoint.model.hidden == (16, 8)
    assert checkpoint.card["landmark_kind"] == "2d"
    assert checkpoint.card["seed"] == 5
    assert checkpoint.card["training"]["faces"] == 2000


def test_train_distill(tmp_path: Path) -> None:
    clips = []
    for number in range(3):
        rotvec = 0.3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(number))
        points = project_face(rotvec)
        clip = pd.DataFrame(points.mT.flatten(1).numpy(), columns=landmark_columns())
        clip["FaceScore"] = 0.99
        clip[["Pitch", "Roll", "Yaw"]] = rotvec.numpy()
        clip[["X", "Y", "Z"]] = np.random.default_rng(number).normal(size=(40, 3))
        clips.append(tmp_path / f"clip{number}.csv")
        clip.to_csv(clips[-1], index=False)
    output = tmp_path / "student.safetensors"
    result = feat_pose(
        *("train", "distill", *clips, "-o", output),
        *("--convention", "img2pose", "--v1", "--epochs", "2"),
    )
    assert result.exit_code == 0, result.output
    checkpoint = read_checkpoint(output)
    assert checkpoint.card["data"]["teacher_convention"] == "img2pose"
    assert checkpoint.model.hidden == (256, 128, 64)
    assert not checkpoint.model.layer_norm


@pytest.mark.parametrize(
    ("arguments", "status", "parts"),
    [
        (("--landmark-kind", "4d", "-o", "w.safetensors"), 2, ("4d", "2d")),
        (("--landmark-kind", "2d", "-o", "w.pt"), 2, ("w.pt", ".safetensors")),
        (("--landmark-kind", "2d", "-o", "w.safetensors", "--hidden", "a-b"), 2, ("a-b",)),
    ],
)
def test_train_synth_refuses(arguments, status, parts, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "ict_facekit_face.npz"
    refused(feat_pose("train", "synth", "--face-model", model, *arguments), status, *parts)
    refused(
        feat_pose(
            *("train", "synth", "--face-model", tmp_path / "none.npz"),
            *("--landmark-kind", "2d", "-o", tmp_path / "w.safetensors"),
        ),
        2,
        "none.npz",
        "ICT-FaceKit",
    )


def test_evaluate_prints_and_writes(known_table: Path, tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    result = feat_pose(
        *("evaluate", known_table, "--convention", "rotvec", "--landmark-model", "3d"),
        *("--json", figures, "--picture", picture),
    )
    assert result.exit_code == 0, result.output
    assert "60 faces measured" in result.stdout
    assert json.loads(figures.read_text())["faces"] == 60
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_calibrate_finds_a_turn_that_was_put_in(known_table: Path) -> None:
    result = feat_pose("calibrate", known_table, "--convention", "rotvec", "--landmark-model", "3d")
    assert result.exit_code == 0, result.output
    assert "R_reference = R_estimated @ C" in result.stdout
    assert "Pitch alone" in result.stdout


class Still(PoseBackend):
    """A backend that reads no turn at all."""

    provenance = Provenance("still", "none")

    def estimate(self, landmarks: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.zeros(len(landmarks), 6)


@pytest.mark.parametrize(("model", "gain", "error"), [("pose_mlp_synth", 1, 0), ("still", 0, 20)])
def test_turns(model: str, gain: float, error: float, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_targets", {**registry._targets, "still": Still})
    turn = torch.tensor([[0.0, degrees, 0.0] for degrees in (-20, 0, 20)]).deg2rad()
    path = tmp_path / "turns.npz"
    np.savez(
        path,
        face=np.zeros(3),
        sweep=np.full(3, "yaw"),
        angle_deg=np.array([-20, 0, 20]),
        rotation_vector=turn.numpy(),
        points=project_face(turn).numpy(),
    )
    result = feat_pose(
        *("turns", path, "--landmarks", "points", "--landmark-model", "3d", "--model", model)
    )
    assert result.exit_code == 0, result.output
    gains, errors = (part.splitlines() for part in result.stdout.split("\n\n"))
    assert float(gains[-1].split()[-3]) == pytest.approx(gain, abs=0.1)
    assert float(errors[-1].split()[1]) == pytest.approx(error, abs=3)


def test_what_cannot_be_measured_is_an_error(tmp_path: Path) -> None:
    table = find_demo_tables()[2]  # OpenFace's, whose pose columns have other names
    refused(feat_pose("evaluate", table), 2, "Pitch")
    refused(feat_pose("evaluate", tmp_path / "none.npz"), 2, "none.npz")
    refused(feat_pose("evaluate", table, "--convention", "mine"), 2, "mine", "img2pose")
