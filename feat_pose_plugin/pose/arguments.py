"""Questions about arguments that may be anything, to be asked before the value is used."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from numbers import Real
from typing import TypeGuard

import torch
from torch import Tensor

_LARGEST = 3e38  # float32 ends a little above


def match_name(value: object, names: Collection[str]) -> str | None:
    """The one of these names that is meant, whatever its case; None if none is."""
    if not isinstance(value, str):
        return None
    if value in names:
        return value
    return {name.lower(): name for name in names}.get(value.lower())


def unknown_name(what: str, value: object, names: Iterable[str]) -> str:
    """What to say of a name that is none of these: it, the nearest of them, and all of them."""
    near = get_close_matches(str(value).lower(), [*names], n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {value!r}.{guess} Known: {', '.join(map(repr, names))}."


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
