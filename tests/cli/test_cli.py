"""The command, run as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from command import feat_pose, refused

import feat_pose_plugin
from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint
from feat_pose_plugin.pose.landmark_models import available_landmark_models
from feat_pose_plugin.tables.journal import JOURNAL

POSE = FEAT_FACEPOSE_COLUMNS_6D
TABLES = find_demo_tables()
COMMAND = Path(sys.executable).with_name("feat-pose")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A landmark table of 28 real frames in a folder of its own."""
    path = tmp_path / "in" / "clip.csv"
    path.parent.mkdir()
    path.write_bytes(TABLES[1].read_bytes())
    return path


def test_version() -> None:
    assert feat_pose("--version").stdout == f"{feat_pose_plugin.__version__}\n"


def test_the_installed_command_estimates_a_table(tmp_path: Path) -> None:
    arguments = [COMMAND, "estimate", TABLES[0], "-o", "out.csv"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "out.csv: 40 rows, 40 with a pose\n"
    assert result.stderr == ""  # no progress bar where nobody looks, and no warning
    assert len(pd.read_csv(tmp_path / "out.csv")) == 40


def test_a_terminal_gets_a_progress_bar(tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    arguments = [COMMAND, "estimate", *TABLES, "-o", tmp_path]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=writer):
        os.close(writer)
        shown = b""
        try:
            while chunk := os.read(reader, 4096):
                shown += chunk
        except OSError:  # the terminal's other end is closed
            pass
    os.close(reader)
    assert b"168/168" in shown
    assert b"row/s" in shown
    assert b"100%" in shown


def test_many_tables_go_into_a_folder_under_their_names(tmp_path: Path) -> None:
    result = feat_pose("estimate", *TABLES, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    names = {path.name for path in TABLES}
    assert {path.name for path in tmp_path.iterdir()} == {*names, JOURNAL}
    for path in TABLES:
        before, after = pd.read_csv(path), pd.read_csv(tmp_path / path.name)
        others = before.columns.difference(POSE)
        pd.testing.assert_frame_equal(after[others], before[others])
        assert after[["Pitch", "Roll", "Yaw"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"convention": "300w-lp"}, ["--convention", "300w-lp"]),
        ({"landmark_model": "3d"}, ["--landmark-model", "3d"]),
        ({"frame_size": (480, 640)}, ["--height", "480", "--width", "640"]),
        ({"pose_model": "pose_mlp"}, ["--model", "pose_mlp"]),
        (
            {"pose_model": "pose_mlp", "translation": "geometric", "frame_size": (480, 640)},
            ["--model=pose_mlp", "--translation=geometric", "--height=480", "--width=640"],
        ),
        (
            {
                "rotation_frame": "camera",
                "focal_length": 900.5,
                "principal_point": (300.0, 200.0),
                "inter_ocular_mm": 90.0,
                "quality": True,
            },
            [
                *("--rotation-frame", "camera", "--focal-length", "900.5"),
                *("--principal-point", "300", "200", "--inter-ocular-mm", "90", "--quality"),
            ],
        ),
    ],
)
def test_options_reach_the_estimate(
    options: dict[str, object],
    arguments: list[str],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Any sound checkpoint can stand where the official one is looked for.
    monkeypatch.setenv(PATH_VARIABLE, str(BUNDLED / "pose_mlp_synth_2d.safetensors"))
    target = tmp_path / "out.parquet"
    result = feat_pose("estimate", table, "-o", target, *arguments)
    assert result.exit_code == 0, result.output
    expected = estimate_pose(pd.read_csv(table), **options)
    written = pq.read_table(target, columns=list(expected.columns)).to_pandas()
    pd.testing.assert_frame_equal(written.astype(expected.dtypes), expected, atol=1e-5)


def test_a_registered_backend_gets_the_frame_size_as_height_and_width(
    table: Path, tmp_path: Path
) -> None:
    code = """
import sys, torch
from feat_pose_plugin import PoseBackend, Provenance, register_pose_backend
from feat_pose_plugin.cli import app

class Echo(PoseBackend):
    provenance = Provenance("echo", "MIT")

    def estimate(self, landmarks, *, frame_size=None, landmark_model):
        return torch.tensor([[0.0, 0, 0, *frame_size, 0]]).repeat(len(landmarks), 1)

register_pose_backend("echo", Echo)
app(sys.argv[1:])
"""
    target = tmp_path / "out.csv"
    size = ["--height", "480", "--width", "640"]
    arguments = ["estimate", table, "-o", target, "--model", "echo", *size]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    written = pd.read_csv(target)
    assert (written["X"] == 480).all()
    assert (written["Y"] == 640).all()


def test_force_replaces_an_output_and_even_the_input(table: Path) -> None:
    before = pd.read_csv(table)
    refused(feat_pose("estimate", table, "-o", table), 2, str(table), "input itself", "--force")
    pd.testing.assert_frame_equal(pd.read_csv(table), before)
    assert feat_pose("estimate", table, "-o", table.parent, "--force").exit_code == 0
    after = pd.read_csv(table)
    assert len(after) == len(before)
    assert (after["Pitch"] != before["Pitch"]).all()
    assert {*table.parent.iterdir()} == {table, table.with_name(JOURNAL)}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["{in}/no.csv", "-o", "{out}/o.csv"], ["no.csv does not exist"]),
        (["{in}", "-o", "{out}/o.csv"], ["need an existing folder", "o.csv is none"]),
        (["{out}", "-o", "{out}"], ["holds no .csv or .parquet"]),
        (["{in}/clip.csv", "-o", "{out}/no/o.csv"], ["no/o.csv does not exist"]),
        (["{in}/clip.csv", "-o", "{out}/o.xlsx"], ["o.xlsx must end in .csv or .parquet"]),
        (["{in}/clip.csv", "{in}/clip.csv", "-o", "{out}"], ["would both become"]),
        (["{in}/clip.csv", "{in}/no.csv", "-o", "{out}"], ["no.csv does not exist"]),
        (["{in}/clip.csv", "{in}/x.csv", "-o", "{out}/o.csv"], ["several tables need an existing"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--model", "nope"], ["'nope'", "pose_mlp_synth"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--convention", "nope"], ["'nope'", "300w-lp"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--landmark-model", "4d"], ["'4d'", "'auto'"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--rotation-frame", "camera"], ["frame_size"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--rotation-frame", "nope"], ["'nope'", "camera"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--translation", "learned"], ["geometric"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--focal-length", "-1"], ["focal_length", "-1"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--height", "480"], ["--width", "both"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--height", "0", "--width", "9"], ["--height"]),
        (["{in}/clip.csv", "-o", "{out}/o.csv", "--jobs", "0"], ["--jobs"]),
        (
            ["{in}/clip.csv", "-o", "{out}/o.csv", "--jobs", "2", "--scheduler", "tcp://here:1"],
            ["--jobs and --scheduler exclude each other"],
        ),
        (["{in}/clip.csv"], ["--output"]),
        (["-o", "{out}/o.csv"], ["IN"]),
    ],
)
def test_bad_usage_exits_with_2_and_writes_nothing(
    arguments: list[str], parts: list[str], table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    places = {"in": table.parent, "out": out}
    result = feat_pose("estimate", *(a.format(**places) for a in arguments))
    refused(result, 2, *parts)
    assert [*out.iterdir()] == []


def without(name: str) -> pd.DataFrame:
    return pd.read_csv(TABLES[0]).drop(columns=name)


def with_text() -> pd.DataFrame:
    table = pd.read_csv(TABLES[0], dtype=str)
    table.loc[17, "y_30"] = "n/k"
    return table


def ragged() -> bytes:
    header, *rows = TABLES[0].read_bytes().splitlines(keepends=True)
    return b"".join([header, *rows[:3], b"1,2\n", *rows[3:]])


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (pd.DataFrame({"a": [1]}), ["no landmark columns", "'a'", "x_0..x_67"]),
        (without("x_12"), ["only part of the landmarks", "'x_12'"]),
        (with_text(), ["row 17", "'y_30'", "'n/k'"]),
        (b"", ["cannot be read as CSV"]),
        (b"x_0,x_1\n1,2\n", ["only part of the landmarks"]),
        (ragged(), ["cannot be read as CSV", "row 3 has 2 cells, the header"]),
    ],
)
def test_bad_tables_exit_with_2_and_write_nothing(
    content: pd.DataFrame | bytes, parts: list[str], tmp_path: Path
) -> None:
    source = tmp_path / "bad.csv"
    if isinstance(content, bytes):
        source.write_bytes(content)
    else:
        content.to_csv(source, index=False)
    result = feat_pose("estimate", source, "-o", tmp_path / "out.csv")
    refused(result, 2, str(source), *parts)
    assert [*tmp_path.iterdir()] == [source]


def test_everything_is_checked_before_the_first_table_is_estimated(
    table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / TABLES[2].name).write_text("precious")
    refused(feat_pose("estimate", table, TABLES[2], "-o", out), 2, "--force")
    assert [path.name for path in out.iterdir()] == [TABLES[2].name]
    assert (out / TABLES[2].name).read_text() == "precious"


@pytest.mark.parametrize("damage", ["truncated", "other shape"])
def test_damaged_weights_exit_with_1_and_write_nothing(
    damage: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = BUNDLED / "pose_mlp_synth_2d.safetensors"
    weights, card = bundled.read_bytes(), json.loads(bundled.with_suffix(".json").read_text())
    if damage == "truncated":
        weights = weights[: len(weights) // 2]
    else:
        card["architecture"]["hidden"][-1] += 1
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights)
    path.with_suffix(".json").write_text(json.dumps(card))
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    target = tmp_path / "out.csv"
    refused(feat_pose("estimate", table, "-o", target, "--model", "pose_mlp"), 1, str(path))
    assert not target.exists()


def test_a_full_disk_exits_with_1(table: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
    try:
        result = feat_pose("estimate", table, "-o", disk / "out.csv")
        left = [*disk.iterdir()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    refused(result, 1, "out.csv could not be written", "No space left")
    assert left == []


class _Hub(HTTPServer):
    requests: list[str]


@pytest.fixture
def hub(
    no_official_weights: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[_Hub]:
    """A hub on this machine that has nothing, and counts who asks; caches are empty."""

    class Nothing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            server.requests.append(self.path)
            self.send_error(404)

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            pass

    server = _Hub(("127.0.0.1", 0), Nothing)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_models_lists_weights_and_asks_no_hub(hub: _Hub) -> None:
    result = subprocess.run([COMMAND, "models"], capture_output=True, text=True, check=True)
    assert hub.requests == []
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
    (native,) = [line for line in result.stdout.splitlines() if line.startswith("img2pose ")]
    assert native.endswith("needs py-feat's Detectorv1 with face_model='img2pose'")


def test_weights_that_cannot_be_had_exit_with_1_and_name_the_ways_out(
    hub: _Hub, table: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.csv"
    arguments = [COMMAND, "estimate", table, "-o", target, "--model", "pose_mlp"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert hub.requests  # here the hub is asked, so the test above could have failed
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for way_out in (PATH_VARIABLE, "feat-pose fetch pose_mlp", "pose_mlp_synth"):
        assert way_out in result.stderr
    assert not target.exists()


def test_models_with_weights_of_ones_own_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    path = BUNDLED / "pose_mlp_synth_2d.safetensors"
    monkeypatch.setenv(PATH_VARIABLE, str(path))
    result = feat_pose("models")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert {line[1] for line in lines if line[0] == "pose_mlp"} == {"2d", "3d"}
    assert all(line[-1] == str(path) for line in lines if line[0] == "pose_mlp")


def test_demo_prints_a_table_and_says_where_its_files_are(tmp_path: Path) -> None:
    result = subprocess.run(
        [COMMAND, "demo"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for path in TABLES:
        assert path.name in result.stdout
    for suffix in ("csv", "png"):
        name = f"feat-pose-demo/feat-pose-demo.{suffix}"
        assert f"wrote {name}" in result.stdout
        assert (tmp_path / name).stat().st_size > 1000
    assert result.stderr == ""


def test_demo_into_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    result = feat_pose("demo", "-o", tmp_path / "no" / "folder")
    refused(result, 2, "could not be made", "No such file")
    assert [*tmp_path.iterdir()] == []
