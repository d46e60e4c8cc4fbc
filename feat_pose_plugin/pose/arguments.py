"""Questions about arguments that may be anything, to be asked before the value is used."""

from __future__ import annotations

from numbers import Real
from typing import TypeGuard

import torch
from torch import Tensor

_LARGEST = 3e38  # float32 ends a little above


def is_name(value: object, names: tuple[str, ...]) -> bool:
    """Whether it is one of these names."""
    return isinstance(value, str) and value in names


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
