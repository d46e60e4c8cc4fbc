"""Distillation: a teacher is learned, nothing leaks between the sides, nothing is lost unsaid."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.errors import ConventionError, LandmarkError, TableError, TrainingError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint
from feat_pose_plugin.mlp.model import normalise
from feat_pose_plugin.mlp.pose_mlp import MLPBackend
from feat_pose_plugin.mlp.weights import PATH_VARIABLE
from feat_pose_plugin.pose.conventions import FEAT_FACEPOSE_COLUMNS_6D as POSE
from feat_pose_plugin.pose.landmarks import MIRROR_68, landmark_columns
from feat_pose_plugin.testing import project_face
from feat_pose_plugin.training.distill import RECIPES, Distillation, train_distill

MIRRORED = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
SMALL = Distillation(hidden=(16,), layer_norm=False, dropout=0.0, epochs=1, batch=256)
LEARNS = replace(RECIPES["v1"], epochs=12, batch=128)


def video(seed: int, frames: int = 200) -> tuple[Tensor, Tensor]:
    """Landmarks ``[n, 68, 2]`` of somebody who looks about, and what a teacher says of them.

    ``[n, 6]`` the Euler angles about x, y and z of their true rotation, as py-feat's network gives
    them (``R = Rz Ry Rx``), and a translation that follows from them; symmetric as heads are.
    """
    generator = np.random.default_rng(seed)
    euler = (generator.normal(size=(frames, 3)) * [0.25, 0.4, 0.25]).clip(-1.2, 1.2)
    turn = Rotation.from_euler("xyz", euler)  # fixed axes, x first
    person = 0.5 * generator.normal(size=(68, 2))  # pixels, of a face of 200
    landmarks = project_face(torch.from_numpy(turn.as_rotvec()).float()) + torch.tensor(person)
    x, y, _ = euler.T
    pose = np.column_stack([euler, np.sin(y), np.cos(x), 8 + x])
    return landmarks.float(), torch.from_numpy(pose).float()


def mirror(landmarks: Tensor) -> Tensor:
    return landmarks[:, list(MIRROR_68)] * torch.tensor([-1.0, 1.0])


def table_of(landmarks: Tensor, pose: Tensor, convention: str = "feat") -> pd.DataFrame:
    table = pd.DataFrame(landmarks.mT.reshape(-1, 136).numpy(), columns=landmark_columns())
    table.insert(0, "FaceScore", 0.95)
    values = pose.numpy()
    if convention == "feat":
        values = values[:, [0, 2, 1, 3, 4, 5]] * np.float32([-1, -1, 1, 1, 1, 1])
    table[POSE] = values
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


def write_videos(folder: Path, count: int, suffix: str = ".parquet", **options) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [
        write(table_of(*video(seed), **options), folder / f"{seed:03d}{suffix}")
        for seed in range(count)
    ]


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


# The teacher is learned


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory):
    """A student of each architecture, and what its run said."""
    folder = tmp_path_factory.mktemp("taught")
    clips = write_videos(folder, 20)
    students = {}
    for name, recipe in RECIPES.items():
        output = folder / f"{name}.safetensors"
        settings = replace(recipe, epochs=10, batch=128)
        students[name] = output, train_distill(clips, output, settings=settings)
    return students


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("v1", ((256, 128, 64), False, 0.0)), ("v2", ((512, 256, 128), True, 0.15))],
)
def test_a_teacher_is_learned(name, architecture, taught) -> None:
    checkpoint, distilled = taught[name]
    model = read_checkpoint(checkpoint).model
    assert (model.hidden, model.layer_norm, model.dropout) == architecture
    last = distilled.errors[-1]
    assert max(last[axis] for axis in ("rx_deg", "ry_deg", "rz_deg")) < 1.5
    landmarks, truth = map(torch.cat, zip(*map(video, range(1000, 1010)), strict=True))
    assert max(differences(answers(checkpoint, landmarks), truth)[:3]) < 1.5

    # What is said to be left is left, of the weights that were written.
    landmarks, pose = map(
        torch.cat, zip(*(video(int(c.stem)) for c in distilled.validation_clips), strict=True)
    )
    found = differences(answers(checkpoint, landmarks), pose)
    np.testing.assert_allclose(list(last.values()), found, rtol=1e-3)


def test_pyfeat_loads_the_students_and_means_the_same(taught, tmp_path: Path) -> None:
    """py-feat's own loader, and its columns: what a user of either sees is one turn of the head."""
    # Turned in two ways at once, where Euler angles are degrees away from a rotation vector.
    euler = np.deg2rad([(x, y, 5.0) for x in (-20, 20) for y in (-35, 35)] * 10)
    turn = Rotation.from_euler("xyz", euler)
    assert np.rad2deg(np.abs(turn.as_rotvec() - euler)).max(axis=1).min() > 4
    landmarks = project_face(torch.from_numpy(turn.as_rotvec()).float())
    np.save(tmp_path / "landmarks.npy", landmarks.numpy())
    checkpoints = [checkpoint for checkpoint, _ in taught.values()]
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
    for checkpoint, theirs in zip(checkpoints, np.load(tmp_path / "poses.npy"), strict=True):
        backend = MLPBackend("student", "mine", {"2d": checkpoint})
        ours = estimate_pose(landmarks, pose_model=backend, convention="img2pose")
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
        # As py-feat's detectors write them: Pitch, Roll, Yaw.
        theirs_in_feat = np.stack([-theirs[:, 0], -theirs[:, 2], theirs[:, 1]], axis=1)
        ours = estimate_pose(landmarks, pose_model=backend, convention="feat")[POSE[:3]]
        np.testing.assert_allclose(ours, theirs_in_feat, rtol=0, atol=1e-5)
        ours = estimate_pose(landmarks, pose_model=backend, convention="img2pose")[POSE[:3]]
        said = Rotation.from_euler("xyz", ours.to_numpy())
        assert np.rad2deg((said.inv() * turn).magnitude()).mean() < 2


def test_faces_seen_on_one_side_are_known_on_the_other(tmp_path: Path, output: Path) -> None:
    one_sided = []
    for seed in range(20):
        landmarks, pose = video(seed)
        to_one_side = pose[:, 1] > 0
        table = table_of(landmarks[to_one_side], pose[to_one_side])
        one_sided.append(write(table, tmp_path / f"{seed}.parquet"))
    train_distill(one_sided, output, settings=LEARNS)
    landmarks, pose = video(1000)
    found = answers(output, landmarks)
    assert max(differences(found, pose)[:3]) < 2
    assert max(differences(answers(output, mirror(landmarks)), found * MIRRORED)[:3]) < 2


def test_output_is_standardised_by_the_training_rows_and_their_mirror_images(
    tmp_path: Path, output: Path
) -> None:
    clips = []
    for seed in range(4):
        landmarks, pose = video(seed)
        pose[:, 5] = 7.3  # a column that never changes is given back
        clips.append(write(table_of(landmarks, pose), tmp_path / f"{seed}.csv"))
    done = train_distill(clips, output, settings=SMALL)
    pose = torch.cat([video(int(clip.stem))[1] for clip in done.training_clips]).double()
    images = torch.cat([pose, pose * MIRRORED])[:, :5]
    student = read_checkpoint(output)
    torch.testing.assert_close(student.mean[:5], images.mean(dim=0).float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(student.std[:5], images.std(dim=0, correction=0).float())
    assert (student.mean[5].item(), student.std[5].item()) == pytest.approx((7.3, 1))


# Nothing leaks


def test_each_clip_is_on_one_side(tmp_path: Path, output: Path) -> None:
    clips = write_videos(tmp_path / "clips", 10)
    sides = []
    for share, seed in ((0.3, 0), (0.3, 1), (0.001, 0), (0.999, 0)):
        settings = replace(SMALL, validation_share=share)
        done = train_distill(clips, output, settings=settings, seed=seed)
        assert set(done.training_clips).isdisjoint(done.validation_clips)
        assert {*done.training_clips, *done.validation_clips} == set(clips)
        sides.append(set(done.validation_clips))
    assert [len(side) for side in sides] == [3, 3, 1, 9]
    assert sides[0] != sides[1]


def test_what_only_a_clip_of_the_other_side_could_tell_is_not_known(
    tmp_path: Path, output: Path
) -> None:
    """Each clip is one frame many times, and its pose is drawn by lot.

    A network can learn the lots of training clips by heart, and those of validation clips only if
    one of their frames has crossed.
    """
    lots = 0.5 * torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    faces = video(0, frames=8)[0]
    clips = [
        write(table_of(face.repeat(50, 1, 1), lot.repeat(50, 1)), tmp_path / f"{place}.parquet")
        for place, (face, lot) in enumerate(zip(faces, lots, strict=True))
    ]
    settings = replace(
        LEARNS, jitter_sd=0.0, validation_share=0.25, epochs=60, batch=50, learning_rate=3e-3
    )
    done = train_distill(clips, output, settings=settings)
    found = answers(output, faces)
    for clip in done.training_clips:
        place = int(clip.stem)
        assert max(differences(found[place, None], lots[place, None])[:3]) < 3
    assert min(list(done.errors[-1].values())[:3]) > 10


# What is left out


def test_rows_are_left_out_for_a_reason_that_is_counted(
    clips: list[Path], output: Path, tmp_path: Path
) -> None:
    degrees = torch.zeros(20, 6)
    degrees[:4, 0] = torch.tensor([74.9, -74.9, 75.1, -75.1])
    degrees[4:8, 1] = torch.tensor([74.9, 75.1, -75.1, -89.0])
    degrees[8:12, 2] = torch.tensor([75.1, -75.1, 120.0, -175.0])
    table = table_of(video(9, frames=20)[0], degrees.deg2rad())
    table["FaceScore"] = 0.81
    table.loc[12, landmark_columns()] = np.nan
    table.loc[13, "y_5"] = np.inf
    table.loc[14, ["x_36", "y_36"]] = table.loc[14, ["x_45", "y_45"]].to_numpy()
    table.loc[15, "Yaw"] = np.nan
    table.loc[16, "Z"] = np.inf
    table.loc[17, "FaceScore"] = 0.8
    table.loc[18, "FaceScore"] = np.nan
    table.loc[19, ["x_0", "Pitch", "FaceScore"]] = np.nan  # counted once
    for suffix in (".csv", ".parquet"):
        odd = write(table, tmp_path / f"odd{suffix}")
        done = train_distill([*clips, odd], output, settings=SMALL)
        assert odd in done.training_clips + done.validation_clips
        data = read_card(output)["data"]
        assert data["rows_left_out"] == {
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
        folder = tmp_path / f"{convention}{suffix}"
        clips = write_videos(folder, 3, suffix, convention=convention)
        train_distill(clips, output, settings=SMALL, convention=convention)
        assert read_card(output)["data"]["teacher_convention"] == convention
        weights.add(output.read_bytes())
    assert len(weights) == 1


def test_same_seed_same_files(clips: list[Path], output: Path) -> None:
    files = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)  # which must not matter
        state = torch.random.get_rng_state()
        settings = replace(SMALL, epochs=2, dropout=0.2)
        train_distill(clips, output, settings=settings, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        files.append((output.read_bytes(), output.with_suffix(".json").read_bytes()))
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


def test_every_setting_matters(tmp_path: Path, output: Path) -> None:
    """A setting that changes no weight would be a promise that the code does not keep."""
    others = {
        "hidden": (8,),
        "layer_norm": True,
        "dropout": 0.3,
        "face_score_above": 0.9,
        "turned_below_deg": 20.0,
        "jitter_sd": 0.1,
        "validation_share": 0.5,
        "epochs": 2,
        "batch": 100,
        "learning_rate": 1e-2,
        "weight_decay": 0.5,
    }
    assert others.keys() == {field.name for field in fields(Distillation)}
    clips = write_videos(tmp_path / "clips", 4)
    changed(clips[0], FaceScore=np.linspace(0.85, 0.95, 200))
    changed(clips[1], FaceScore=np.linspace(0.85, 0.95, 200))
    written = set()
    for other in ({}, *({name: value} for name, value in others.items())):
        train_distill(clips, output, settings=replace(SMALL, **other))
        assert output.read_bytes() not in written, other
        written.add(output.read_bytes())


def test_model_card_says_how_it_came_about(clips: list[Path], output: Path, capsys) -> None:
    done = train_distill(clips, output, settings=replace(SMALL, epochs=3), seed=5)
    card = read_card(output)
    assert card["architecture"]["output"] == "euler_angles"
    assert card["seed"] == 5
    assert card["training"]["jitter_sd"] == 0.015
    assert card["training"]["learning_rate"] == 1e-3
    assert card["versions"]["torch"] == torch.__version__
    assert card["data"]["validation"] == {"clips": 1, "rows": 200}
    assert card["figures"]["validation_error_by_epoch"] == list(done.errors)
    assert len(done.errors) == 3
    assert capsys.readouterr().out == ""


# Bad input


def changed(path: Path, **columns: object) -> Path:
    """A clip with other columns, None for those that it shall lack."""
    table = pd.read_parquet(path).assign(**columns)
    return write(table.drop(columns=[name for name in columns if columns[name] is None]), path)


@pytest.mark.parametrize(
    ("column", "value", "error", "match"),
    [
        *((name, None, TrainingError, f"no column {name}") for name in ("FaceScore", *POSE)),
        ("x_3", None, LandmarkError, "'x_3'"),
        ("FaceScore", "sure", ConventionError, "'FaceScore'.*'sure'"),
        ("Roll", "sure", ConventionError, "'Roll'.*'sure'"),
        ("x_3", "sure", LandmarkError, "'x_3'.*'sure'|'sure'"),
    ],
)
def test_what_is_no_clip_is_named(clips, output, column, value, error, match) -> None:
    changed(clips[2], **{column: value})
    with pytest.raises(error, match=rf"{clips[2].name}: .*{match}"):
        train_distill(clips, output, settings=SMALL)
    assert not output.exists()


@pytest.mark.parametrize("count", [0, 1])
def test_two_clips_are_needed(count: int, clips: list[Path], output: Path) -> None:
    blank = changed(clips[3], FaceScore=0.0)
    with pytest.raises(
        TrainingError, match=rf"^{count} clips have rows.*'face_score_too_low': 200"
    ):
        train_distill([*clips[:count], blank], output, settings=SMALL)


@pytest.mark.parametrize("name", ["no.parquet", "clip.txt", "folder.csv", "nowhere.csv"])
def test_tables_that_cannot_be_read(clips, output, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder.csv":
        path.mkdir()
    elif name != "nowhere.csv":
        path.write_text("x_0,y_0\n")
    with pytest.raises(TableError, match=name):
        train_distill([*clips, path], output, settings=SMALL)


def test_options_that_cannot_be(clips: list[Path], output: Path) -> None:
    with pytest.raises(ConventionError, match="'feat' or 'img2pose', got '300w-lp'"):
        train_distill(clips, output, settings=SMALL, convention="300w-lp")
    with pytest.raises(TrainingError, match="nowhere is no folder"):
        train_distill(clips, output.parent / "nowhere" / output.name, settings=SMALL)
    for wrong in ({"hidden": ()}, {"hidden": (64, 0)}, {"epochs": 0}, {"batch": 0}):
        with pytest.raises(TrainingError, match=f"{next(iter(wrong))}="):
            Distillation(**wrong)
