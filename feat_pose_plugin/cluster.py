"""Pose by the workers of a Dask cluster. The only file that imports Dask."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feat_pose_plugin.backend import FrameSize
from feat_pose_plugin.errors import FrameSizeError, WorkerError
from feat_pose_plugin.estimate import FRAME_SIZE_COLUMNS, PoseEstimator
from feat_pose_plugin.landmarks import find_landmark_columns

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from dask.dataframe import DataFrame
    from numpy.typing import NDArray
    from torch import Tensor


def estimate_partitions(
    table: DataFrame,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | Tensor | NDArray[np.generic] | None = None,
    device: str | torch.device | None = None,
) -> DataFrame:
    """Estimate a Dask DataFrame, partition by partition, when the result is asked for.

    Of the table only the columns are read that are needed.

    Args:
        table: Landmark columns as in :func:`~feat_pose_plugin.estimate_pose`.
        estimator: What estimates, and what its columns mean. Must be possible to pickle; what it
            loads from files, each worker loads once.
        frame_size: Height and width of the video frame in pixels, one pair for all rows; by default
            those of the columns ``FrameHeight`` and ``FrameWidth``.
        device: Where the workers estimate.

    Returns:
        The pose columns; index, order and divisions of the table.

    Raises:
        LandmarkError: The table has no landmarks, or part of them.
        FrameSizeError: ``frame_size`` is something else than one pair of positive pixels.
    """
    if frame_size is not None and not isinstance(frame_size, tuple):
        raise FrameSizeError(
            "of a Dask DataFrame frame_size is one pair (height, width), got "
            f"{type(frame_size).__qualname__}. Sizes that differ belong into its columns "
            f"{' and '.join(FRAME_SIZE_COLUMNS)}."
        )
    names = [str(column).strip() for column in table.columns]
    wanted = {*find_landmark_columns(names)[0], *FRAME_SIZE_COLUMNS}
    read = table[
        [column for column, name in zip(table.columns, names, strict=True) if name in wanted]
    ]
    columns = _estimate_pose(read._meta, estimator, frame_size, device)  # no rows give no rows
    return read.map_partitions(_estimate_pose, estimator, frame_size, device, meta=columns)


def _estimate_pose(
    partition: pd.DataFrame,
    estimator: PoseEstimator,
    frame_size: FrameSize | None,
    device: str | torch.device | None,
) -> pd.DataFrame:
    """A function of its own, because Dask calls the work by its name."""
    return estimator(partition, frame_size=frame_size, device=device)


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The workers of a cluster, which see the same files as this process.

    Args:
        address: Of its scheduler, as ``tcp://host:8786``.

    Yields:
        An executor of them. Work of a worker that dies is done by another.

    Raises:
        WorkerError: Dask is not installed, no scheduler answers, or workers keep dying.
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
