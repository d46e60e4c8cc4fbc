"""Each target: bytes in; it returns, or raises what is a finding."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.landmarks import landmarks

TARGETS: dict[str, Callable[[bytes], None]] = {"landmarks": landmarks}
SEEDS: dict[str, list[bytes]] = {"landmarks": [bytes([n % 7, 0, n, n // 8, n, 2]) for n in range(48)]}
