"""The command, run as a user runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from command import COMMAND, feat_pose, on_terminal, refused
from local_hub import LocalHub

import feat_pose_plugin
from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint
from feat_pose_plugin.pose.landmark_models import available_landmark_models
from feat_pose_plugin.tables.journal import JOURNAL

TABLES = find_demo_tables()
WEIGHTS = BUNDLED / "pose_mlp_synth_2d.safetensors"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A landmark table of 28 real frames in a folder of its own."""
    (tmp_path / "in").mkdir()
    return Path(shutil.copy(TABLES[1], tmp_path / "in" / "clip.csv"))


def test_the_installed_command_estimates_a_table(tmp_path: Path) -> None:
    arguments = [COMMAND, "estimate", TABLES[0], "-o", "out.csv"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "out.csv: 40 rows, 40 with a pose\n"
    assert result.stderr == ""  # no progress bar where nobody looks, and no warning
    assert len(pd.read_csv(tmp_path / "out.csv")) == 40
    assert feat_pose("--version").stdout == f"{feat_pose_plugin.__version__}\n"


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    shown = on_terminal("estimate", *TABLES, "-o", tmp_path, columns=80)
    for part in ("168/168", "row/s", "100%"):
        assert part in shown


def test_many_tables_go_into_a_folder_under_their_names(out: Path) -> None:
    result = feat_pose("estimate", *TABLES, "-o", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {*(path.name for path in TABLES), JOURNAL}
    for path in TABLES:
        before, after = pd.read_csv(path), pd.read_csv(out / path.name)
        others = before.columns.difference(FEAT_FACEPOSE_COLUMNS_6D)
        pd.testing.assert_frame_equal(after[others], before[others])
        assert after[["Pitch", "Roll", "Yaw"]].notna().all(axis=None)


def test_force_replaces_an_output_and_even_the_input(table: Path) -> None:
    before = pd.read_csv(table)
    refused(feat_pose("estimate", table, "-o", table), 2, str(table), "input itself", "--force")
    convert = ("convert", table, "-o", table, "--from", "feat", "--to", "rotvec")
    refused(feat_pose(*convert), 2, str(table), "input itself", "--force")
    pd.testing.assert_frame_equal(pd.read_csv(table), before)
    assert feat_pose("estimate", table, "-o", table.parent, "--force").exit_code == 0
    after = pd.read_csv(table)
    assert len(after) == len(before)
    assert (after["Pitch"] != before["Pitch"]).all()
    assert {*table.parent.iterdir()} == {table, table.with_name(JOURNAL)}


ONE = "{in}/clip.csv -o {out}/o.csv"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("{in}/no.csv -o {out}/o.csv", ["no.csv does not exist"]),
        ("{in}/text.csv -o {out}/o.csv", ["in/text.csv", "no landmark columns", "x_0..x_67"]),
        ("{in}/ragged.csv -o {out}/o.csv", ["in/ragged.csv cannot be read as CSV"]),
        ("{in} -o {out}/o.csv", ["need an existing folder", "o.csv is none"]),
        ("{out} -o {out}", ["holds no .csv or .parquet"]),
        ("{in}/clip.csv -o {out}/no/o.csv", ["no/o.csv does not exist"]),
        ("{in}/clip.csv -o {out}/o.xlsx", ["o.xlsx must end in .csv or .parquet"]),
        ("{in}/clip.csv {in}/clip.csv -o {out}", ["would both become"]),
        ("{in}/clip.csv {in}/no.csv -o {out}", ["no.csv does not exist"]),
        ("{in}/clip.csv {in}/x.csv -o {out}/o.csv", ["several tables need an existing"]),
        (f"{ONE} --model nope", ["'nope'", "pose_mlp_synth"]),
        (f"{ONE} --convention nope", ["'nope'", "300w-lp"]),
        (f"{ONE} --landmark-model 4d", ["'4d'", "'auto'"]),
        (f"{ONE} --rotation-frame camera", ["frame_size"]),
        (f"{ONE} --rotation-frame nope", ["'nope'", "camera"]),
        (f"{ONE} --translation learned", ["geometric"]),
        (f"{ONE} --focal-length -1", ["focal_length", "-1"]),
        (f"{ONE} --height 480", ["--width", "both"]),
        (f"{ONE} --width 480", ["--height", "both"]),
        (f"{ONE} --height 0 --width 9", ["--height"]),
        (f"{ONE} --jobs 0", ["--jobs"]),
        (f"{ONE} --jobs 2 --scheduler tcp://here:1", ["--jobs and --scheduler exclude"]),
        ("{in}/clip.csv", ["--output"]),
        ("-o {out}/o.csv", ["IN"]),
    ],
)
def test_bad_usage_exits_with_2_and_writes_nothing(arguments, parts, table, out) -> None:
    if "text" in arguments:
        table.with_name("text.csv").write_text("a\n1\n")
    if "ragged" in arguments:
        table.with_name("ragged.csv").write_text(table.read_text() + "1,2\n")
    places = {"in": table.parent, "out": out}
    refused(feat_pose("estimate", *arguments.format(**places).split()), 2, *parts)
    assert [*out.iterdir()] == []


def test_everything_is_checked_before_the_first_table_is_estimated(table: Path, out: Path) -> None:
    (out / TABLES[2].name).write_text("precious")
    refused(feat_pose("estimate", table, TABLES[2], "-o", out), 2, "--force")
    assert [path.read_text() for path in out.iterdir()] == ["precious"]


def test_damaged_weights_exit_with_1_and_write_nothing(table, out, monkeypatch) -> None:
    path = out.with_name("w.safetensors")
    path.write_bytes(WEIGHTS.read_bytes()[:-9])
    shutil.copy(WEIGHTS.with_suffix(".json"), path.with_suffix(".json"))
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    refused(feat_pose("estimate", table, "-o", out, "--model", "pose_mlp"), 1, str(path))
    assert [*out.iterdir()] == []


@pytest.fixture
def hub(no_official_weights, local_hub, tmp_path, monkeypatch) -> LocalHub:
    """A hub on this machine that has nothing; caches are empty."""
    monkeypatch.setenv("HF_ENDPOINT", local_hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return local_hub


def test_models_lists_weights_and_asks_no_hub(hub: LocalHub) -> None:
    result = subprocess.run([COMMAND, "models"], capture_output=True, text=True, check=True)
    assert hub.asked == []
    models, _, profiles = result.stdout.partition("\n\n")
    assert [line.split()[:2] for line in profiles.splitlines()[1:]] == [
        [model.name, model.kind] for model in available_landmark_models()
    ]
    lines = [line.split(maxsplit=4) for line in models.splitlines()]
    for kind in ("2d", "3d", "mesh"):
        path = BUNDLED / f"pose_mlp_synth_{kind}.safetensors"
        sha256 = load_checkpoint(path).sha256[:12]
        assert ["pose_mlp_synth", kind, sha256, "MIT", str(path)] in lines
    for name in ("pose_mlp", "pose_mlp_v2"):
        (line,) = [line for line in lines if line[0] == name]
        assert line[4].startswith("not available, WeightsNotFoundError: py-feat's official")
    (native,) = [line for line in models.splitlines() if line.startswith("img2pose ")]
    assert native.endswith("needs py-feat's Detectorv1 with face_model='img2pose'")


def test_weights_that_cannot_be_had_exit_with_1_and_name_the_ways_out(hub, table, out) -> None:
    arguments = [COMMAND, "estimate", table, "-o", out, "--model", "pose_mlp"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert hub.asked  # here the hub is asked, so the test above could have failed
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for way_out in (PATH_VARIABLE, "feat-pose fetch pose_mlp", "pose_mlp_synth"):
        assert way_out in result.stderr
    assert result.stderr.endswith("`feat-pose doctor` says what is here and what is missing.\n")
    assert [path for path in out.iterdir() if path.suffix] == []


def test_models_with_weights_of_ones_own_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(WEIGHTS))
    lines = [line.split() for line in feat_pose("models").stdout.splitlines() if line]
    assert {line[1] for line in lines if line[0] == "pose_mlp"} == {"2d", "3d"}
    assert all(line[-1] == str(WEIGHTS) for line in lines if line[0] == "pose_mlp")
