"""Small files from anyone: read once, of bounded size, and JSON that says one thing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a file of at most so many, read once: what is hashed is what is parsed.

    Raises:
        OSError: It cannot be read, or is no file: a pipe or a device may have no end.
        ValueError: It is larger.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return data


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8; a ValueError if it is none, too deep, or has a key twice."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_without_twins)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__}, not an object")  # noqa: TRY004
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it says one thing twice")
    return found
