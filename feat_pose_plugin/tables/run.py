"""Pose of many tables: which becomes which file, what is done already, and who does the rest."""

from __future__ import annotations

import errno
import json
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import PoseWarning, TableError
from feat_pose_plugin.files import identity, place_part, remove_parts, write_part, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.tables.journal import Entry, Journal, sha256_of
from feat_pose_plugin.tables.pose_tables import PoseTable, estimate_table
from feat_pose_plugin.tables.stream import FORMATS, Progress, require_suffix, require_table

Job = tuple[Path, Path]
"""A table, and the file that it becomes."""


def plan_outputs(sources: Sequence[Path], output: Path) -> list[Job]:
    """Each table, or each of a folder, with its output, all of them checked before any is read.

    The output is an existing folder, where names are kept; of a single table also a file.
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
        require_table(source)
        require_suffix(target, "; an output folder must exist")
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


def _tables_in(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    tables = [
        path
        for path in sorted(source.iterdir())
        if path.suffix.lower() in FORMATS and not path.name.startswith(".")
    ]
    if not tables:
        raise TableError(f"the folder {source} holds no {' or '.join(FORMATS)}.")
    return tables


def refuse_existing(jobs: Sequence[tuple[Path | None, Path]]) -> None:
    """Refuse to replace an output that exists, of pairs of input (if that is a file) and output."""
    for source, target in jobs:
        if target.exists():
            is_input = source is not None and target.samefile(source)
            which = "is the input itself" if is_input else "exists"
            raise TableError(
                f"the output {target} {which}. Pass --force to replace it, or choose another "
                "output."
            )


@contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Nobody else writes this file or folder so, on any machine whose file system locks.

    The lock is a file that is there while the block runs. One that a killed process has left behind
    locks nothing.
    """
    path = (
        output / ".feat-pose.lock" if output.is_dir() else output.with_name(f".{output.name}.lock")
    )
    lock = FileLock(path, timeout=0)
    with writing(path):
        try:
            lock.acquire()  # not of a file that whoever was before us has removed
        except Timeout as error:
            raise TableError(
                f"another run is writing here, as {path} says. Wait for it, or choose another "
                "output."
            ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def open_run(
    jobs: Sequence[Job],
    output: Path,
    estimator: PoseEstimator,
    *,
    frame_size: FrameSize | None = None,
    force: bool = False,
) -> Iterator[PoseRun]:
    """Begin to estimate what :func:`plan_outputs` planned, or go on with it, as the only writer.

    Into a folder, a journal says what is done. A table is kept if its input, the weights, the
    options and the version of this package are what they were. A table that is listed there and is
    as it was left may be replaced, any other file only with ``force``. A single file has no
    journal: it is there, whole, or it is not.
    """
    folder = output if output.is_dir() else output.parent
    names = {target.name for _, target in jobs}
    with only_writer(output):
        run = PoseRun(jobs, output, estimator, frame_size, force)
        remove_parts(folder, names)  # of runs that were killed
        try:
            yield run
        finally:
            with suppress(OSError):  # of a folder that is gone; the error that ends the run says so
                remove_parts(folder, names)


class PoseRun:
    """The tables of one command: those that need not be made again, and what is to be done."""

    def __init__(
        self,
        jobs: Sequence[Job],
        output: Path,
        estimator: PoseEstimator,
        frame_size: FrameSize | None,
        force: bool,
    ) -> None:
        made_by = _describe(estimator, frame_size)
        self.kept: list[PoseTable] = []
        self.jobs: list[Job] = []
        self._journal = journal = Journal(output) if output.is_dir() else None
        self._make = partial(_make, estimator, frame_size, made_by if journal else None)
        self._folder = output if journal else output.parent
        self._folder_identity = identity(self._folder)
        for source, target in jobs:
            if journal and (done := journal.find_done(source, target, made_by)):
                self.kept.append(PoseTable(target, done.rows, done.faces))
                continue
            if not force and not (journal and journal.find(target)):
                refuse_existing([(source, target)])
            self.jobs.append((source, target))

    def estimate(
        self, executor: Executor | None = None, progress: Progress | None = None
    ) -> Iterator[PoseTable]:
        """Estimate the tables that are not finished, and give each when it is in its place.

        An error ends the run; tables that were finished before are kept. An executor takes a table
        at a time, in any order; without one this thread does, in the order of the jobs.
        """
        if executor is None:
            for job in self.jobs:
                yield self._place(job, *self._make(job, progress))
            return
        jobs = {executor.submit(self._make, job): job for job in self.jobs}
        failure: BaseException | None = None
        for future in as_completed(jobs):
            if future.cancelled():
                continue
            if error := future.exception():
                failure = failure or error
                for other in jobs:  # those that run are still waited for, and kept
                    other.cancel()
                continue
            table = self._place(jobs[future], *future.result())
            yield table
            if progress is not None:
                progress(table.rows, jobs[future][0].stat().st_size)
        if failure is not None:
            raise failure

    def _place(self, job: Job, part: PoseTable, entry: Entry | None) -> PoseTable:
        """Put a table into its place, and into the journal before."""
        if identity(self._folder) != self._folder_identity:
            error = TableError(
                f"the folder {self._folder} is not the one that this run began in. Was it moved, "
                "or a disk unmounted? Start again when it is back: tables that are finished are "
                "kept."
            )
            error.system_errno = errno.ESTALE
            raise error
        source, target = job
        if self._journal and entry:
            self._journal.add(entry)
        with writing(target):
            place_part(part.path, target)
        for doubt in part.doubts:
            warnings.warn(f"{source}: {doubt}", PoseWarning, stacklevel=3)
        return part._replace(path=target)


def _make(
    estimator: PoseEstimator,
    frame_size: FrameSize | None,
    made_by: dict[str, Any] | None,
    job: Job,
    progress: Progress | None = None,
) -> tuple[PoseTable, Entry | None]:
    """Estimate a table, in whatever process this is: its part, and its entry if there is one."""
    source, target = job
    sha256 = sha256_of(source) if made_by else ""  # before it is read
    with writing(target), write_part(target) as path:
        part = estimate_table(source, path, estimator, frame_size=frame_size, progress=progress)
    if made_by is None:
        return part, None
    made = target.name, sha256_of(path), str(source.absolute()), sha256
    return part, Entry(*made, part.rows, part.faces, made_by)


def _describe(estimator: PoseEstimator, frame_size: FrameSize | None) -> dict[str, Any]:
    """What a pose depends on besides landmarks, as JSON gives it back."""
    provenance = estimator.backend.provenance
    options = {field.name: getattr(estimator, field.name) for field in fields(estimator)}
    described = {
        "version": __version__,
        "model": provenance.name,
        "weights": {kind: file.sha256 for kind, file in provenance.weights.items()},
        **{name: value for name, value in options.items() if name != "backend"},
        "frame_size": frame_size,
    }
    return dict(json.loads(json.dumps(described)))
