"""What `pose_mlp_synth` promises, measured on the bundled weights, and what page and cards say."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import accuracy
import numpy as np
import pandas as pd
import pytest
import trust
from accuracy import Table

from feat_pose_plugin import estimate_pose, get_pose_backend
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.training.face_model import read_face_model

TURNED = [
    ("landmarks_pfld", "2d"),
    ("landmarks_mobilefacenet", "2d"),
    ("landmarks_projected", "3d"),
]


@functools.cache
def measured(data: Path) -> dict[str, Table]:
    return accuracy.measure(data, get_pose_backend("pose_mlp_synth"))


@pytest.fixture
def tables(shared_data: Path) -> dict[str, Table]:
    return measured(shared_data)


def row(table: Table, **wanted: str) -> pd.Series:
    rows = table.rows
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


# AFLW2000-3D


@pytest.mark.parametrize(
    ("landmarks", "most"), [("landmarks", 1.40), ("landmarks_reannotated", 3.05)]
)
def test_aflw2000_straight_from_estimate_pose(
    shared_data: Path, tables: dict[str, Table], landmarks: str, most: float
) -> None:
    with np.load(shared_data / "aflw2000_dev.npz") as file:
        pose = estimate_pose(file[landmarks], landmark_model="3d", convention="300w-lp")
        known = file["pitch_yaw_roll_deg"]
    assert len(known) == 985
    error = (pose[["Pitch", "Yaw", "Roll"]].to_numpy() - known + 180) % 360 - 180
    mae = np.abs(error).mean()
    assert mae <= most
    figures = row(tables["aflw2000"], network="3d", landmarks=landmarks)
    assert figures["mae"] == pytest.approx(mae, abs=1e-3)


# Official v2


def test_official_v2_on_video(tables: dict[str, Table], shared_data: Path) -> None:
    figures = row(tables["official_v2"], network="2d")
    assert figures["faces"] == 225
    assert (figures[["rx", "ry", "rz"]].astype(float) <= [1.4, 0.9, 1.25]).all()
    table = pd.read_csv(shared_data / "pyfeat_pose_mlp_v2_dev.csv")
    ours = estimate_pose(table, landmark_model="2d", convention="img2pose")
    apart = np.rad2deg((ours - table[ours.columns])[["Pitch", "Roll", "Yaw"]])
    np.testing.assert_allclose(apart.abs().mean(), figures[["rx", "ry", "rz"]], atol=5e-3)
    assert ((apart - apart.mean()).abs().mean() <= [1.25, 0.5, 0.4]).all()


# Turns


@pytest.mark.parametrize(("landmarks", "network"), TURNED)
@pytest.mark.parametrize(
    ("sweep", "angles", "low", "high"),
    [("yaw", ["10", "20", "30", "40", "50"], 0.93, 1.07), ("pitch", ["10", "20"], 0.9, 1.1)],
)
def test_a_turn_is_read_in_full(
    tables: dict[str, Table],
    landmarks: str,
    network: LandmarkKind,
    sweep: str,
    angles: list[str],
    low: float,
    high: float,
) -> None:
    figures = row(tables["turn_gains"], landmarks=landmarks, network=network, sweep=sweep)
    gains = figures[angles].astype(float)
    assert gains.between(low, high).all(), gains.to_dict()


@pytest.mark.parametrize(("landmarks", "network"), TURNED)
def test_error_of_the_yaw_sweep(
    tables: dict[str, Table], landmarks: str, network: LandmarkKind
) -> None:
    figures = row(tables["turn_errors"], landmarks=landmarks, network=network)
    assert figures["faces"] == 11
    assert figures["geodesic_mean"] <= {"2d": 4.0, "3d": 1.5}[network]


# The jaw


@pytest.mark.parametrize("jaw", accuracy.JAW_HABITS)
def test_each_habit_of_the_jaw_has_its_network(tables: dict[str, Table], jaw: str) -> None:
    network = "3d" if "(3d)" in jaw else "2d"
    figures = row(tables["jaw_habits"], jaw=jaw, network=network)
    assert figures["all"] <= 3.2
    assert figures["yaw 60-95"] <= 3.5


def test_no_habit_of_the_jaw_is_mistaken_for_detectorv2s_block(shared_data: Path) -> None:
    face = read_face_model(shared_data / "ict_facekit_face.npz")
    for recipe in accuracy.JAW_HABITS.values():
        points, _ = accuracy.synthetic_faces(face, recipe, 2_000)
        assert [model.kind for model in read_landmarks(points).models] == ["2d"]


# Meshes


@pytest.mark.parametrize(
    ("layout", "camera", "most"),
    [
        ("our 68 vertices", "far away", 2.0),
        ("our 68 vertices", "at 50 cm", 2.3),
        ("Detectorv2's block", "far away", 3.0),
        ("Detectorv2's block", "at 50 cm", 3.0),
    ],
)
def test_canonical_face_under_known_turns(
    tables: dict[str, Table], layout: str, camera: str, most: float
) -> None:
    figures = row(tables["canonical_face"], layout=layout, camera=camera)
    assert figures["geodesic_mean"] <= most


@pytest.mark.parametrize(
    ("layout", "most_apart", "most_around"),
    [
        ("mesh_detectorv2", 2.5, [1.7, 0.8, 0.6]),
        ("landmarks_detectorv2_block", 4.0, [2.5, 0.9, 0.9]),
    ],
)
def test_one_head_has_one_pose(
    tables: dict[str, Table], layout: str, most_apart: float, most_around: list[float]
) -> None:
    figures = row(tables["layouts"], layout=layout)
    apart = figures[["mean rx", "mean ry", "mean rz"]].astype(float)
    around = figures[["around it rx", "around it ry", "around it rz"]].astype(float)
    assert apart.abs().max() <= most_apart, apart.to_dict()
    assert (around <= most_around).all(), around.to_dict()


# Translation, frames of rotation, trust


@pytest.mark.parametrize("solver", ["SQPnP", "SQPnP, refined"])
@pytest.mark.parametrize(
    ("landmarks", "most"), [("landmarks", 0.06), ("landmarks_reannotated", 0.09)]
)
def test_translation_on_aflw2000(
    tables: dict[str, Table], solver: str, landmarks: str, most: float
) -> None:
    wanted = {"landmarks": landmarks, "target solved by": solver}
    assert row(tables["translation"], **wanted)["mean"] <= most


def test_a_head_that_moves_and_does_not_turn(tables: dict[str, Table]) -> None:
    rows = tables["moved_heads"].rows
    assert len(rows) == len(trust.MOVED_HEADS_DEG)
    assert rows["camera, largest"].max() <= 2.5
    assert (rows["line of sight, largest"] - rows["largest ray"]).abs().max() <= 2.5


@pytest.mark.parametrize("landmarks", ["landmarks", "landmarks_reannotated"])
@pytest.mark.parametrize(
    ("corruption", "least"),
    [
        ("noise of 5 %", 0.9),
        ("mouth displaced by 20 %", 0.8),
        ("jaw displaced by 20 %", 0.7),
        ("mouth of another face", 0.8),
        ("jaw of another face", 0.8),
        ("half of all points of another face", 0.8),
    ],
)
def test_the_residual_ranks_what_went_wrong(
    tables: dict[str, Table], landmarks: str, corruption: str, least: float
) -> None:
    wanted = {"data": f"AFLW2000-3D, {landmarks}", "what went wrong": corruption}
    assert row(tables["residual_ranks"], **wanted)["AUROC"] >= least


def test_limits_are_those_of_the_training_faces(tables: dict[str, Table]) -> None:
    rows = tables["limits"].rows
    assert rows["share below it"].between(0.895, 0.905).all()
    assert rows["share above it"].between(0.988, 0.992).all()


def test_few_real_faces_are_flagged(tables: dict[str, Table]) -> None:
    assert tables["flags"].rows["any"].max() <= 1.5


# Page and cards


def assert_same_figures(said: str, fresh: str) -> None:
    """Equal texts, their decimal numbers to the rounding of a page."""
    number = re.compile(r"-?\d+\.\d+")
    advice = f"old figures: run `{accuracy.THIS}`"
    assert number.split(said) == number.split(fresh), advice
    values, fresh_values = (np.array(number.findall(text), float) for text in (said, fresh))
    np.testing.assert_allclose(values, fresh_values, rtol=0, atol=0.011, err_msg=advice)


@pytest.mark.parametrize("page", accuracy.PAGES, ids=lambda page: page.name)
def test_the_page_says_what_the_weights_do(tables: dict[str, Table], page: Path) -> None:
    said = page.read_text(encoding="utf-8").partition(accuracy.BEGIN)[2].partition(accuracy.END)[0]
    provenance = get_pose_backend("pose_mlp_synth").provenance
    shown = {name: tables[name] for name in accuracy.PAGES[page]}
    assert_same_figures(said.strip(), accuracy.page(shown, provenance))


def test_every_table_is_on_one_page(tables: dict[str, Table]) -> None:
    assert sorted(name for names in accuracy.PAGES.values() for name in names) == sorted(tables)


@pytest.mark.parametrize("network", accuracy.NETWORKS)
def test_the_card_says_what_the_weights_do(tables: dict[str, Table], network: LandmarkKind) -> None:
    file = get_pose_backend("pose_mlp_synth").provenance.weights[network]
    card = json.loads(file.path.with_suffix(".json").read_text(encoding="utf-8"))
    fresh = accuracy.card_entry(tables, network, file.sha256)
    assert_same_figures(json.dumps(card.get("measured")), json.dumps(fresh))
