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


def known_faces(path: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """Projections of known turns, as a table with the pose in convention rotvec."""
    rotvec = 0.4 * torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))
    points = project_face(rotvec).mT.flatten(1).numpy()
    table = pd.DataFrame(points, columns=landmark_columns())
    table[["r_x", "r_y", "r_z"]] = rotvec.numpy()
    table.to_csv(path, index=False)
    return table


@pytest.fixture
def known_table(tmp_path: Path) -> Path:
    known_faces(tmp_path / "known.csv", 60)
    return tmp_path / "known.csv"


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
    card = checkpoint.card
    assert (card["landmark_kind"], card["seed"], card["training"]["faces"]) == ("2d", 5, 2000)


def test_train_distill(tmp_path: Path) -> None:
    clips = [tmp_path / f"clip{number}.csv" for number in range(3)]
    for number, path in enumerate(clips):
        clip = known_faces(path, 40, number).rename(
            columns={"r_x": "Pitch", "r_y": "Roll", "r_z": "Yaw"}
        )
        clip.assign(FaceScore=0.99, X=0.1, Y=clip["Yaw"], Z=clip["Pitch"]).to_csv(path, index=False)
    output = tmp_path / "student.safetensors"
    result = feat_pose(
        *("train", "distill", *clips, "-o", output),
        *("--convention", "img2pose", "--v1", "--epochs", "2", "--seed", "7"),
    )
    assert result.exit_code == 0, result.output
    checkpoint = read_checkpoint(output)
    assert checkpoint.card["data"]["teacher_convention"] == "img2pose"
    assert len(checkpoint.card["figures"]["validation_error_by_epoch"]) == 2
    assert checkpoint.model.hidden == (256, 128, 64)
    assert not checkpoint.model.layer_norm
    refused(feat_pose("train", "distill", *clips, "-o", output), 2, "exists", "--force")
    refused(feat_pose("train", "distill", *clips, "-o", "w.pt"), 2, "w.pt", ".safetensors")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--landmark-kind 4d -o w.safetensors", ("4d", "2d")),
        ("--landmark-kind 2d -o w.pt", ("w.pt", ".safetensors")),
        ("--landmark-kind 2d -o w.safetensors --hidden a-b", ("a-b",)),
        ("--landmark-kind 2d -o w.safetensors", ("none.npz", "ICT-FaceKit")),
    ],
)
def test_train_synth_refuses(arguments, parts) -> None:
    refused(feat_pose("train", "synth", "--face-model", "none.npz", *arguments.split()), 2, *parts)


def test_evaluate_prints_and_writes(known_table: Path, tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    arguments = ("--convention", "rotvec", "--json", figures, "--picture", picture)
    result = feat_pose("evaluate", known_table, "--landmark-model", "3d", *arguments)
    assert result.exit_code == 0, result.output
    assert "60 faces measured" in result.stdout
    assert json.loads(figures.read_text())["faces"] == 60
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused(feat_pose("evaluate", known_table, *arguments), 2, "figures.json exists", "--force")


def test_calibrate_finds_a_turn_that_was_put_in(known_table: Path) -> None:
    result = feat_pose("calibrate", known_table, "--convention", "rotvec", "--landmark-model", "3d")
    assert result.exit_code == 0, result.output
    assert "R_reference = R_estimated @ C" in result.stdout
    assert "Pitch alone" in result.stdout


def test_compare_with_our_pose_of_its_landmarks(tmp_path: Path) -> None:
    table = known_faces(tmp_path / "known.csv", 40).assign(frame=range(40), who=["x", "y"] * 20)
    table.loc[:2, "x_3"] = np.nan
    table.to_csv(tmp_path / "known.csv", index=False)
    out, picture = tmp_path / "out.csv", tmp_path / "out.png"
    arguments = ("--from-a", "rotvec", "--by", "who", "-o", out, "--picture", picture)
    result = feat_pose("compare", tmp_path / "known.csv", *arguments)
    assert result.exit_code == 0, result.output
    assert {*pd.read_csv(out)["who"]} == {"x", "y"}
    assert "pose_mlp_synth: 3 of 40 rows have no pose in both tables." in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_compare_with_our_pose_of_a_table_that_counts_from_1(tmp_path: Path) -> None:
    """Its timestamp shows it, as OpenFace's does, and ours counts along."""
    path, out = tmp_path / "known.csv", tmp_path / "out.csv"
    table = known_faces(path, 40).assign(frame=range(1, 41), timestamp=np.arange(40) / 30)
    table.to_csv(path, index=False)
    result = feat_pose("compare", path, "--from-a", "rotvec", "-o", out)
    assert result.exit_code == 0, result.output
    assert (pd.read_csv(out)["Frames"] == 40).all()


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
