"""Many tables: which becomes which, what is kept, made again, refused; killed and started again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from command import feat_pose, finish, is_writing, refused, start, wait_for, workers_of

from feat_pose_plugin import __version__, get_pose_backend
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.tables import run as runs
from feat_pose_plugin.tables.journal import JOURNAL, Journal
from feat_pose_plugin.tables.run import plan_outputs, refuse_existing

DEMO = {path.name: path for path in find_demo_tables()}
NAMES = ["a.csv", "b.parquet", "c.csv"]


def test_each_input_gets_its_output(tmp_path: Path) -> None:
    """A folder is the tables in it."""
    folder, single = tmp_path / "in", tmp_path / "o.parquet"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.parquet", "a.CSV", "a.txt", ".a.0123456789abcdef.csv", "deeper/c.csv"):
        (folder / name).touch()
    found = [folder / "a.CSV", folder / "b.parquet", DEMO["001.csv"]]
    planned = plan_outputs([folder, DEMO["001.csv"]], tmp_path)
    assert planned == [(source, tmp_path / source.name) for source in found]
    assert plan_outputs(found[2:], single) == [(found[2], single)]


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


def run(*arguments: object) -> list[str]:
    """The tables that a run has made, by what it says."""
    result = feat_pose("estimate", *arguments)
    assert result.exit_code == 0, result.output
    return made(result.stdout)


def made(said: str) -> list[str]:
    lines = [line for line in said.splitlines() if not line.endswith("as before")]
    return [Path(line.partition(":")[0]).name for line in lines]


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


def test_the_journal_says_what_was_made_of_what(tables: Path, out: Path) -> None:
    run(tables, "-o", out, "--convention", "300w-lp", "--height", "480", "--width", "640")
    assert [*listed(out)] == NAMES
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
    before, times = contents(out), {name: (out / name).stat().st_mtime_ns for name in NAMES}
    said = feat_pose("estimate", tables, "-o", out).stdout.splitlines()
    assert said[2] == f"{out / 'c.csv'}: 7 rows, 7 with a pose, as before"
    assert contents(out) == before
    assert {name: (out / name).stat().st_mtime_ns for name in NAMES} == times


def test_what_is_missing_or_has_another_input_is_made_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    whole = contents(out)
    (out / "a.csv").unlink()
    times = (tables / "c.csv").stat()
    (tables / "c.csv").write_bytes((tables / "a.csv").read_bytes())
    os.utime(tables / "c.csv", ns=(times.st_atime_ns, times.st_mtime_ns))  # contents count only
    assert run(tables, "-o", out) == ["a.csv", "c.csv"]
    assert (out / "a.csv").read_bytes() == (out / "c.csv").read_bytes() == whole["a.csv"]
    assert listed(out)["c.csv"]["rows"] == 40


def test_other_options_weights_or_version_make_all_again(
    tables: Path,
    out: Path,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    official = ["--model", "pose_mlp"]
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint(seed=1)))
    size = ["--height", "480", "--width", "640"]
    for options in ([], ["--convention", "img2pose"], ["--landmark-model", "3d"], size, official):
        assert run(tables, "-o", out, *options) == NAMES
        assert run(tables, "-o", out, *options) == []
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint("other.safetensors", seed=2)))
    assert run(tables, "-o", out, *official) == NAMES
    monkeypatch.setattr(runs, "__version__", "99")
    assert run(tables, "-o", out, *official) == NAMES
    assert Journal(out).find(out / "a.csv").made_by["version"] == "99"  # the newest of two alike


@pytest.mark.parametrize("change", ["foreign", "edited"])
def test_what_others_wrote_is_replaced_by_force_only(change: str, tables: Path, out: Path) -> None:
    if change == "edited":
        run(tables, "-o", out)
        (out / "a.csv").unlink()
    (out / "b.parquet").write_text("precious")
    before = contents(out)
    refused(feat_pose("estimate", tables, "-o", out), 2, "b.parquet exists", "--force")
    assert contents(out) == before
    assert "b.parquet" in run(tables, "-o", out, "--force")
    assert run(tables, "-o", out) == []


def test_in_place_with_force_and_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    assert run(tables, "-o", tables, "--force") == NAMES
    for name in NAMES:
        assert (tables / name).read_bytes() == (out / name).read_bytes()
    assert run(tables, "-o", tables, "--force") == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_table_does_not_undo_the_others(jobs: int, tables: Path, out: Path) -> None:
    """The third, which begins before the second has ended, where there are two jobs."""
    good = (tables / "c.csv").read_bytes()
    (tables / "c.csv").write_bytes(good[:1000])
    (tables / "d.csv").write_bytes(good)
    result = feat_pose("estimate", tables, "-o", out, "--jobs", jobs)
    refused(result, 2, "c.csv cannot be read as CSV: row 0 has")
    done = {path.name for path in out.iterdir()}
    assert {"a.csv", "b.parquet", JOURNAL} <= done
    (tables / "c.csv").write_bytes(good)
    assert run(tables, "-o", out) == sorted({"c.csv", "d.csv"} - done)


def test_a_line_that_was_cut_short_is_written_again(tables: Path, out: Path) -> None:
    run(tables, "-o", out)
    whole = contents(out)
    (out / JOURNAL).write_bytes((out / JOURNAL).read_bytes()[:-5])
    (out / "c.csv").unlink()  # as its line came before it
    assert run(tables, "-o", out) == ["c.csv"]
    assert contents(out) == whole


def test_parts_of_killed_runs_are_removed_and_nothing_else(tables: Path, out: Path) -> None:
    others = [".a.csv", ".d.0123456789abcdef.csv", "a.0123456789abcdef.csv", ".a.0123.csv"]
    for name in (".a.0123456789abcdef.csv", *others):
        (out / name).touch()
    run(tables, "-o", out)
    assert {path.name for path in out.iterdir()} == {*others, JOURNAL, *NAMES}


def test_a_single_file_has_no_journal(tables: Path, out: Path) -> None:
    target = out / "pose.csv"
    (out / ".pose.0123456789abcdef.csv").touch()
    run(tables / "a.csv", "-o", target)
    assert [*out.iterdir()] == [target]
    refused(feat_pose("estimate", tables / "a.csv", "-o", target), 2, "pose.csv exists", "--force")
    run(tables / "a.csv", "-o", target, "--force")


@pytest.mark.parametrize("single", [True, False])
def test_two_runs_do_not_write_to_one_place(single: bool, tables: Path, out: Path) -> None:
    output = out / "pose.csv" if single else out
    jobs = [(tables / "a.csv", out / "pose.csv")]
    estimator = PoseEstimator(backend=get_pose_backend("pose_mlp_synth"))
    (out / ".pose.0123456789abcdef.csv").touch()
    with runs.open_run(jobs, output, estimator):
        assert not [*out.glob(".pose.0*")]  # what takes room goes first
        second = feat_pose("estimate", tables / "a.csv", "-o", output)
        refused(second, 2, "another run is writing here")
        # Elsewhere in the same folder a file may be written.
        run(tables / "a.csv", "-o", out / "other.csv")
    run(tables / "a.csv", "-o", output)
    assert not [*out.glob("*.lock")]


@pytest.mark.usefixtures("one_thread")
def test_killed_and_started_again_it_ends_as_if_undisturbed(
    long_tables: Path, out: Path, tmp_path: Path
) -> None:
    with start("estimate", long_tables, "-o", out) as killed:
        wait_for((out / "a.parquet").exists, killed)
        wait_for(is_writing(out), killed)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in out.iterdir()}
    assert {"a.parquet", JOURNAL} < left  # and the part, and the lock
    assert "b.csv" not in left
    assert run(long_tables, "-o", out) == ["b.csv"]
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    with start("estimate", long_tables, "-o", undisturbed, "--jobs", "2") as whole:
        assert sorted(made(whole.communicate()[0])) == ["a.parquet", "b.csv"]
    assert contents(out) == contents(undisturbed)


def test_killed_between_the_journal_and_the_table(tables: Path, out: Path) -> None:
    run(tables, "-o", out, "--convention", "img2pose")
    script = out.with_name("script.py")
    script.write_text("""
import os, signal, sys
from feat_pose_plugin.tables import run as runs
from feat_pose_plugin.cli import app
runs.place_part = lambda part, path: os.kill(os.getpid(), signal.SIGKILL)
app(sys.argv[1:])
""")
    assert finish(start(script, "estimate", tables, "-o", out))[0] == -signal.SIGKILL
    assert listed(out)["a.csv"]["made_by"]["convention"] == "feat"  # and the table is not yet
    assert run(tables, "-o", out) == NAMES


def is_alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("victim", [pytest.param("command", marks=pytest.mark.slow), "worker"])
def test_where_one_process_is_killed_all_end_and_what_is_done_is_kept(
    victim: str, long_tables: Path, out: Path
) -> None:
    with start("estimate", long_tables, "-o", out, "--jobs", "2") as command:
        wait_for(is_writing(out), command)
        workers = workers_of(command)
        assert len(workers) == 2
        if victim == "worker":  # and the other is stuck: SIGTERM is blocked in it
            os.kill(workers[1], signal.SIGSTOP)
        os.kill(command.pid if victim == "command" else workers[0], signal.SIGKILL)
        status, errors = finish(command)
    if victim == "worker":
        assert status == 1
        assert "a process that estimated died. Was there too little memory?" in errors
        assert {path.name for path in out.iterdir()} <= {JOURNAL, "a.parquet", "b.csv"}
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = {path.name for path in out.iterdir()}
    assert not done & {*run(long_tables, "-o", out)}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_at_ten_random_moments_it_ends_as_if_undisturbed(
    jobs: str, long_tables: Path, out: Path, tmp_path: Path
) -> None:
    for number, path in enumerate([*long_tables.iterdir()] * 7):
        (long_tables / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()

    def begun(folder: Path) -> subprocess.Popen[str]:
        process = start("estimate", long_tables, "-o", folder, "--jobs", jobs)
        wait_for((folder / ".feat-pose.lock").exists, process)
        return process

    with begun(undisturbed) as whole:
        since = time.monotonic()
        whole.communicate()
    duration = time.monotonic() - since
    moments = random.Random(int(jobs))
    kills = 0
    while kills < 10:
        with begun(out) as killed:
            time.sleep(moments.uniform(0, duration / 5))
            killed.kill()
            killed.communicate()
        if killed.returncode == 0:  # done before; once more from the start
            for path in out.iterdir():
                path.unlink()
        kills += killed.returncode == -signal.SIGKILL
    with begun(out) as last:
        said, errors = last.communicate()
    assert (last.returncode, errors) == (0, "")
    assert contents(out) == contents(undisturbed)
    assert len(said.splitlines()) == 16
