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
    """Estimate a Dask DataFrame, partition by partition, when the result is asked for.

    Of the table only the columns are read that are needed.

    Args:
        estimator: What estimates a partition. Must be possible to pickle; what it loads from
            files, each worker loads once.
        table: Landmark columns as in :func:`~feat_pose_plugin.estimate_pose`.
        frame_size: Height and width of the video frame in pixels, one pair for all rows; None for
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
    options = {"frame_size": frame_size, "device": device}
    columns = _estimate_pose(read._meta, estimator, options)  # no rows give no rows
    return read.map_partitions(_estimate_pose, estimator, options, meta=columns)


def _estimate_pose(
    partition: pd.DataFrame, estimator: Callable[..., pd.DataFrame], options: dict[str, Any]
) -> pd.DataFrame:
    """A function of its own, because Dask calls the work by its name."""
    return estimator(partition, **options)
