"""Statistics of faces drawn again, with replacement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feat_pose_plugin.errors import EvaluationError

Numbers = NDArray[np.float64]

DRAWS = 1000


def bootstrap(
    statistic: Callable[[Numbers], Numbers],
    faces: Numbers,
    *,
    groups: NDArray[np.generic] | None,
    draws: int,
    seed: int,
) -> Numbers:
    """A statistic of as many faces as there are, drawn again and again.

    Args:
        statistic: From ``[n, k]`` faces to ``[m]`` numbers.
        faces: ``[n, k]``.
        groups: ``[n]``; faces with equal values are drawn together, as many groups as there are.
            Each face on its own if None.
        draws: How often.
        seed: Equal seeds draw equal faces.

    Returns:
        ``[draws, m]``.

    Raises:
        EvaluationError: Fewer than two draws have no spread.
    """
    if draws < 2:
        raise EvaluationError(f"draws={draws!r} of faces have no spread; draw at least twice.")
    generator = np.random.default_rng(seed)
    members = []
    if groups is not None:
        group_of, values = pd.factorize(groups, use_na_sentinel=False)
        members = [np.flatnonzero(group_of == group) for group in range(len(values))]
    statistics = []
    for _ in range(draws):
        count = len(members) or len(faces)
        rows = generator.integers(count, size=count)
        if members:
            rows = np.concatenate([members[group] for group in rows])
        statistics.append(statistic(faces[rows]))
    return np.array(statistics)
