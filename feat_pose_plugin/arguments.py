"""Questions about arguments that may be anything, to be asked before the value is used."""

from __future__ import annotations

from numbers import Real
from typing import TypeGuard

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
