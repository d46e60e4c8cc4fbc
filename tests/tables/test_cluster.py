"""Dask: lazily, by workers that are processes, one of them killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dask.dataframe.utils import assert_eq
from distributed import Client, LocalCluster, futures_of

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import FrameSizeError, LandmarkError, WeightsError, WorkerError
from feat_pose_plugin.mlp.weights import PATH_VARIABLE
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables.cluster import cluster_executor
from feat_pose_plugin.tables.journal import JOURNAL

COMMAND = Path(sys.executable).with_name("feat-pose")
ANGLES = ["Pitch", "Roll", "Yaw"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process of its own."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="ERROR"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    """Real frames over and over, some without a face; the index is no count of them."""
    table = pd.concat([pd.read_csv(find_demo_tables()[0])] * 30, ignore_index=True)
    table[landmark_columns()] += np.random.default_rng(0).normal(size=(len(table), 136))
    table.loc[::7, "x_3"] = np.nan
    table = table.copy()  # in one piece again
    table.index = pd.Index(np.arange(len(table)) * 3 + 100, name="frame")
    return table


@pytest.mark.parametrize("options", [{}, {"convention": "300w-lp", "quality": True}])
def test_workers_say_what_this_process_says(
    options: dict[str, object], faces: pd.DataFrame, client: Client
) -> None:
    lazy = dd.from_pandas(faces, npartitions=12)
    pose = estimate_pose(lazy, frame_size=(480, 640), **options)
    assert isinstance(pose, dd.DataFrame)
    assert pose.divisions == lazy.divisions
    expected = estimate_pose(faces, frame_size=(480, 640), **options)
    # Also checks dtypes, names and index of each partition against what was promised.
    assert_eq(pose, expected, check_exact=False, atol=1e-4, scheduler=client)
    assert pose.index.name == "frame"


def test_nothing_is_computed_until_it_is_asked_for(faces: pd.DataFrame) -> None:
    @dask.delayed
    def fail() -> pd.DataFrame:
        raise AssertionError("computed")

    lazy = dd.from_delayed([fail(), fail()], meta=faces[:0])
    pose = estimate_pose(lazy)
    assert pose.columns.tolist()[:3] == ANGLES
    assert (pose.dtypes == "float32").all()
    with pytest.raises(AssertionError, match="computed"):
        pose.compute(scheduler="synchronous")


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")  # Dask's
def test_only_the_columns_that_are_needed_are_read(faces: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    faces.assign(note="not read").to_parquet(path, index=False)
    columns = pq.ParquetFile(path).metadata.row_group(0)
    (note,) = [
        columns.column(place)
        for place in range(columns.num_columns)
        if columns.column(place).path_in_schema == "note"
    ]
    with path.open("r+b") as file:
        file.seek(note.dictionary_page_offset)
        file.write(b"\xff" * note.total_compressed_size)
    lazy = dd.read_parquet(path)
    with pytest.raises(OSError, match="deserialize"):
        lazy.compute(scheduler="synchronous")
    assert len(estimate_pose(lazy).compute(scheduler="synchronous")) == len(faces)


def test_what_cannot_be_estimated_is_said_before(faces: pd.DataFrame) -> None:
    with pytest.raises(LandmarkError, match="'y_40'"):
        estimate_pose(dd.from_pandas(faces.drop(columns="y_40"), npartitions=2))
    with pytest.raises(FrameSizeError, match="FrameHeight and FrameWidth"):
        estimate_pose(dd.from_pandas(faces, npartitions=2), frame_size=np.ones((len(faces), 2)))


def test_each_worker_loads_weights_once(faces: pd.DataFrame, client: Client) -> None:
    client.restart()

    def count() -> None:
        from feat_pose_plugin.mlp import weights

        read = weights.read_checkpoint
        weights.loaded = []

        def counted(path: Path) -> object:
            weights.loaded.append(path.name)
            return read(path)

        weights.read_checkpoint = counted

    def loaded() -> list[str]:
        from feat_pose_plugin.mlp import weights

        return sorted(weights.loaded)

    client.run(count)
    estimate_pose(dd.from_pandas(faces, npartitions=20)).compute(scheduler=client)
    needed = ["pose_mlp_synth_2d.safetensors"]
    assert [*client.run(loaded).values()] == [needed, needed]


def test_a_worker_with_other_weights_in_the_same_place_says_so(
    faces: pd.DataFrame,
    client: Client,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PATH_VARIABLE, str(make_checkpoint(seed=1)))
    pose = estimate_pose(dd.from_pandas(faces, npartitions=2), pose_model="pose_mlp")
    make_checkpoint(seed=2)  # as if the worker saw another disk
    with pytest.raises(WeightsError, match="holds other weights here"):
        pose.compute(scheduler=client)


def test_a_worker_that_dies_is_replaced(
    faces: pd.DataFrame, client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"  # nobody goes on to the second half before the worker is dead

    @dask.delayed
    def part(number: int) -> pd.DataFrame:
        while number >= 10 and not gate.exists():
            time.sleep(0.01)
        return faces[number * 60 : number * 60 + 60]

    lazy = dd.from_delayed([part(number) for number in range(20)], meta=faces[:0])
    pose = client.persist(estimate_pose(lazy))
    futures = futures_of(pose)
    while sum(future.done() for future in futures) < 5:
        time.sleep(0.01)
    pid = next(iter(client.run(os.getpid, on_error="ignore").values()))
    os.kill(pid, signal.SIGKILL)
    gate.touch()
    pd.testing.assert_frame_equal(
        pose.compute(scheduler=client), estimate_pose(faces), check_exact=False, atol=1e-5
    )
    client.wait_for_workers(2)
    assert pid not in client.run(os.getpid).values()


@pytest.mark.slow
def test_work_that_kills_every_worker_is_given_up(cluster: LocalCluster) -> None:
    with (
        pytest.raises(WorkerError, match=r"the cluster at .* gave up: .* finished are kept"),
        cluster_executor(cluster.scheduler_address) as executor,
    ):
        executor.submit(os._exit, 1).result()


@pytest.fixture
def folder(faces: pd.DataFrame, tmp_path: Path) -> Path:
    """Tables of different lengths, all of them long enough for a worker to be killed at one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        table = pd.concat([faces] * 5)[number * 10 :]
        table.to_parquet(folder / f"part.{number}.parquet")
    return folder


def estimate(folder: Path, out: Path, cluster: LocalCluster) -> subprocess.Popen[str]:
    out.mkdir(exist_ok=True)
    arguments = [COMMAND, "estimate", folder, "-o", out, "--scheduler", cluster.scheduler_address]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent
    )


def test_the_command_has_workers_estimate_a_folder(
    folder: Path, cluster: LocalCluster, client: Client
) -> None:
    """One of them killed in the middle; and there is nothing to do when it is started again."""
    out = folder.with_name("out")
    with estimate(folder, out, cluster) as command:
        while command.poll() is None and not (out / JOURNAL).exists():
            time.sleep(0.001)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        said, errors = command.communicate()
    assert (command.returncode, errors) == (0, "")
    assert len(said.splitlines()) == 8
    for path in folder.iterdir():
        before, after = pd.read_parquet(path), pd.read_parquet(out / path.name)
        others = before.columns.difference(ANGLES)
        pd.testing.assert_frame_equal(after[others], before[others])
        expected = estimate_pose(before)
        np.testing.assert_allclose(after[ANGLES], expected[ANGLES], atol=1e-5)
    assert {path.name for path in out.iterdir()} == {
        JOURNAL, *(path.name for path in folder.iterdir())
    }  # fmt: skip
    with estimate(folder, out, cluster) as again:
        said, errors = again.communicate()
    assert (again.returncode, errors) == (0, "")
    assert all(line.endswith("as before") for line in said.splitlines())


def test_an_error_of_a_worker_is_said_as_any_other(
    folder: Path, cluster: LocalCluster, client: Client
) -> None:
    (folder / "part.3.parquet").write_bytes(b"PAR1")
    with estimate(folder, folder.with_name("out"), cluster) as command:
        _, errors = command.communicate()
    assert command.returncode == 2
    # Work that is cancelled can make Dask's client log something before.
    said = f"Error: {folder / 'part.3.parquet'} cannot be read as Parquet"
    assert errors.splitlines()[-1].startswith(said)


def test_a_scheduler_that_does_not_answer() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": 0.5}),
        pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        cluster_executor("tcp://127.0.0.1:9"),
    ):
        raise AssertionError("connected")
    with pytest.raises(WorkerError, match="at nonsense"), cluster_executor("nonsense"):
        raise AssertionError("connected")


def test_without_dask_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(WorkerError, match=r"pip install 'feat-pose-plugin\[dask\]'"),
        cluster_executor("tcp://127.0.0.1:9"),
    ):
        raise AssertionError("connected")
