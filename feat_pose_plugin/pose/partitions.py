"""A Dask DataFrame, partition by partition. Dask itself is not imported: the table brings it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from feat_pose_plugin.errors import FrameSizeError
from feat_pose_plugin.pose.frame_sizes import FRAME_SIZE_COLUMNS
from feat_pose_plugin.pose.landmarks import find_landmark_columns

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from dask.dataframe import DataFrame


def estimate_partitions(
    estimator: Callable[..., pd.DataFrame],
    table: DataFrame,
    frame_size: object,
    device: str | torch.device | None,
) -> DataFrame:
    """Estimate a table when the result is asked for; only the columns that are needed are read.

    The estimator is pickled; what it loads from files, each worker loads once. The result has the
    index, order and divisions of the table.
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
    options = {"frame_size": frame_size, "device": device}
    columns = _estimate_pose(read._meta, estimator, options)  # no rows give no rows
    return read.map_partitions(_estimate_pose, estimator, options, meta=columns)


def _estimate_pose(
    partition: pd.DataFrame, estimator: Callable[..., pd.DataFrame], options: dict[str, Any]
) -> pd.DataFrame:
    """A function of its own, because Dask calls the work by its name."""
    return estimator(partition, **options)
