"""Disks that fill, vanish or may not be written; signals; rivals; threads; memory: real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import finish, is_writing, start, wait_for, workers_of

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.tables.journal import JOURNAL
from feat_pose_plugin.tables.run import only_writer
from feat_pose_plugin.tables.signals import Stopped, stopping


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


@pytest.fixture
def writing(long_tables: Path, out: Path) -> subprocess.Popen[str]:
    """A run into a folder that has begun with its only table."""
    process = start("estimate", long_tables / "b.csv", "-o", out)
    wait_for(is_writing(out), process)
    return process


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Disks


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_disk_that_fills_keeps_what_was_whole(
    jobs: str, long_tables: Path, mount: Callable[..., Path]
) -> None:
    disk = mount("size=3m")
    status, errors = finish(start("estimate", long_tables, "-o", disk, "--jobs", jobs))
    assert status == 1
    assert f"{disk / 'b.csv'} could not be written: No space left on device" in errors
    assert names(disk) <= {"a.parquet", JOURNAL}
    subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
    assert finish(start("estimate", long_tables, "-o", disk)) == (0, "")
    assert names(disk) == {"a.parquet", "b.csv", JOURNAL}


def test_a_full_disk_leaves_the_old_output_of_every_command(
    long_tables: Path, mount: Callable[..., Path]
) -> None:
    disk = mount("size=256k")
    (disk / "pose.parquet").write_bytes(b"old")
    (disk / "rest").write_bytes(bytes(240 << 10))
    before = contents(disk)
    force = ["-o", disk / "pose.parquet", "--force"]
    for arguments in (["estimate", long_tables / "a.parquet", *force], ["demo", "-o", disk]):
        status, errors = finish(start(*arguments))
        assert status == 1
        assert "No space left on device" in errors
        assert contents(disk) == before


def test_a_disk_that_is_full_when_it_is_too_late(
    long_tables: Path, mount: Callable[..., Path]
) -> None:
    """It takes what is written and has no place for it, as thin volumes and quotas."""
    image = mount("size=2m") / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext2", "-q", "-F", image], check=False)
    if made.returncode != 0:
        pytest.skip("a file system cannot be made here")
    disk = mount("loop", image=image)
    before = names(disk)
    status, errors = finish(start("estimate", long_tables / "b.csv", "-o", disk / "pose.csv"))
    assert status == 1
    assert "could not be written: No space left on device" in errors
    assert names(disk) == before


def test_a_folder_that_may_not_be_written(long_tables: Path, mount: Callable[..., Path]) -> None:
    disk = mount("size=10m")
    (disk / "a.parquet").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    status, errors = finish(start("estimate", long_tables / "a.parquet", "-o", disk, "--force"))
    assert status == 1
    assert "could not be written: Read-only file system" in errors
    assert contents(disk) == {"a.parquet": b"old"}


@pytest.mark.parametrize("other", ["disk", "folder"])
def test_another_folder_gets_no_table_in_its_place(
    other: str, long_tables: Path, mount: Callable[..., Path]
) -> None:
    """The path is there, and is another: a disk is mounted over it, or it was moved and made again.

    The folder in which a disk begins has one number on all disks.
    """
    disk = mount("size=30m")
    folder = disk if other == "disk" else disk / "out"
    folder.mkdir(exist_ok=True)
    process = start("estimate", long_tables / "b.csv", "-o", folder)
    wait_for(is_writing(folder), process)
    part = next(folder.glob(".b.*.csv"))
    with part.open() as file:
        if other == "disk":
            mount("size=30m", over=disk)
        else:
            folder.rename(disk / "moved")
            folder.mkdir()
        part.symlink_to(f"/proc/{os.getpid()}/fd/{file.fileno()}")  # so that the part is found
        status, errors = finish(process)
    assert status == 1
    assert f"the folder {folder} is not the one that this run began in" in errors
    assert names(folder) <= {part.name}


def test_a_folder_that_is_gone_is_said(writing: subprocess.Popen[str], out: Path) -> None:
    out.rename(out.with_name("moved"))
    status, errors = finish(writing)
    assert status == 1
    assert f"{out / 'b.csv'} could not be written" in errors


# Inputs that change


@pytest.mark.parametrize("how", ["replaced", "appended to", "removed"])
def test_a_table_that_changes_while_it_is_read(
    how: str, writing: subprocess.Popen[str], long_tables: Path, out: Path
) -> None:
    source = long_tables / "b.csv"
    writing.send_signal(signal.SIGSTOP)
    match how:
        case "replaced":
            other = long_tables / "other"
            other.write_bytes(source.read_bytes())
            shutil.copystat(source, other)  # so that nothing but the file is another
            other.replace(source)
        case "appended to":
            line = source.read_bytes().splitlines(keepends=True)[1]
            with source.open("ab") as file:
                file.write(line)
        case "removed":
            source.unlink()
    writing.send_signal(signal.SIGCONT)
    status, errors = finish(writing)
    assert status == 2
    said = "" if how == "removed" else "was changed or replaced while it was read"
    assert f"{source} {said}" in errors  # removed before it was opened, or after
    assert names(out) <= {JOURNAL}


# Signals


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")])
def test_signals_end_a_run_that_goes_on_afterwards(
    number: signal.Signals, jobs: str, long_tables: Path, out: Path
) -> None:
    """To the whole group, as terminals and clusters send them; and another, out of impatience."""
    process = start("estimate", long_tables, "-o", out, "--jobs", jobs, start_new_session=True)
    wait_for(is_writing(out), process)
    os.killpg(process.pid, number)
    os.killpg(process.pid, signal.SIGTERM)
    status, errors = finish(process)
    assert status == 128 + number
    assert errors == f"Stopped by {number.name}. What is finished is kept; start again to go on.\n"
    assert names(out) <= {JOURNAL, "a.parquet"}
    assert finish(start("estimate", long_tables, "-o", out)) == (0, "")
    assert names(out) == {JOURNAL, "a.parquet", "b.csv"}


def test_what_a_shell_ignores_and_a_worker_alone_gets_changes_nothing(
    long_tables: Path, out: Path
) -> None:
    """Workers end with the command, not before: a signal to a job reaches them in any order."""
    process = start(
        *("estimate", long_tables, "-o", out, "--jobs", "2"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    wait_for(is_writing(out), process)
    process.send_signal(signal.SIGINT)
    workers = workers_of(process)
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    assert finish(process) == (0, "")


def test_a_caller_has_its_handlers_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        with pytest.raises(Stopped) as caught, stopping():
            os.kill(os.getpid(), number)
        assert caught.value.number == number
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_thread_has_no_signals_and_needs_none() -> None:
    ended: list[bool] = []

    def work() -> None:
        with stopping():
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


# Rivals


def test_of_two_that_write_one_output_one_says_so(long_tables: Path, out: Path) -> None:
    pose = out / "pose.csv"
    for command in (
        ["estimate", long_tables / "b.csv", "-o", pose],
        ["convert", pose, "-o", out / "degrees.csv", "--from", "feat", "--to", "300w-lp"],
    ):
        ended = sorted(map(finish, [start(*command) for _ in range(2)]))
        assert [status for status, _ in ended] == [0, 2]
        assert "another run is writing here" in ended[1][1] or "exists" in ended[1][1]
        assert len(pd.read_csv(Path(str(command[3])))) == 16_000
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
def test_of_a_folder_and_a_file_in_it_one_says_so(first: str, long_tables: Path, out: Path) -> None:
    """They have locks of their own; who starts clears away what is no table yet."""
    source, table = long_tables / "b.csv", out / "b.csv"
    outputs = {"folder": out, "file": table}
    later = start("estimate", source, "-o", outputs.pop(first))
    wait_for(is_writing(out), later)
    later.send_signal(signal.SIGSTOP)
    (other,) = outputs.values()
    assert finish(start("estimate", source, "-o", other, "--quality"))[0] == 0
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
        end = time.monotonic() + 1
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
    assert len(entered) > 10
    assert names(tmp_path) == set()


# Threads and memory


@pytest.mark.slow
def test_two_hundred_threads_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import threading, torch
torch.set_num_threads(2)
from feat_pose_plugin import estimate_pose
from feat_pose_plugin.testing import project_face
faces = project_face(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)) / 2)
found, begin = [], threading.Barrier(200)
def work():
    begin.wait()
    found.append(estimate_pose(faces, frame_size=(1000, 1000)))
threads = [threading.Thread(target=work) for _ in range(200)]
for thread in threads: thread.start()
for thread in threads: thread.join()
expected = estimate_pose(faces, frame_size=(1000, 1000))
assert len(found) == 200
assert max((pose - expected).abs().max(axis=None) for pose in found) < 1e-5
""")
    assert finish(start(script)) == (0, "")


@pytest.mark.parametrize("work", ["model", "table", "worker"])
def test_memory_that_is_refused_is_said_in_one_line(work: str, tables: Path, out: Path) -> None:
    """By Python or by Arrow, in this process or another."""
    script = out.with_name("script.py")
    script.write_text(f"""
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
""")
    jobs = "2" if work == "worker" else "1"
    status, errors = finish(start(script, "estimate", tables, "-o", out, "--jobs", jobs))
    assert status == 1
    assert errors.startswith("Error: there was too little memory: ")
    assert errors.endswith(
        "Start again with fewer processes or more memory: what is finished is kept.\n"
    )
    assert names(out) == set()
