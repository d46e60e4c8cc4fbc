"""Each target: bytes in; it returns, or raises what is a finding."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.files import csv_file, parquet
from fuzz.frames import frames
from fuzz.landmarks import landmarks

TARGETS: dict[str, Callable[[bytes], None]] = {
    "landmarks": landmarks,
    "frames": frames,
    "csv": csv_file,
    "parquet": parquet,
}
SEEDS: dict[str, list[bytes]] = {
    "landmarks": [bytes([n % 7, 0, n, n // 8, n, 2]) for n in range(48)],
    "frames": [bytes([3, 2, n, n * 7 % 256, n, n * 3 % 256, n * 5 % 256, n]) for n in range(64)],
    "csv": [
        b"\x01\x80\n\x81\n\x81",
        b'\x00\x80,note\r\n\x81,"a,b"\r\n\x84,\r\n',
        b"\x01\x85\x80,\x8e\n\x81,1,2,3,4,5,6\n",
        b"\x01\x80,\x8f\n\x81,480,640\n\x86,,\n\x83,1,2\n",
        b"\x01\x80\n",
        b"\x01",
    ],
    "parquet": [bytes([m, n, 0]) for n in range(80) for m in (0, 1)]
    + [bytes([n, n % 4, 3, n, n, n * 37 % 256, n % 8, n, n, n * 31 % 256]) for n in range(64)],
}
