"""What the pose tables in a folder were made of: a JSON file among them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.reading import parse_json, read_bytes

MANIFEST = "feat-pose.json"

_LARGEST = 64 << 20  # bytes; a table takes one or two thousand


@dataclass(frozen=True)
class Entry:
    """How one table was made.

    Attributes:
        input: Where its landmarks were read.
        input_sha256: Of that file, hexadecimal.
        output_sha256: Of the table.
        replaced_sha256: Of the file that was in its place, if there was one.
        rows: How many it has.
        faces: How many of them have a pose.
        made_by: Version of this package, model, hashes of its weights, and all options.
    """

    input: str
    input_sha256: str
    output_sha256: str
    replaced_sha256: str | None
    rows: int
    faces: int
    made_by: Mapping[str, Any]


class Manifest:
    """The entries of a folder, by the names of its tables.

    An entry is written before its table is put into place. So a file with the hash of its entry is
    that table, a file with the hash of what it was to replace is not yet, and any other file is
    somebody else's: whenever the process that writes is killed.

    Attributes:
        entries: By the name of the table.

    Args:
        folder: Where the tables are.

    Raises:
        TableError: The folder's manifest cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST
        self._found: dict[Path, str] = {}
        self.entries: dict[str, Entry] = {}
        if not self._path.exists():
            return
        try:
            listed = parse_json(read_bytes(self._path, _LARGEST))["tables"]
            self.entries = {name: Entry(**entry) for name, entry in listed.items()}
            for name, entry in self.entries.items():
                if not type(entry.rows) is type(entry.faces) is int:
                    raise ValueError(f"the rows and faces of {name!r} are no numbers")  # noqa: TRY301
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise TableError(
                f"{self._path} is no manifest of feat-pose: {error}. Move it away; --force then "
                "replaces the tables that it should list."
            ) from error

    def write(self) -> None:
        """Write all entries, a line for each.

        Raises:
            TableError: The folder cannot be written, or the disk is full.
        """
        lines = [
            f"{json.dumps(name)}: {json.dumps(vars(entry))}"
            for name, entry in sorted(self.entries.items())
        ]
        with writing(self._path), write_whole(self._path) as part:
            part.write_text('{"tables": {\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")

    def hash_in_place(self, target: Path) -> str | None:
        """The hash of a table that was there when it was first asked for; None if it was not."""
        if target not in self._found and target.exists():
            self._found[target] = sha256_of(target)
        return self._found.get(target)

    def is_done(self, source: Path, target: Path, made_by: Mapping[str, Any]) -> bool:
        """Whether a table is what its input and these options make of it."""
        entry = self.entries.get(target.name)
        return (
            entry is not None
            and entry.made_by == made_by
            and entry.output_sha256 == self.hash_in_place(target)
            and (source.samefile(target) or entry.input_sha256 == sha256_of(source))
        )

    def may_replace(self, target: Path) -> bool:
        """Whether a table is absent, or listed and as it was left."""
        found = self.hash_in_place(target)
        entry = self.entries.get(target.name)
        return found is None or (
            entry is not None and found in (entry.output_sha256, entry.replaced_sha256)
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
