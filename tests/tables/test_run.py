"""Many tables: which becomes which, what is kept, made again, refused; killed and started again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from feat_pose_plugin import __version__, get_pose_backend
from feat_pose_plugin.cli import app
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables import run as runs
from feat_pose_plugin.tables.journal import JOURNAL
from feat_pose_plugin.tables.run import plan_outputs, refuse_existing

COMMAND = Path(sys.executable).with_name("feat-pose")
LOCK = ".feat-pose.lock"


DEMO = {path.name: path for path in find_demo_tables()}


def test_each_input_gets_its_output(tmp_path: Path) -> None:
    sources = [DEMO["001.csv"], DEMO["002.csv"]]
    assert plan_outputs(sources, tmp_path) == [
        (sources[0], tmp_path / "001.csv"),
        (sources[1], tmp_path / "002.csv"),
    ]
    assert plan_outputs(sources[:1], tmp_path / "o.parquet") == [
        (sources[0], tmp_path / "o.parquet")
    ]


def test_a_folder_is_the_tables_in_it(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    output.mkdir()
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.parquet", "a.CSV", "a.txt", ".a.0123456789abcdef.csv", "deeper/c.csv"):
        (folder / name).touch()
    names = [target.name for _, target in plan_outputs([folder, DEMO["001.csv"]], output)]
    assert names == ["a.CSV", "b.parquet", "001.csv"]


def test_what_cannot_be_read_or_written_is_refused(tmp_path: Path) -> None:
    good = DEMO["001.csv"]
    (tmp_path / "001.csv").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "001.csv").write_bytes(good.read_bytes())
    image = good.with_name("single_face.jpg")
    for sources, output, message in [
        ([tmp_path / "no.csv"], tmp_path / "o.csv", "no.csv does not exist"),
        ([tmp_path / "001.csv"], tmp_path / "a", "001.csv holds no .csv or .parquet"),
        ([tmp_path / "a"], tmp_path / "o.csv", "o.csv is none"),
        ([image], tmp_path / "o.csv", "single_face.jpg must end in"),
        ([good], tmp_path / "o.txt", "o.txt must end in"),
        ([good], tmp_path / "no" / "o.csv", "folder of the output .* does not exist"),
        ([good, DEMO["002.csv"]], tmp_path / "o.csv", "several tables need an existing folder"),
        ([good, tmp_path / "a" / "001.csv"], tmp_path / "a", "would both become"),
        ([good], tmp_path, "exists and is no file"),
    ]:
        with pytest.raises(TableError, match=message):
            plan_outputs(sources, output)


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    good, taken = DEMO["001.csv"], tmp_path / "taken.csv"
    refuse_existing([(good, taken)])
    taken.write_text("precious")
    with pytest.raises(TableError, match=r"taken.csv exists.*--force"):
        refuse_existing([(good, tmp_path / "new.csv"), (good, taken)])
    with pytest.raises(TableError, match="is the input itself"):
        refuse_existing([(taken, taken)])


def estimate(*arguments: object) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["estimate", *map(str, arguments)])


def run(*arguments: object) -> list[str]:
    result = estimate(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    for part in parts:
        assert part in " ".join(result.stderr.split())


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of three tables of real frames."""
    folder = tmp_path / "in"
    folder.mkdir()
    table = pd.read_csv(find_demo_tables()[0])
    table.to_csv(folder / "a.csv", index=False)
    table[::-1].to_parquet(folder / "b.parquet", index=False)
    table[:7].to_csv(folder / "c.csv", index=False)
    return folder


def contents(folder: Path) -> dict[str, object]:
    """Of all files; of the journal, whose order follows that of the work, which lines it has."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir()}
    if JOURNAL in found:
        found[JOURNAL] = {*(folder / JOURNAL).read_bytes().splitlines()}
    return found


def listed(folder: Path) -> dict[str, dict[str, object]]:
    """The last entry of each table."""
    lines = map(json.loads, (folder / JOURNAL).read_text().splitlines())
    return {line.pop("output"): line for line in lines}


def made(lines: list[str]) -> list[str]:
    """The tables that a run has made, by what it says."""
    return [Path(line.partition(":")[0]).name for line in lines if not line.endswith("as before")]


def test_the_journal_says_what_was_made_of_what(tables: Path, out: Path) -> None:
    run(tables, "-o", out, "--convention", "300w-lp", "--height", "480", "--width", "640")
    assert [*listed(out)] == ["a.csv", "b.parquet", "c.csv"]
    for name, entry in listed(out).items():
        assert entry["input"] == str(tables / name)
        assert entry["input_sha256"] == sha256((tables / name).read_bytes()).hexdigest()
        assert entry["output_sha256"] == sha256((out / name).read_bytes()).hexdigest()
        assert entry["rows"] == entry["faces"] == (7 if name == "c.csv" else 40)
        made_by = entry["made_by"]
        assert made_by["version"] == __version__
        assert made_by["model"] == "pose_mlp_synth"
        assert made_by["convention"] == "300w-lp"
        assert made_by["frame_size"] == [480, 640]
        path = BUNDLED / "pose_mlp_synth_2d.safetensors"
        assert made_by["weights"]["2d"] == load_checkpoint(path).sha256


def test_what_is_done_is_kept(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    before, times = contents(out), {path: path.stat().st_mtime_ns for path in out.iterdir()}
    lines = run(tables, "-o", out)
    assert lines[2] == f"{out / 'c.csv'}: 7 rows, 7 with a pose, as before"
    assert made(lines) == []
    assert contents(out) == before
    del times[out / JOURNAL]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_is_missing_or_has_another_input_is_made_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    whole = contents(out)
    (out / "a.csv").unlink()
    (tables / "c.csv").write_bytes((tables / "a.csv").read_bytes())
    assert made(run(tables, "-o", out)) == ["a.csv", "c.csv"]
    assert (out / "a.csv").read_bytes() == (out / "c.csv").read_bytes() == whole["a.csv"]
    assert listed(out)["c.csv"]["rows"] == 40


def test_other_options_weights_or_version_make_all_again(
    tables: Path,
    out: Path,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = ["a.csv", "b.parquet", "c.csv"]
    official = ["--model", "pose_mlp"]
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint(seed=1)))
    for arguments in ([], ["--convention", "img2pose"], ["--landmark-model", "3d"], official):
        assert made(run(tables, "-o", out, *arguments)) == everything
        assert made(run(tables, "-o", out, *arguments)) == []
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint("other.safetensors", seed=2)))
    assert made(run(tables, "-o", out, *official)) == everything
    monkeypatch.setattr(runs, "__version__", "99")
    assert made(run(tables, "-o", out, *official)) == everything


@pytest.mark.parametrize("change", ["foreign", "edited"])
def test_what_others_wrote_is_replaced_by_force_only(change: str, tables: Path, out: Path) -> None:
    if change == "edited":
        run(tables, "-o", out)
        (out / "a.csv").unlink()
    (out / "b.parquet").write_text("precious")
    before = contents(out)
    refused(estimate(tables, "-o", out), "b.parquet exists", "--force")
    assert contents(out) == before
    assert "b.parquet" in made(run(tables, "-o", out, "--force"))
    assert made(run(tables, "-o", out)) == []


def test_a_journal_that_is_none_is_refused(tables: Path, out: Path) -> None:
    for text in ("\n", "[]\n", "{}\n", '{"a": 3}\n{}'):
        (out / JOURNAL).write_text(text)
        refused(estimate(tables, "-o", out), f"{out / JOURNAL} is not a journal")
        assert [path.name for path in out.iterdir()] == [JOURNAL]


def test_in_place_with_force_and_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    assert made(run(tables, "-o", tables, "--force")) == ["a.csv", "b.parquet", "c.csv"]
    for name in ("a.csv", "b.parquet", "c.csv"):
        assert (tables / name).read_bytes() == (out / name).read_bytes()
    assert made(run(tables, "-o", tables, "--force")) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_table_does_not_undo_the_others(jobs: int, tables: Path, out: Path) -> None:
    """The third, which begins before the second has ended, where there are two jobs."""
    good = (tables / "c.csv").read_bytes()
    (tables / "c.csv").write_bytes(good[:1000])
    (tables / "d.csv").write_bytes(good)
    result = estimate(tables, "-o", out, "--jobs", jobs)
    refused(result, "c.csv cannot be read as CSV: row 0 has")
    done = {path.name for path in out.iterdir()}
    assert {"a.csv", "b.parquet", JOURNAL} <= done
    (tables / "c.csv").write_bytes(good)
    assert made(run(tables, "-o", out)) == sorted({"c.csv", "d.csv"} - done)


def test_a_line_that_was_cut_short_is_written_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    whole = contents(out)
    (out / JOURNAL).write_bytes((out / JOURNAL).read_bytes()[:-5])
    (out / "c.csv").unlink()  # as its line came before it
    assert made(run(tables, "-o", out)) == ["c.csv"]
    assert contents(out) == whole


def test_parts_of_killed_runs_are_removed_and_nothing_else(tables: Path, out: Path) -> None:
    parts = [".a.0123456789abcdef.csv"]
    others = [".a.csv", ".d.0123456789abcdef.csv", "a.0123456789abcdef.csv", ".a.0123.csv"]
    for name in (*parts, *others):
        (out / name).touch()
    run(tables, "-o", out)
    assert {path.name for path in out.iterdir()} == {
        *others, JOURNAL, "a.csv", "b.parquet", "c.csv"
    }  # fmt: skip
    single = out / "single.csv"
    (out / ".single.0123456789abcdef.csv").touch()
    run(tables / "a.csv", "-o", single)
    assert not [*out.glob(".single*")]


def test_a_single_file_has_no_journal(tables: Path, out: Path) -> None:
    target = out / "pose.csv"
    run(tables / "a.csv", "-o", target)
    assert [*out.iterdir()] == [target]
    refused(estimate(tables / "a.csv", "-o", target), "pose.csv exists", "--force")
    run(tables / "a.csv", "-o", target, "--force")


@pytest.mark.parametrize("single", [True, False])
def test_two_runs_do_not_write_to_one_place(single: bool, tables: Path, out: Path) -> None:
    output = out / "pose.csv" if single else out
    jobs = [(tables / "a.csv", out / "pose.csv")]
    estimator = PoseEstimator(backend=get_pose_backend("pose_mlp_synth"))
    with runs.open_run(jobs, output, estimator):
        refused(estimate(tables / "a.csv", "-o", output), "another run is writing here")
        # Elsewhere in the same folder a file may be written.
        run(tables / "a.csv", "-o", out / "other.csv")
    run(tables / "a.csv", "-o", output)
    assert not [*out.glob("*.lock")]


@pytest.mark.usefixtures("one_thread")
def test_processes_write_what_one_process_writes(tables: Path, out: Path, tmp_path: Path) -> None:
    # A process of its own too: NumPy keeps the threads with which its process began.
    subprocess.run([COMMAND, "estimate", tables, "-o", out], capture_output=True, check=True)
    others = tmp_path / "others"
    others.mkdir()
    arguments = [COMMAND, "estimate", tables, "-o", others, "--jobs", "2"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert sorted(made(result.stdout.splitlines())) == ["a.csv", "b.parquet", "c.csv"]
    assert result.stderr == ""
    assert contents(others) == contents(out)


NAMES = ["a.csv", "b.parquet", "c.csv", "d.parquet"]


@pytest.fixture
def long_tables(tmp_path: Path) -> Path:
    """Four tables that take a while."""
    folder = tmp_path / "long"
    folder.mkdir()
    face = pd.read_csv(find_demo_tables()[0])[landmark_columns()]
    table = pd.concat([face] * 100, ignore_index=True)
    table += np.random.default_rng(0).normal(size=table.shape)
    for first, second in (NAMES[::2], NAMES[1::2]):
        if first.endswith(".csv"):
            table.round(3).to_csv(folder / first, index=False)
        else:
            table.to_parquet(folder / first, index=False, row_group_size=1000)
        (folder / second).write_bytes((folder / first).read_bytes())
    return folder


def start(tables: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [COMMAND, "estimate", tables, "-o", out, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.002)


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """The processes that estimate for it; it has another one, which keeps track of resources."""
    tasks = Path("/proc", str(process.pid), "task").glob("*/children")
    children = {int(pid) for task in tasks for pid in task.read_text().split()}
    return {pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def is_alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.usefixtures("one_thread")
def test_killed_and_started_again_it_ends_as_if_undisturbed(
    long_tables: Path, out: Path, tmp_path: Path
) -> None:
    with start(long_tables, out) as killed:
        wait_for((out / "a.csv").exists, killed)
        wait_for(lambda: [path for path in out.glob(".*.*.*") if path.stat().st_size], killed)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in out.iterdir()}
    assert {"a.csv", JOURNAL} <= left
    assert "d.parquet" not in left
    assert left - {JOURNAL, *NAMES}  # the part, and the lock
    assert made(run(long_tables, "-o", out)) == [name for name in NAMES if name not in left]
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    run(long_tables, "-o", undisturbed)
    assert contents(out) == contents(undisturbed)


def test_killed_between_the_journal_and_the_table(tables: Path, out: Path) -> None:
    run(tables, "-o", out, "--convention", "img2pose")
    code = """
import os, signal, sys
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.tables import run as runs
from feat_pose_plugin.cli import app
runs.place_part = lambda part, path: os.kill(os.getpid(), signal.SIGKILL)
app(sys.argv[1:])
"""
    arguments = [sys.executable, "-c", code, "estimate", tables, "-o", out]
    killed = subprocess.run(arguments, check=False)
    assert killed.returncode == -signal.SIGKILL
    entry = listed(out)["a.csv"]
    assert entry["made_by"]["convention"] == "feat"  # and the table is not yet
    assert made(run(tables, "-o", out)) == ["a.csv", "b.parquet", "c.csv"]


@pytest.mark.slow
def test_processes_end_when_the_command_is_killed(long_tables: Path, out: Path) -> None:
    with start(long_tables, out, "--jobs", "2") as killed:
        wait_for(lambda: [path for path in out.glob(".*.*.*") if path.stat().st_size], killed)
        workers = workers_of(killed)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_at_ten_random_moments_it_ends_as_if_undisturbed(
    jobs: str, long_tables: Path, out: Path, tmp_path: Path
) -> None:
    for number, path in enumerate([*long_tables.iterdir()] * 3):
        (long_tables / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    with start(long_tables, undisturbed, "--jobs", jobs) as whole:
        wait_for((undisturbed / LOCK).exists, whole)
        begun = time.monotonic()
        whole.communicate()
    duration = time.monotonic() - begun
    moments = random.Random(int(jobs))
    kills = 0
    while kills < 10:
        with start(long_tables, out, "--jobs", jobs) as killed:
            wait_for((out / LOCK).exists, killed)
            time.sleep(moments.uniform(0, duration / 5))
            killed.kill()
            killed.communicate()
        if killed.returncode == 0:  # done before; once more from the start
            for path in out.iterdir():
                path.unlink()
        kills += killed.returncode == -signal.SIGKILL
    with start(long_tables, out, "--jobs", jobs) as last:
        said, errors = last.communicate()
    assert (last.returncode, errors) == (0, "")
    assert contents(out) == contents(undisturbed)
    assert len(said.splitlines()) == 16


def test_a_process_that_dies_is_said_and_what_is_done_is_kept(long_tables: Path, out: Path) -> None:
    with start(long_tables, out, "--jobs", "2") as process:
        wait_for(lambda: [*out.glob("[a-d].*")], process)
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "a process that estimated died" in errors
    assert "Traceback" not in errors
    done = {path.name for path in out.iterdir()}
    assert done <= {JOURNAL, *NAMES}
    assert not done & {*made(run(long_tables, "-o", out))}
