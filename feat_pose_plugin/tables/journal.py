"""What the pose tables in a folder were made of: a line for each, added when it is finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.files import writing
from feat_pose_plugin.pose.reading import parse_json, read_bytes

JOURNAL = "feat-pose.jsonl"

_LARGEST = 256 << 20  # bytes; a table takes one or two thousand


@dataclass(frozen=True)
class Entry:
    """How one table was made, and how many of its rows have a pose.

    ``made_by`` is the version of this package, the model, hashes of its weights, and all options.
    """

    output: str
    output_sha256: str
    input: str
    input_sha256: str
    rows: int
    faces: int
    made_by: Mapping[str, Any]


class Journal:
    """The entries of a folder, the oldest first.

    A line is added before its table is put into place. So a file with the hash of an entry was made
    by this package, and any other file by somebody else, whenever the process that writes is
    killed. A line that was cut short by that is left out.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._size = 0  # bytes, up to the last line that is whole
        self._entries: defaultdict[str, list[Entry]] = defaultdict(list)
        if not self._path.exists():
            return
        try:
            text = read_bytes(self._path, _LARGEST)
            self._size = text.rfind(b"\n") + 1
            for line in text[: self._size].splitlines():
                entry = Entry(**parse_json(line))
                if not type(entry.rows) is type(entry.faces) is int:
                    raise ValueError("rows and faces are no numbers")  # noqa: TRY301
                self._entries[entry.output].append(entry)
        except (OSError, ValueError, TypeError) as error:
            raise TableError(
                f"{self._path} is not a journal of feat-pose: {str(error)[:120]}. Move it away; "
                "--force then replaces the tables that it should list."
            ) from error

    def add(self, entry: Entry) -> None:
        """Write one more line."""
        with writing(self._path), self._path.open("ab") as file:
            file.truncate(self._size)
            file.write(json.dumps(vars(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        self._entries[entry.output].append(entry)

    def find(self, target: Path) -> Entry | None:
        """How a table was made; None if it is absent, or not as it was left."""
        return next(self._found(target), None)

    def find_done(self, source: Path, target: Path, made_by: Mapping[str, Any]) -> Entry | None:
        """As :meth:`find`, None also where the input or these options are others."""
        for entry in self._found(target):
            if entry.made_by == made_by and (
                source.samefile(target) or entry.input_sha256 == sha256_of(source)
            ):
                return entry
        return None

    def _found(self, target: Path) -> Iterator[Entry]:
        """The newest first."""
        listed = self._entries[target.name]
        if listed and target.exists():
            sha256 = sha256_of(target)
            yield from (entry for entry in reversed(listed) if entry.output_sha256 == sha256)


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
