"""The workers of a Dask cluster. The only file that imports Dask."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager

from feat_pose_plugin.errors import WorkerError


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The workers of the cluster with a scheduler at an address, as ``tcp://host:8786``.

    They see the same files as this process. Work of a worker that dies is done by another.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise WorkerError(
            f"a cluster needs Dask: {error}. Install it: pip install 'feat-pose-plugin[dask]'."
        ) from error
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkerError(f"no Dask scheduler answers at {address}: {error}.") from error
    with client:
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except (KilledWorker, CancelledError) as error:
            raise WorkerError(
                f"the cluster at {address} gave up: {error}. Start again: tables that are finished "
                "are kept."
            ) from error
        finally:
            executor.shutdown(wait=False)
