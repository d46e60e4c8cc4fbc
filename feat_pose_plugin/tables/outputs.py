"""Which table becomes which file, decided before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.tables.stream import FORMATS

Job = tuple[Path, Path]
"""A table, and the file that it becomes."""


def plan_outputs(sources: Sequence[Path], output: Path) -> list[Job]:
    """Each input with its output, all of them checked.

    Args:
        sources: CSV or Parquet files, or folders of them.
        output: An existing folder, where names are kept; for a single file also a file.

    Raises:
        TableError: An input does not exist or holds no table, a suffix is unknown, an output folder
            does not exist, or two inputs would become one output.
    """
    tables = [table for source in sources for table in _tables_in(source)]
    into_folder = output.is_dir()
    if not into_folder and (len(tables) > 1 or sources[0].is_dir()):
        raise TableError(
            "several tables need an existing folder as output, and so does a folder of them; "
            f"{output} is none. Make the folder first, or pass one table at a time."
        )
    source_of: dict[Path, Path] = {}
    for source in tables:
        target = output / source.name if into_folder else output
        for path in (source, target):
            if path.suffix.lower() not in FORMATS:
                raise TableError(
                    f"{path} must end in {' or '.join(FORMATS)} to say its format; an output "
                    "folder must exist."
                )
        if not source.is_file():
            raise TableError(f"{source} {'is no file' if source.exists() else 'does not exist'}.")
        if not target.parent.is_dir():
            raise TableError(
                f"the folder of the output {target} does not exist. Make it first, or choose "
                "another output."
            )
        if target in source_of:
            raise TableError(
                f"{source_of[target]} and {source} would both become {target}. Choose different "
                "folders for them."
            )
        if target.exists() and not target.is_file():
            raise TableError(f"the output {target} exists and is no file. Choose another output.")
        source_of[target] = source
    return [(source, target) for target, source in source_of.items()]


def refuse_existing(jobs: Sequence[tuple[Path | None, Path]]) -> None:
    """Refuse to replace what is there.

    Args:
        jobs: Input, if that is a file, and output.

    Raises:
        TableError: An output exists.
    """
    for source, target in jobs:
        if target.exists():
            is_input = source is not None and target.samefile(source)
            which = "is the input itself" if is_input else "exists"
            raise TableError(
                f"the output {target} {which}. Pass --force to replace it, or choose another "
                "output."
            )


def _tables_in(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    tables = [
        path
        for path in sorted(source.iterdir())
        if path.suffix.lower() in FORMATS and not path.name.startswith(".")
    ]
    if not tables:
        raise TableError(f"the folder {source} holds no {' or '.join(FORMATS)}.")
    yield from tables
