"""What `pose_mlp_synth` promises, measured on the bundled weights, and what the pages say."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import accuracy
import numpy as np
import pandas as pd
import pytest
import trust
from accuracy import Table

from feat_pose_plugin import estimate_pose, get_pose_backend
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.training.face_model import read_face_model


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


def assert_between(figures: pd.Series, low: float, high: float) -> None:
    assert figures.astype(float).between(low, high).all(), figures.to_dict()


# Real detectors


# Missed so far: an error of 2.9 with mobilefacenet, 2.95 with pfld and 3.6 with dlib; a yaw of at
# most 1.10 with mobilefacenet and OpenSeeFace.
@pytest.mark.parametrize(
    ("landmarks", "mae", "yaw", "pitch"),
    [
        ("mobilefacenet", 3.13, (0.94, 1.115), 0.84),
        ("pfld", 3.12, (0.94, 1.10), 0.84),
        ("dlib", 3.73, (0.94, 1.12), 0.84),
        ("openseeface", 3.1, (0.94, 1.115), 0.74),
        ("mediapipe", 2.7, (0.90, 1.10), 0.82),
    ],
)
def test_pictures_through_real_detectors(tables, landmarks, mae, yaw, pitch) -> None:
    figures = row(tables["real_pictures"], method="ours", landmarks=landmarks)
    assert figures["faces"] > 700
    assert_between(figures[["yaw 15", "yaw 30", "yaw 45"]], *yaw)
    assert_between(figures[["pitch 10", "pitch 20", "pitch 30"]], pitch, 1.1)
    assert figures["mae"] <= mae


def test_a_detector_need_not_be_named(tables) -> None:
    rows = tables["real_pictures"].rows
    unnamed = rows[rows["method"] == "ours, detector not named"]
    assert len(unnamed) == 4
    assert unnamed["mae"].max() < 3.8


def test_detectors_have_one_zero(tables) -> None:
    rows = tables["real_zeros"].rows
    ours = rows[rows["method"] == "ours"]
    assert ours["Pointing'04"].abs().max() <= 1.5


def test_an_open_mouth_moves_pitch_little(tables) -> None:
    rows = tables["real_video"].rows
    ours = rows[rows["method"] == "ours"]
    assert ours["mouth"].max() <= 1.75
    assert ours["jitter"].max() <= 0.4


# Missed so far: a rank correlation of 0.42 with OpenSeeFace, and with 3d, whose errors are much
# alike.
@pytest.mark.parametrize(
    ("landmark_model", "rank"),
    [
        *((name, 0.42) for name in ("mobilefacenet", "pfld", "dlib", "mediapipe")),
        *(("openseeface", 0.38), ("3d", 0.28)),
    ],
)
def test_the_expected_error_is_the_true_one_on_average(tables, landmark_model, rank) -> None:
    figures = row(tables["expected_error"], **{"landmark model": landmark_model})
    assert figures["rank"] >= rank
    for fifth in figures.filter(like="fifth "):
        said, true = (float(number) for number in fifth.split(" / "))
        assert 0.7 <= said / true <= 1.45


# Annotated landmarks


@pytest.mark.parametrize(
    ("landmarks", "most"), [("landmarks", 1.28), ("landmarks_reannotated", 2.93)]
)
def test_aflw2000_straight_from_estimate_pose(shared_data, tables, landmarks, most) -> None:
    with np.load(shared_data / "aflw2000_dev.npz") as file:
        pose = estimate_pose(file[landmarks], landmark_model="3d", convention="300w-lp")
        known = file["pitch_yaw_roll_deg"]
    assert len(known) == 985
    error = (pose[["Pitch", "Yaw", "Roll"]].to_numpy() - known + 180) % 360 - 180
    mae = np.abs(error).mean()
    assert mae <= most
    figures = row(tables["aflw2000"], network="3d", landmarks=landmarks)
    assert figures["mae"] == pytest.approx(mae, abs=1e-3)


def test_official_v2_on_video(tables, shared_data) -> None:
    figures = tables["official_v2"].rows
    # y and z differ by the same in every clip: that bias is the official network's own.
    assert (figures["mean absolute"] <= [1.45, 1.15, 0.9]).all()
    assert (figures["around it"] <= [1.45, 0.5, 0.4]).all()
    table = pd.read_csv(shared_data / "pyfeat_pose_mlp_v2_dev.csv")
    ours = estimate_pose(table, landmark_model="mobilefacenet", convention="img2pose")
    apart = np.rad2deg((ours - table[ours.columns])[["Pitch", "Roll", "Yaw"]])
    np.testing.assert_allclose(figures["mean"], apart.mean(), atol=5e-3)


@pytest.mark.parametrize("landmarks", accuracy.TURNED_LANDMARKS)
def test_turned_photographs_are_read_in_full(tables, landmarks) -> None:
    turns = row(tables["turn_gains"], landmarks=landmarks, sweep="yaw")
    assert_between(turns[["10", "20", "30", "40", "50"]], 0.93, 1.07)
    nods = row(tables["turn_gains"], landmarks=landmarks, sweep="pitch")
    assert_between(nods[["10", "20"]], 0.9, 1.12)  # missed so far: 1.1 with mobilefacenet
    figures = row(tables["turn_errors"], landmarks=landmarks)
    assert figures["faces"] == 11
    assert figures["geodesic_mean"] <= (1.0 if landmarks == "landmarks_projected" else 3.3)


# Synthetic landmarks and meshes


@pytest.mark.parametrize("jaw", accuracy.JAW_HABITS)
def test_each_habit_of_the_jaw_has_its_network(tables, jaw, shared_data) -> None:
    network = "3d" if "(3d)" in jaw else "2d"
    figures = row(tables["jaw_habits"], jaw=jaw, network=network)
    assert figures["all"] <= 3.6
    assert figures["yaw 60-95"] <= 3.9
    # None of them is mistaken for Detectorv2's block.
    face = read_face_model(shared_data / "ict_facekit_face.npz")
    points, _ = accuracy.synthetic_faces(face, accuracy.JAW_HABITS[jaw], 2_000)
    assert [model.kind for model in read_landmarks(points).models] == ["2d"]


def test_canonical_face_under_known_turns(tables) -> None:
    for (layout, camera), most in {
        ("our 68 vertices", "far away"): 2.2,
        ("our 68 vertices", "at 50 cm"): 2.4,
        ("Detectorv2's block", "far away"): 3.0,
        ("Detectorv2's block", "at 50 cm"): 3.0,
    }.items():
        figures = row(tables["canonical_face"], layout=layout, camera=camera)
        assert figures["geodesic_mean"] <= most, layout


@pytest.mark.parametrize(
    ("layout", "most_apart", "most_around"),
    [("mesh", 1.0, [1.4, 0.6, 0.5]), ("68-point block", 4.0, [2.5, 0.9, 0.9])],
)
def test_one_head_has_one_pose(tables, layout, most_apart, most_around) -> None:
    figures = row(tables["layouts"], **{"Detectorv2's": layout})
    assert_between(figures[["mean x", "mean y", "mean z"]], -most_apart, most_apart)
    around = figures[["around it x", "around it y", "around it z"]].astype(float)
    assert (around <= most_around).all(), around.to_dict()


# Translation, frames of rotation, trust


def test_translation_on_aflw2000(tables) -> None:
    for solver in ("SQPnP", "SQPnP, refined"):
        for landmarks, most in (("landmarks", 0.06), ("landmarks_reannotated", 0.09)):
            wanted = {"landmarks": landmarks, "target solved by": solver}
            assert row(tables["translation"], **wanted)["mean"] <= most, wanted


def test_a_head_that_moves_and_does_not_turn(tables) -> None:
    rows = tables["moved_heads"].rows
    assert len(rows) == len(trust.MOVED_HEADS_DEG)
    assert rows["camera, largest"].max() <= 2.5
    assert (rows["line of sight, largest"] - rows["largest ray"]).abs().max() <= 2.5


@pytest.mark.parametrize("landmarks", accuracy.AFLW2000_LANDMARKS)
def test_the_residual_ranks_what_went_wrong(tables, landmarks) -> None:
    for corruption, least in {
        "noise of 5 %": 0.9,
        "mouth displaced by 20 %": 0.8,
        "jaw displaced by 20 %": 0.7,
        "mouth of another face": 0.8,
        "jaw of another face": 0.8,
        "half of all points of another face": 0.8,
    }.items():
        wanted = {"data": f"AFLW2000-3D, {landmarks}", "what went wrong": corruption}
        assert row(tables["residual_ranks"], **wanted)["AUROC"] >= least, corruption


def test_few_training_faces_have_narrow_eyes(tables) -> None:
    assert tables["limits"].rows["share above it"].between(0.988, 0.996).all()


def test_few_faces_of_videos_are_flagged(tables) -> None:
    rows = tables["flags"].rows
    videos = rows[rows["data"].str.startswith("video")]
    assert len(videos) == 5
    assert videos["any"].max() <= 1.5


# Pages


def assert_same_figures(said: str, fresh: str) -> None:
    """Equal texts, their decimal numbers to the rounding of a page."""
    number = re.compile(r"-?\d+\.\d+")
    advice = f"old figures: run `{accuracy.THIS}`"
    assert number.split(said) == number.split(fresh), advice
    values, fresh_values = (np.array(number.findall(text), float) for text in (said, fresh))
    np.testing.assert_allclose(values, fresh_values, rtol=0, atol=0.011, err_msg=advice)


@pytest.mark.parametrize("page", accuracy.PAGES, ids=lambda page: page.name)
def test_the_page_says_what_the_weights_do(tables, page) -> None:
    said = page.read_text(encoding="utf-8").partition(accuracy.BEGIN)[2].partition(accuracy.END)[0]
    provenance = get_pose_backend("pose_mlp_synth").provenance
    shown = {name: tables[name] for name in accuracy.PAGES[page]}
    assert_same_figures(said.strip(), accuracy.page(shown, provenance))


def test_every_table_is_on_one_page(tables) -> None:
    assert sorted(name for names in accuracy.PAGES.values() for name in names) == sorted(tables)
