"""Each target: bytes in; it returns, or raises what is a finding."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.checkpoints import checkpoint
from fuzz.files import csv_file, drawn, parquet
from fuzz.frames import frames
from fuzz.json_files import json_file
from fuzz.landmarks import landmarks
from fuzz.names import names

TARGETS: dict[str, Callable[[bytes], None]] = {
    "landmarks": landmarks,
    "frames": frames,
    "csv": csv_file,
    "parquet": parquet,
    "drawn": drawn,
    "checkpoint": checkpoint,
    "json": json_file,
    "names": names,
}
DRAWN = [
    b"\x8e\n\x90\n\x90",
    b"\x91\x8e\n1,\x90\n2,\x90\n",
    b"\x85\x92\n1,2,3\n,,\n",
    b'\x93\r\n1,0,0,0\r\n"1",0,0,1\r\n',
    b"\x8e,\x8e\n\x90,\x90\n",
]
SEEDS: dict[str, list[bytes]] = {
    "landmarks": [bytes([n % 7, 0, n, n // 8, n, 2]) for n in range(48)],
    "frames": [bytes([3, 2, n, n * 7 % 256, n, n * 3 % 256, n * 5 % 256, n]) for n in range(64)],
    "csv": [
        b"\x01\x8e\n\x90\n\x90",
        b'\x00\x8e,note\r\n\x90,"a,b"\r\n,,,,,,\r\n',
        b"\x01\x85\x8e,\x8f\n\x90,1,2\n,,,,,,,\n",
        b"\x01\x8e\n\x94\n\x95\n",
        b"\x00\x8e\n",
        b"\x01",
    ],
    "parquet": [bytes([n, 0, n % 3]) for n in range(62)]
    + [bytes([n, 3, n, n, n * 37 % 256, n % 8, n, n, n * 31 % 256]) for n in range(64)],
    "drawn": [bytes([0, 0, n, 1, 3, n, n * 37 % 256, n % 8]) for n in range(64)]
    + [bytes([n % 3, 1]) + text for n in range(3) for text in DRAWN],
    "checkpoint": [bytes([n % 3, n % 5, n, n * 7 % 256, n, n % 8, n]) for n in range(60)]
    + [b"\x00\x02" + text for text in (b"\x80", b"\x81", b"\x82", b"{\x83{\x84\x85\x86}}")],
    "json": [
        b"\x00\x80\x84\x81\x82\x85",
        b"\x00\x80\x84\x81\x82\x85\x80\x83\x81\x82\x85",
        b"\x00\x80\x83\x81\x82",
        b"\x00\x86",
        b"\x01\x87",
        b"\x01\x88{\x89\x8b,\x8a\x8b}}",
        b"\x01{\x8e}",
        b"\x02\x8c\x8d}",
    ],
    "names": [bytes([n % 5, n % 10, n, n % 7, n * 3, n % 10]) for n in range(80)],
}
