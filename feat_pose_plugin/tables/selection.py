"""Rows that are kept, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def keep_rows(reasons: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, int]]:
    """``[n]`` bool, which rows to keep: those to which no reason, ``[n]`` bool each, applies.

    And how many are left out for each reason, a row counted under the first that applies.
    """
    keep = torch.ones_like(next(iter(reasons.values())))
    left_out = {}
    for reason, applies in reasons.items():
        left_out[reason] = int((keep & applies).sum())
        keep &= ~applies
    return keep, left_out
