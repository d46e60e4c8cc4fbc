"""Questions about arguments that may be anything, to be asked before the value is used."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from numbers import Real
from typing import TypeGuard

import torch
from torch import Tensor

from feat_pose_plugin.errors import FeatPoseError

_LARGEST = 3e38  # float32 ends a little above


def find_name(
    what: str, value: object, names: Collection[str], error: type[FeatPoseError], more: str = ""
) -> str:
    """The one of these names that is meant, whatever its case; the error says the nearest."""
    if isinstance(value, str):
        if value in names:
            return value
        for name in names:
            if name.lower() == value.lower():
                return name
    near = get_close_matches(str(value).lower(), [*names], n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise error(f"unknown {what} {value!r}.{guess} Known: {', '.join(map(repr, names))}.{more}")


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number, finite as float32."""
    return isinstance(value, Real) and bool(abs(value) <= _LARGEST)  # type: ignore[operator]


def is_length(value: object) -> TypeGuard[float]:
    """Whether it is such a number above zero."""
    return is_number(value) and value > 0


def is_plain(tensor: Tensor) -> bool:
    """Whether it holds real numbers, each in its place in memory."""
    real = not (tensor.dtype == torch.bool or tensor.is_complex() or tensor.is_quantized)
    return real and tensor.layout == torch.strided and not (tensor.is_nested or tensor.is_meta)
