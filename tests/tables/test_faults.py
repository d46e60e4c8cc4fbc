"""Disks that fill, vanish or may not be written; signals; rivals; threads; memory: real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables.journal import JOURNAL
from feat_pose_plugin.tables.run import only_writer
from feat_pose_plugin.tables.signals import Stopped, stopping

COMMAND = Path(sys.executable).with_name("feat-pose")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two tables of 1.5 and 4 megabytes, which take a while."""
    folder = tmp_path / "in"
    folder.mkdir()
    face = pd.read_csv(find_demo_tables()[0])[landmark_columns()]
    table = pd.concat([face] * 100, ignore_index=True)
    table += np.random.default_rng(0).normal(size=table.shape)
    table.round(3).to_csv(folder / "b.csv", index=False)
    table[:1000].to_parquet(folder / "a.parquet", index=False)
    return folder


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of its own: in memory, or out of a file that is an image of one."""
    mounted: list[Path] = []

    def make(options: str, *, image: Path | None = None, over: Path | None = None) -> Path:
        folder = over or tmp_path / f"mount{len(mounted)}"
        folder.mkdir(exist_ok=True)
        kind = ["-t", "tmpfs", "tmpfs"] if image is None else [image]
        command = ["mount", "-o", options, *kind, folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a file system cannot be mounted here: {error}")
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


def start(*arguments: object, **settings: object) -> subprocess.Popen[str]:
    command = [COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, **settings)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and what was said about it."""
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, errors


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.002)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_writing(folder: Path) -> Callable[[], bool]:
    """Whether there is part of a table in a folder."""
    return lambda: next(folder.glob(".[abp]*.????????????????.*"), None) is not None


# Disks


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_disk_that_fills_keeps_what_was_whole(
    jobs: str, tables: Path, mount: Callable[..., Path], tmp_path: Path
) -> None:
    disk = mount("size=3m")
    status, errors = finish(start("estimate", tables, "-o", disk, "--jobs", jobs))
    assert status == 1
    assert f"{disk / 'b.csv'} could not be written: No space left on device" in errors
    assert names(disk) <= {"a.parquet", JOURNAL}
    subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
    assert finish(start("estimate", tables, "-o", disk, "--jobs", jobs)) == (0, "")
    assert names(disk) == {"a.parquet", "b.csv", JOURNAL}


def test_a_full_disk_leaves_the_old_output_of_every_command(
    tables: Path, mount: Callable[..., Path]
) -> None:
    disk = mount("size=256k")
    (disk / "pose.parquet").write_bytes(b"old")
    (disk / "rest").write_bytes(bytes(240 << 10))
    before = contents(disk)
    source = tables / "a.parquet"
    target = disk / "pose.parquet"
    for arguments in (
        ["estimate", source, "-o", target, "--force"],
        ["demo", "-o", disk],
    ):
        status, errors = finish(start(*arguments))
        assert status == 1
        assert "No space left on device" in errors
        assert contents(disk) == before


def test_a_disk_that_is_full_when_it_is_too_late(tables: Path, mount: Callable[..., Path]) -> None:
    """It takes what is written and has no place for it, as thin volumes and quotas."""
    image = mount("size=2m") / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext2", "-q", "-F", image], check=False)
    if made.returncode != 0:
        pytest.skip("a file system cannot be made here")
    disk = mount("loop", image=image)
    before = names(disk)
    status, errors = finish(start("estimate", tables / "b.csv", "-o", disk / "pose.csv"))
    assert status == 1
    assert "could not be written: No space left on device" in errors
    assert names(disk) == before


def test_a_folder_that_may_not_be_written(tables: Path, mount: Callable[..., Path]) -> None:
    disk = mount("size=10m")
    (disk / "a.parquet").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for output in (disk, disk / "pose.csv"):
        status, errors = finish(start("estimate", tables / "a.parquet", "-o", output, "--force"))
        assert status == 1
        assert "could not be written: Read-only file system" in errors
    assert contents(disk) == {"a.parquet": b"old"}


def test_a_disk_that_is_unmounted_gets_no_table_in_its_place(
    tables: Path, mount: Callable[..., Path]
) -> None:
    disk = mount("size=30m")
    process = start("estimate", tables, "-o", disk)
    wait_for(lambda: is_writing(disk)() and (disk / "a.parquet").exists(), process)
    subprocess.run(["umount", "-l", disk], check=True)
    status, errors = finish(process)
    assert status == 1
    assert str(disk) in errors
    assert names(disk) == set()  # what the disk was mounted over


def test_another_disk_gets_no_table_in_its_place(tables: Path, mount: Callable[..., Path]) -> None:
    """The folder in which a disk begins has one number on all disks."""
    disk = mount("size=30m")
    process = start("estimate", tables / "b.csv", "-o", disk)
    wait_for(is_writing(disk), process)
    part = next(disk.glob(".b.*.csv"))
    with part.open() as file:
        mount("size=30m", over=disk)
        part.symlink_to(f"/proc/{os.getpid()}/fd/{file.fileno()}")  # so that the part is found
        status, errors = finish(process)
    assert status == 1
    assert f"the folder {disk} is not the one that this run began in" in errors
    assert names(disk) <= {part.name}


def test_a_folder_that_is_gone_is_said(tables: Path, out: Path) -> None:
    process = start("estimate", tables / "b.csv", "-o", out)
    wait_for(is_writing(out), process)
    out.rename(out.with_name("moved"))
    status, errors = finish(process)
    assert status == 1
    assert f"{out / 'b.csv'} could not be written" in errors


def test_a_folder_that_is_moved_gets_no_table_in_its_place(tables: Path, out: Path) -> None:
    """As a disk that is mounted again: the path is there, and is another folder."""
    process = start("estimate", tables / "b.csv", "-o", out)
    wait_for(is_writing(out), process)
    part = next(out.glob(".b.*.csv"))
    moved = out.rename(out.with_name("moved"))
    out.mkdir()
    (out / part.name).symlink_to(moved / part.name)  # so that the part is found
    status, errors = finish(process)
    assert status == 1
    assert f"the folder {out} is not the one that this run began in" in errors
    assert names(out) <= {part.name}


# Inputs that change


@pytest.mark.parametrize("how", ["replaced", "appended to", "removed"])
def test_a_table_that_changes_while_it_is_read(how: str, tables: Path, out: Path) -> None:
    source, target = tables / "b.csv", out / "pose.csv"
    process = start("estimate", source, "-o", target)
    wait_for(is_writing(out), process)
    process.send_signal(signal.SIGSTOP)
    match how:
        case "replaced":
            other = tables / "other"
            other.write_bytes(source.read_bytes())
            shutil.copystat(source, other)  # so that nothing but the file is another
            other.replace(source)
        case "appended to":
            line = source.read_bytes().splitlines(keepends=True)[1]
            with source.open("ab") as file:
                file.write(line)
        case "removed":
            source.unlink()
    process.send_signal(signal.SIGCONT)
    status, errors = finish(process)
    assert status == 2
    if how == "removed":  # before it was opened, or after
        assert f"{source} " in errors
    else:
        assert f"{source} was changed or replaced while it was read" in errors
    assert names(out) == set()


# Signals


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
def test_signals_end_a_run_that_goes_on_afterwards(
    number: signal.Signals, jobs: str, tables: Path, out: Path, tmp_path: Path
) -> None:
    """To the whole group, as terminals and clusters send them; and another, out of impatience."""
    process = start("estimate", tables, "-o", out, "--jobs", jobs, start_new_session=True)
    wait_for(is_writing(out), process)
    os.killpg(process.pid, number)
    os.killpg(process.pid, signal.SIGTERM)
    status, errors = finish(process)
    assert status == 128 + number
    assert errors == f"Stopped by {number.name}. What is finished is kept; start again to go on.\n"
    assert names(out) <= {JOURNAL, "a.parquet"}
    assert finish(start("estimate", tables, "-o", out)) == (0, "")
    assert names(out) == {JOURNAL, "a.parquet", "b.csv"}


def test_what_a_shell_ignores_is_ignored(tables: Path, out: Path) -> None:
    process = start(
        "estimate", tables, "-o", out,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    wait_for(is_writing(out), process)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "")


def test_a_signal_to_a_worker_alone_is_nothing_to_it(tables: Path, out: Path) -> None:
    """It ends with the command, not before: a signal to a whole job reaches them in any order."""
    process = start("estimate", tables, "-o", out, "--jobs", "2")
    wait_for(is_writing(out), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [
        pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(workers) == 2
    for worker in workers:
        os.kill(int(worker), signal.SIGINT)
        os.kill(int(worker), signal.SIGTERM)
    assert finish(process) == (0, "")


def test_a_caller_has_its_handlers_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        with pytest.raises(Stopped) as caught, stopping():
            os.kill(os.getpid(), number)
        assert caught.value.number == number
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_command_in_another_thread_has_no_signals_and_needs_none(tables: Path, out: Path) -> None:
    said = in_time(f"""
import threading
from feat_pose_plugin.cli import app
command = ["estimate", {str(tables / "a.parquet")!r}, "-o", {str(out / "a.parquet")!r}]
def work():
    print(app(command, standalone_mode=False))
thread = threading.Thread(target=work)
thread.start()
thread.join()
""")
    assert said[-1] == "None"
    assert names(out) == {"a.parquet"}


# Rivals


def test_of_two_that_write_one_output_one_says_so(tables: Path, out: Path) -> None:
    pose = out / "pose.csv"
    for command in (
        ["estimate", tables / "b.csv", "-o", pose],
        ["convert", pose, "-o", out / "degrees.csv", "--from", "feat", "--to", "300w-lp"],
    ):
        target = Path(str(command[3]))
        processes = [start(*command) for _ in range(2)]
        ended = sorted(map(finish, processes))
        assert [status for status, _ in ended] == [0, 2]
        assert "another run is writing here" in ended[1][1] or "exists" in ended[1][1]
        assert len(pd.read_csv(target)) == 4000
    assert names(out) == {"pose.csv", "degrees.csv"}


def test_what_another_made_since_the_command_began_is_not_replaced(
    tmp_path: Path, out: Path
) -> None:
    pose = pd.DataFrame(np.full((200_000, 3), 0.1), columns=["Pitch", "Roll", "Yaw"])
    sources = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for source in sources:
        pose.to_csv(source, index=False)
    process = start("convert", *sources, "-o", out, "--from", "feat", "--to", "img2pose")
    wait_for(is_writing(out), process)
    process.send_signal(signal.SIGSTOP)
    (out / "b.csv").write_text("mine")
    process.send_signal(signal.SIGCONT)
    status, errors = finish(process)
    assert status == 2
    assert f"the output {out / 'b.csv'} exists" in errors
    assert names(out) == {"a.csv", "b.csv"}
    assert (out / "b.csv").read_text() == "mine"


@pytest.mark.parametrize("first", [pytest.param("folder", marks=pytest.mark.slow), "file"])
def test_of_a_folder_and_a_file_in_it_one_says_so(first: str, tables: Path, out: Path) -> None:
    """They have locks of their own; who starts clears away what is no table yet."""
    table = out / "b.csv"
    outputs = {"folder": out, "file": table}
    later = start("estimate", tables / "b.csv", "-o", outputs.pop(first))
    wait_for(is_writing(out), later)
    later.send_signal(signal.SIGSTOP)
    (other,) = outputs.values()
    assert finish(start("estimate", tables / "b.csv", "-o", other, "--quality"))[0] == 0
    made = table.read_bytes()
    later.send_signal(signal.SIGCONT)
    status, errors = finish(later)
    assert status == 1
    assert f"{table} could not be written: No such file or directory" in errors
    assert table.read_bytes() == made
    assert names(out) - {JOURNAL} == {"b.csv"}


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """Though each removes it at the end, and others have it open by then."""
    path, inside = tmp_path / "pose.csv", threading.Lock()
    together, entered = [], []

    def work() -> None:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                with only_writer(path):
                    alone = inside.acquire(blocking=False)
                    (entered if alone else together).append(1)
                    time.sleep(0)
                    if alone:
                        inside.release()
            except TableError:
                continue

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == []
    assert len(entered) > 20
    assert names(tmp_path) == set()


# Clocks


@pytest.mark.slow
def test_what_is_done_is_told_by_content_not_by_time(tables: Path, out: Path) -> None:
    small = pd.read_parquet(tables / "a.parquet")[:20].round(1)
    (tables / "a.parquet").unlink()
    (tables / "b.csv").unlink()
    source = tables / "c.csv"
    small.to_csv(source, index=False)
    assert finish(start("estimate", tables, "-o", out)) == (0, "")
    made = contents(out)
    for moment in (0, 4e9):  # a clock that was set back, and one that runs ahead
        for path in (*out.iterdir(), source):
            os.utime(path, (moment, moment))
        process = start("estimate", tables, "-o", out)
        said = process.communicate()[0]
        assert said.endswith("as before\n")
        assert contents(out) == made
    # Other content of the same size, older than what was made of it.
    first, second, *rest = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join([first, *rest, second]))
    os.utime(source, (0, 0))
    process = start("estimate", tables, "-o", out)
    assert not process.communicate()[0].endswith("as before\n")
    assert contents(out) != made


# Threads


def in_time(code: str, seconds: float = 60) -> list[str]:
    """What a script prints."""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


_FACES = """
import os, sys, threading, torch
torch.set_num_threads(2)
from feat_pose_plugin import estimate_pose
from feat_pose_plugin.testing import project_face
faces = project_face(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)) / 2)

def estimate():
    return torch.from_numpy(estimate_pose(faces, frame_size=(1000, 1000)).to_numpy())
"""


@pytest.mark.slow
def test_two_hundred_threads_at_once() -> None:
    said = in_time(
        _FACES
        + """
found, begin = [], threading.Barrier(200)
def work():
    begin.wait()
    found.append(estimate())
threads = [threading.Thread(target=work) for _ in range(200)]
for thread in threads: thread.start()
for thread in threads: thread.join()
expected = estimate()
print(len(found), max(float((pose - expected).abs().max()) for pose in found) < 1e-5)
"""
    )
    assert said == ["200", "True"]


# Memory


@pytest.mark.parametrize("work", ["model", "table", "worker"])
def test_memory_that_is_refused_is_said_in_one_line(work: str, tables: Path, out: Path) -> None:
    """By Python or by Arrow, in this process or another."""
    code = f"""
import sys
import numpy, pyarrow
from feat_pose_plugin.cli import app
from feat_pose_plugin.pose import registry
from feat_pose_plugin.tables import run

def refuse(*given, **options):
    if {work == "model"}:
        numpy.empty(1 << 60, "u1")
    pyarrow.allocate_buffer(1 << 60)

if {work == "model"}:
    registry.get_pose_backend = refuse
else:
    run.estimate_table = refuse
if __name__ == "__main__":
    app(sys.argv[1:])
"""
    script = out.with_name("script.py")
    script.write_text(code)
    jobs = "2" if work == "worker" else "1"
    command = [sys.executable, script, "estimate", tables, "-o", out, "--jobs", jobs]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    status, errors = finish(subprocess.Popen(command, **pipes))
    assert status == 1
    assert errors.startswith("Error: there was too little memory: ")
    assert errors.endswith(
        "Start again with fewer processes or more memory: what is finished is kept.\n"
    )
    assert names(out) == set()


def test_a_worker_that_is_stuck_is_not_waited_for_when_another_died(
    tables: Path, out: Path
) -> None:
    """Stuck as where a thread never starts; SIGTERM is blocked in it."""
    process = start("estimate", tables, "-o", out, "--jobs", "2")
    wait_for(is_writing(out), process)
    children = Path("/proc", str(process.pid), "task").glob("*/children")
    found = sorted({int(pid) for task in children for pid in task.read_text().split()})
    workers = [p for p in found if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGSTOP)
    os.kill(workers[1], signal.SIGKILL)
    try:
        status, errors = finish(process)
    finally:
        process.kill()
    assert status == 1
    assert "a process that estimated died. Was there too little memory?" in errors
    assert names(out) <= {JOURNAL, "a.parquet", "b.csv"}
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
