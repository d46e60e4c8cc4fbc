"""Dask: lazily, by workers that are processes, one of them killed in the middle."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from command import feat_pose, finish, start, wait_for
from dask.dataframe.utils import assert_eq
from distributed import Client, LocalCluster

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import (
    FrameSizeError,
    LandmarkError,
    OptionError,
    WeightsError,
    WorkerError,
)
from feat_pose_plugin.mlp.weights import PATH_VARIABLE
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.tables.cluster import cluster_executor
from feat_pose_plugin.tables.journal import JOURNAL

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
    with pytest.raises(OptionError, match="device 'moon' is not available"):
        estimate_pose(dd.from_pandas(faces, npartitions=2), device="moon")


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


@pytest.fixture
def command(folder: Path, out: Path, cluster: LocalCluster) -> list[object]:
    return ["estimate", folder, "-o", out, "--scheduler", cluster.scheduler_address]


def test_the_command_has_workers_estimate_a_folder(
    command: list[object], folder: Path, out: Path, client: Client
) -> None:
    """One of them killed in the middle; and there is nothing to do when it is started again."""
    with start(*command) as first:
        wait_for((out / JOURNAL).exists, first)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        status, errors = finish(first)  # Dask may log that it lost a worker
        assert status == 0, errors
    for path in folder.iterdir():
        before, after = pd.read_parquet(path), pd.read_parquet(out / path.name)
        others = before.columns.difference(ANGLES)
        pd.testing.assert_frame_equal(after[others], before[others])
        expected = estimate_pose(before)
        np.testing.assert_allclose(after[ANGLES], expected[ANGLES], atol=1e-5)
    assert {path.name for path in out.iterdir()} == {
        JOURNAL, *(path.name for path in folder.iterdir())
    }  # fmt: skip
    said = feat_pose(*command).stdout.splitlines()
    assert len(said) == 8
    assert all(line.endswith("as before") for line in said)


def test_an_error_of_a_worker_is_said_as_any_other(
    command: list[object], folder: Path, client: Client
) -> None:
    (folder / "part.3.parquet").write_bytes(b"PAR1")
    status, errors = finish(start(*command))
    assert status == 2
    # Work that is cancelled can make Dask's client log something beside it.
    assert f"Error: {folder / 'part.3.parquet'} cannot be read as Parquet" in errors


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
