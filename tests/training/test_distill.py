"""Distillation: a teacher is learned, nothing leaks between the sides, nothing is lost unsaid."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from feat_pose_plugin import convert_pose
from feat_pose_plugin.errors import ConventionError, LandmarkError, TableError, TrainingError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.mlp.model import PoseMLP, normalise
from feat_pose_plugin.mlp.weights import PATH_VARIABLE
from feat_pose_plugin.pose.conventions import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.pose.landmarks import MIRROR_68, landmark_columns
from feat_pose_plugin.testing import project_face
from feat_pose_plugin.training import distill
from feat_pose_plugin.training.distill import RECIPES, Distillation, train_distill

MIRRORED = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
SMALL = Distillation(hidden=(16,), layer_norm=False, dropout=0.0, epochs=1, batch=256)
LEARNS = replace(RECIPES["v1"], epochs=10, batch=256)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def video(seed: int, frames: int = 200) -> tuple[Tensor, Tensor]:
    """Landmarks ``[n, 68, 2]`` of one person who looks about, and rotation vectors ``[n, 3]``."""
    source = random(seed)
    rotvec = torch.randn(frames, 3, generator=source) * torch.tensor([0.25, 0.4, 0.25])
    rotvec = rotvec.clamp(-1.2, 1.2)  # within the limits of the recipe
    person = 0.5 * torch.randn(68, 2, generator=source)  # pixels, of a face of 200
    return project_face(rotvec) + person, rotvec


def mirror(landmarks: Tensor) -> Tensor:
    return landmarks[:, list(MIRROR_68)] * torch.tensor([-1.0, 1.0])


def pose_of(rotvec: Tensor) -> Tensor:
    """``[n, 6]`` what the teacher says, in convention ``img2pose``; symmetric as heads are."""
    rx, ry, rz = rotvec.unbind(1)
    return torch.stack([rx, ry, rz, ry.sin(), rx.cos(), 8 + rx], dim=1)


def table_of(landmarks: Tensor, pose: Tensor, convention: str = "feat") -> pd.DataFrame:
    table = pd.DataFrame(landmarks.mT.reshape(-1, 136).numpy(), columns=landmark_columns())
    table.insert(0, "FaceScore", 0.95)
    table[FEAT_FACEPOSE_COLUMNS_6D] = convert_pose(pose, "img2pose", convention).numpy()
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


def write_videos(folder: Path, count: int, *, suffix: str = ".parquet", **options) -> list[Path]:
    tables = []
    for seed in range(count):
        landmarks, rotvec = video(seed)
        tables.append(table_of(landmarks, pose_of(rotvec), **options))
    folder.mkdir(exist_ok=True)
    return [write(table, folder / f"{seed:03d}{suffix}") for seed, table in enumerate(tables)]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return write_videos(tmp_path / "clips", 4)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "student.safetensors"


def answers(checkpoint: Path, landmarks: Tensor) -> Tensor:
    """``[n, 6]`` what the written network says, convention ``img2pose``."""
    student = read_checkpoint(checkpoint)
    with torch.no_grad():
        return student.model(normalise(landmarks)) * student.std + student.mean


def differences(found: Tensor, expected: Tensor) -> list[float]:
    """Mean absolute difference of each axis: degrees, then units."""
    difference = (found - expected).abs().mean(dim=0)
    return [*difference[:3].rad2deg().tolist(), *difference[3:].tolist()]


def read_card(checkpoint: Path) -> dict:
    return json.loads(checkpoint.with_suffix(".json").read_text())


def both_files(checkpoint: Path) -> tuple[bytes, bytes]:
    return checkpoint.read_bytes(), checkpoint.with_suffix(".json").read_bytes()


# The teacher is learned


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory):
    """A student of each architecture, and the network that was its teacher."""
    folder = tmp_path_factory.mktemp("taught")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = PoseMLP((64,), 0.0, False).requires_grad_(False)
    landmarks, rotvec = map(torch.cat, zip(*(video(seed) for seed in range(100, 120)), strict=True))
    hidden = network.net[:-1](normalise(landmarks))
    network.net[-1].bias.zero_()
    network.net[-1].weight.copy_(torch.linalg.lstsq(hidden, pose_of(rotvec)).solution.mT)

    def teacher(landmarks: Tensor) -> Tensor:
        pose, pose_of_mirror = (network(normalise(each)) for each in (landmarks, mirror(landmarks)))
        return (pose + pose_of_mirror * MIRRORED) / 2

    clips = []
    for seed in range(40):
        landmarks, _ = video(seed)
        clips.append(write(table_of(landmarks, teacher(landmarks)), folder / f"{seed}.parquet"))
    students = {}
    for name, recipe in RECIPES.items():
        output = folder / f"{name}.safetensors"
        settings = replace(recipe, epochs=12, batch=128)
        students[name] = output, train_distill(clips, output, settings=settings)
    return teacher, students


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("v1", ((256, 128, 64), False, 0.0)), ("v2", ((512, 256, 128), True, 0.15))],
)
def test_a_teacher_network_is_learned_below_one_degree(name, architecture, taught) -> None:
    teacher, students = taught
    checkpoint, distilled = students[name]
    model = read_checkpoint(checkpoint).model
    assert (model.hidden, model.layer_norm, model.dropout) == architecture
    assert max(distilled.errors[-1][:3]) < 1
    unseen = torch.cat([video(seed)[0] for seed in range(1000, 1010)])
    truth = teacher(unseen)
    assert truth[:, :3].std(dim=0).rad2deg().min() > 5
    assert max(differences(answers(checkpoint, unseen), truth)[:3]) < 1


def test_errors_are_those_of_the_written_weights_on_the_validation_clips(taught) -> None:
    teacher, students = taught
    for checkpoint, distilled in students.values():
        landmarks = torch.cat([video(int(clip.stem))[0] for clip in distilled.validation_clips])
        pose = teacher(landmarks)
        kept = (pose[:, :2].abs().rad2deg() < 75).all(dim=1)
        found = differences(answers(checkpoint, landmarks[kept]), pose[kept])
        np.testing.assert_allclose(distilled.errors[-1], found, rtol=1e-3)


def test_pyfeat_loads_the_students_and_says_the_same(taught, tmp_path: Path) -> None:
    landmarks = video(2000)[0]
    np.save(tmp_path / "landmarks.npy", landmarks.numpy())
    checkpoints = [checkpoint for checkpoint, _ in taught[1].values()]
    code = f"""
import os, sys
import numpy as np, torch
from feat.utils import face_pose_mlp
landmarks = torch.from_numpy(np.load("landmarks.npy"))
poses = []
for path in sys.argv[1:]:
    os.environ[{PATH_VARIABLE!r}] = path
    face_pose_mlp._CACHE.clear()
    poses.append(face_pose_mlp.pose_from_landmarks_mlp(landmarks).numpy())
np.save("poses.npy", poses)
"""
    subprocess.run([sys.executable, "-c", code, *checkpoints], cwd=tmp_path, check=True)
    for checkpoint, pose in zip(checkpoints, np.load(tmp_path / "poses.npy"), strict=True):
        np.testing.assert_allclose(answers(checkpoint, landmarks), pose, rtol=0, atol=1e-5)


def test_faces_seen_on_one_side_are_known_on_the_other(tmp_path: Path, output: Path) -> None:
    one_sided = []
    for seed in range(20):
        landmarks, rotvec = video(seed)
        to_one_side = rotvec[:, 1] > 0
        table = table_of(landmarks[to_one_side], pose_of(rotvec[to_one_side]))
        one_sided.append(write(table, tmp_path / f"{seed}.parquet"))
    train_distill(one_sided, output, settings=LEARNS)
    landmarks, rotvec = video(1000)
    found = answers(output, landmarks)
    assert max(differences(found, pose_of(rotvec))[:3]) < 2
    assert max(differences(answers(output, mirror(landmarks)), found * MIRRORED)[:3]) < 2


def test_output_is_standardised_by_the_training_rows_and_their_mirror_images(
    clips: list[Path], output: Path
) -> None:
    done = train_distill(clips, output, settings=SMALL)
    pose = torch.cat([pose_of(video(int(clip.stem))[1]) for clip in done.training_clips]).double()
    images = torch.cat([pose, pose * MIRRORED])
    student = read_checkpoint(output)
    torch.testing.assert_close(student.mean, images.mean(dim=0).float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(student.std, images.std(dim=0, correction=0).float())


def test_a_column_that_never_changes_is_given_back(tmp_path: Path, output: Path) -> None:
    clips = []
    for seed in range(2):
        landmarks, rotvec = video(seed)
        pose = pose_of(rotvec)
        pose[:, 5] = 7.3
        clips.append(write(table_of(landmarks, pose), tmp_path / f"{seed}.csv"))
    train_distill(clips, output, settings=replace(SMALL, epochs=10))
    assert answers(output, video(9)[0])[:, 5].mean() == pytest.approx(7.3, abs=0.1)


# Nothing leaks


def test_each_clip_is_on_one_side(tmp_path: Path, output: Path) -> None:
    clips = write_videos(tmp_path / "clips", 10)
    sides = []
    for share, seed in ((0.3, 0), (0.3, 1), (0.001, 0), (0.999, 0)):
        done = train_distill(
            clips, output, settings=replace(SMALL, validation_share=share), seed=seed
        )
        assert set(done.training_clips).isdisjoint(done.validation_clips)
        assert {*done.training_clips, *done.validation_clips} == set(clips)
        sides.append(set(done.validation_clips))
    assert [len(side) for side in sides] == [3, 3, 1, 9]
    assert sides[0] != sides[1]


@pytest.mark.slow
def test_what_only_a_clip_of_the_other_side_could_tell_is_not_known(
    tmp_path: Path, output: Path
) -> None:
    """Each clip is one frame many times, and its pose is drawn by lot.

    A network can learn the lots of training clips by heart, and those of validation clips only if
    one of their frames has crossed.
    """
    faces, lots = video(0, frames=8)[0], 0.5 * torch.randn(8, 6, generator=random(1))
    clips = [
        write(table_of(face.repeat(300, 1, 1), lot.repeat(300, 1)), tmp_path / f"{place}.parquet")
        for place, (face, lot) in enumerate(zip(faces, lots, strict=True))
    ]
    settings = replace(LEARNS, jitter_sd=0.0, validation_share=0.25, epochs=40)
    done = train_distill(clips, output, settings=settings)
    found = answers(output, faces)
    for clip in done.training_clips:
        place = int(clip.stem)
        assert max(differences(found[place, None], lots[place, None])[:3]) < 2
    assert min(done.errors[-1][:3]) > 10


def test_a_copy_of_a_clip_is_left_out_and_counted(tmp_path: Path, output: Path) -> None:
    clips = write_videos(tmp_path / "clips", 3, suffix=".csv")
    (tmp_path / "moved").mkdir()
    copies = [
        clips[0],
        write(pd.read_csv(clips[1]), tmp_path / "moved" / "other name.csv"),
        write(pd.read_csv(clips[2]), tmp_path / "moved" / "other form.parquet"),
    ]
    train_distill(clips, output, settings=SMALL)
    alone = output.read_bytes()
    done = train_distill([*clips, *copies], output, settings=SMALL)
    assert output.read_bytes() == alone
    assert len(done.training_clips + done.validation_clips) == 3
    assert read_card(output)["data"]["rows_left_out"]["copy_of_another_clip"] == 3 * 200


# What is left out


def test_rows_are_left_out_for_a_reason_that_is_counted(
    clips: list[Path], output: Path, tmp_path: Path
) -> None:
    degrees = torch.zeros(20, 3)
    degrees[:4, 0] = torch.tensor([74.9, -74.9, 75.1, -75.1])
    degrees[4:8, 1] = torch.tensor([74.9, 75.1, -75.1, -90.0])
    degrees[8:12, 2] = torch.tensor([75.1, -75.1, 120.0, -175.0])
    rotvec = degrees.deg2rad()
    table = table_of(project_face(rotvec), pose_of(rotvec))
    table["x_0"] += np.arange(20)
    table.loc[12, landmark_columns()] = np.nan
    table.loc[13, "y_5"] = np.inf
    table.loc[14, ["x_36", "y_36"]] = table.loc[14, ["x_45", "y_45"]].to_numpy()
    table.loc[15, "Yaw"] = np.nan
    table.loc[16, "Z"] = np.inf
    table["FaceScore"] = 0.81
    table.loc[17, "FaceScore"] = 0.8
    table.loc[18, "FaceScore"] = np.nan
    table.loc[19, ["x_0", "Pitch", "FaceScore"]] = np.nan  # counted once
    for suffix in (".csv", ".parquet"):
        odd = write(table, tmp_path / f"odd{suffix}")
        done = train_distill([*clips, odd], output, settings=SMALL)
        assert odd in done.training_clips + done.validation_clips
        data = read_card(output)["data"]
        assert data["rows_left_out"] == {
            "copy_of_another_clip": 0,
            "landmarks_not_usable": 4,
            "pose_missing": 2,
            "face_score_too_low": 2,
            "turned_too_far": 5,
        }
        assert data["training"]["rows"] + data["validation"]["rows"] == 4 * 200 + 7
        assert data["training"]["clips"] + data["validation"]["clips"] == 5


# One clip, whatever its form


def test_convention_and_format_do_not_matter(tmp_path: Path, output: Path) -> None:
    weights = set()
    for convention, suffix in (("feat", ".csv"), ("feat", ".parquet"), ("img2pose", ".csv")):
        clips = write_videos(
            tmp_path / f"{convention}{suffix}", 3, suffix=suffix, convention=convention
        )
        train_distill(clips, output, settings=SMALL, convention=convention)
        assert read_card(output)["data"]["teacher_convention"] == convention
        weights.add(output.read_bytes())
    assert len(weights) == 1


def test_same_seed_same_files(clips: list[Path], output: Path) -> None:
    settings = replace(SMALL, epochs=2, dropout=0.2)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    train_distill(clips, output, settings=settings, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    first = both_files(output)
    torch.manual_seed(2)
    train_distill(clips, output, settings=settings, seed=3)
    assert both_files(output) == first
    train_distill(clips, output, settings=settings, seed=4)
    assert both_files(output)[0] != first[0]


def test_model_card_says_how_it_came_about(clips: list[Path], output: Path, capsys) -> None:
    settings = replace(SMALL, epochs=3)
    done = train_distill(clips, output, settings=settings, seed=5)
    card = read_card(output)
    assert card["architecture"]["output"] == "euler_angles"
    assert card["seed"] == 5
    assert card["training"]["jitter_sd"] == 0.015
    assert card["training"]["learning_rate"] == 1e-3
    assert card["versions"]["torch"] == torch.__version__
    assert card["data"]["validation"] == {"clips": 1, "rows": 200}
    figures = card["figures"]["validation_error_by_epoch"]
    assert figures == [errors._asdict() for errors in done.errors]
    assert len(figures) == 3
    assert capsys.readouterr().out == ""


# Bad input


@pytest.mark.parametrize("column", ["FaceScore", *FEAT_FACEPOSE_COLUMNS_6D])
def test_missing_column_is_named(column: str, clips: list[Path], output: Path) -> None:
    write(pd.read_parquet(clips[2]).drop(columns=column), clips[2])
    with pytest.raises(TrainingError, match=rf"{clips[2].name} has no column {column}\."):
        train_distill(clips, output, settings=SMALL)
    assert sorted(output.parent.iterdir()) == [clips[0].parent]


def test_text_is_refused(clips: list[Path], output: Path) -> None:
    table = pd.read_parquet(clips[1])
    bad = clips[1].with_suffix(".csv")
    for column, error in (
        ("FaceScore", TrainingError),
        ("Roll", TrainingError),
        ("x_3", LandmarkError),
    ):
        write(table.assign(**{column: "sure"}), bad)
        with pytest.raises(error, match=rf"{bad.name}: .*'sure'"):
            train_distill([clips[0], bad], output, settings=SMALL)


def test_rows_that_would_not_fit_in_memory_are_refused(
    clips: list[Path], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "_MOST_ROWS", 700)
    with pytest.raises(TrainingError, match="more than 700 rows"):
        train_distill(clips, output, settings=SMALL)


@pytest.mark.parametrize("kept", [[], [0], [0, 0]], ids=["none", "one", "one twice"])
def test_two_clips_are_needed(kept: list[int], clips: list[Path], output: Path) -> None:
    with pytest.raises(TrainingError, match=rf"^{min(len(kept), 1)} clips have rows.*at least 2"):
        train_distill([clips[place] for place in kept], output, settings=SMALL)
    assert not output.exists()


def test_tables_that_cannot_be_read(clips: list[Path], output: Path, tmp_path: Path) -> None:
    no_parquet, empty, text, folder = (
        tmp_path / name for name in ("no.parquet", "empty.csv", "clip.txt", "folder.csv")
    )
    no_parquet.write_text("x_0,y_0\n")
    empty.touch()
    text.touch()
    folder.mkdir()
    for path in (no_parquet, empty, text, folder, tmp_path / "nowhere.csv"):
        with pytest.raises(TableError, match=path.name):
            train_distill([*clips, path], output, settings=SMALL)


def test_unknown_convention(clips: list[Path], output: Path) -> None:
    with pytest.raises(ConventionError, match="'feat' or 'img2pose', got '300w-lp'"):
        train_distill(clips, output, settings=SMALL, convention="300w-lp")


def test_folder_of_the_output_is_missing(clips: list[Path], output: Path) -> None:
    with pytest.raises(TrainingError, match="nowhere is no folder"):
        train_distill(clips, output.parent / "nowhere" / output.name, settings=SMALL)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": ()},
        {"hidden": (64, 0)},
        {"epochs": 0},
        {"batch": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
        {"jitter_sd": -0.1},
    ],
)
def test_settings_that_cannot_be(settings: dict) -> None:
    with pytest.raises(TrainingError, match=f"{next(iter(settings))}="):
        Distillation(**settings)
