"""Pose of many tables: which becomes which file, what is done already, and who does the rest."""

from __future__ import annotations

import errno
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import PoseWarning, TableError
from feat_pose_plugin.files import identity, place_part, remove_parts, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.tables.journal import Entry, Journal, sha256_of
from feat_pose_plugin.tables.pose_tables import PoseTable, estimate_part
from feat_pose_plugin.tables.stream import FORMATS, Progress

Job = tuple[Path, Path]
"""A table, and the file that it becomes."""

_LOCK = ".feat-pose.lock"


def plan_outputs(sources: Sequence[Path], output: Path) -> list[Job]:
    """Each input with its output, all of them checked before any is read.

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


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Nobody else is in such a block with the same path, on any machine whose file system locks.

    Args:
        path: The lock, a file that is there while the block runs. One that a killed process has
            left behind locks nothing.

    Raises:
        TableError: Somebody else is in such a block, or the folder cannot be written.
    """
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
    """Begin to estimate tables, or go on with it.

    Into a folder, a journal says what is done. A table is kept if its input, the weights, the
    options and the version of this package are what they were. A table that is listed there and is
    as it was left may be replaced, any other file only with ``force``. A single file has no
    journal: it is there, whole, or it is not.

    Args:
        jobs: As :func:`plan_outputs` gives them.
        output: What it was given.
        estimator: What estimates, and what its columns mean.
        frame_size: Height and width of the video frame in pixels; by default those of the tables'
            columns ``FrameHeight`` and ``FrameWidth``, where they have them.
        force: Whether other outputs that exist may be replaced.

    Yields:
        The run. Nobody else may write into the folder, or the file, until the block ends.

    Raises:
        TableError: An output exists, the journal cannot be read, or another run is writing.
    """
    into_folder = output.is_dir()
    folder = output if into_folder else output.parent
    names = {target.name for _, target in jobs}
    with only_writer(folder / (_LOCK if into_folder else f".{output.name}.lock")):
        journal = Journal(output) if into_folder else None
        run = PoseRun(folder, jobs, estimator, frame_size, force, journal)
        remove_parts(folder, names)  # of runs that were killed
        try:
            yield run
        finally:
            with suppress(OSError):  # of a folder that is gone; the error that ends the run says so
                remove_parts(folder, names)


class PoseRun:
    """The tables of one command; see :func:`open_run`.

    Attributes:
        kept: The tables that need not be made again.
        jobs: What is to be done.
    """

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Job],
        estimator: PoseEstimator,
        frame_size: FrameSize | None,
        force: bool,
        journal: Journal | None,
    ) -> None:
        self.kept: list[PoseTable] = []
        self.jobs: list[Job] = []
        self._options = estimator, frame_size, journal is not None
        self._folder = folder
        self._folder_identity = identity(folder)
        self._journal = journal
        self._made_by = _describe(estimator, frame_size)
        for source, target in jobs:
            done = journal and journal.find_done(source, target, self._made_by)
            if done:
                self.kept.append(PoseTable(target, done.rows, done.faces))
                continue
            if not force and not (journal and journal.find(target)):
                refuse_existing([(source, target)])
            self.jobs.append((source, target))

    def estimate(
        self,
        done: Callable[[PoseTable], object],
        *,
        executor: Executor | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Estimate the tables that are not finished.

        Each table appears whole or not at all. An error ends the run; tables that were finished
        before are kept.

        Args:
            done: Is told of each table when it is in its place.
            executor: Who estimates, a table at a time, in any order; by default this thread, in
                the order of the jobs. What estimates must be possible to pickle.
            progress: See :func:`~feat_pose_plugin.tables.stream.stream_table`; an executor reports
                whole tables.

        Raises:
            TableError: A table cannot be read or written.
            WorkerError: The executor's processes died.
            FeatPoseError: As :func:`~feat_pose_plugin.estimate_pose`, with the name of the table.

        Warns:
            PoseWarning: As :func:`~feat_pose_plugin.estimate_pose`, once for each table.
        """
        if executor is None:
            for job in self.jobs:
                done(self._place(_make(job, *self._options, progress)))
            return
        futures = [executor.submit(_make, job, *self._options) for job in self.jobs]
        failure: BaseException | None = None
        for future in as_completed(futures):
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                made = future.result()
                done(self._place(made))
                if progress is not None:
                    progress(made.part.rows, made.job[0].stat().st_size)
            else:
                failure = failure or error
                for other in futures:  # those that run are still waited for, and kept
                    other.cancel()
        if failure is not None:
            raise failure

    def _place(self, made: _Made) -> PoseTable:
        """Put a table into its place, and into the journal before."""
        if identity(self._folder) != self._folder_identity:
            error = TableError(
                f"the folder {self._folder} is not the one that this run began in. Was it moved, "
                "or a disk unmounted? Start again when it is back: tables that are finished are "
                "kept."
            )
            error.system_errno = errno.ESTALE
            raise error
        source, target = made.job
        if self._journal is not None:
            self._journal.add(
                Entry(
                    output=target.name,
                    output_sha256=made.output_sha256,
                    input=str(source.absolute()),
                    input_sha256=made.input_sha256,
                    rows=made.part.rows,
                    faces=made.part.faces,
                    made_by=self._made_by,
                )
            )
        with writing(target):
            place_part(made.part.path, target)
        for doubt in made.part.doubts:
            warnings.warn(f"{source}: {doubt}", PoseWarning, stacklevel=3)
        return made.part._replace(path=target)


class _Made(NamedTuple):
    """A table that is made and not yet in its place."""

    job: Job
    part: PoseTable
    input_sha256: str
    output_sha256: str


def _make(
    job: Job,
    estimator: PoseEstimator,
    frame_size: FrameSize | None,
    with_hashes: bool,
    progress: Progress | None = None,
) -> _Made:
    """Estimate a table, in whatever process this is."""
    source, target = job
    input_sha256 = sha256_of(source) if with_hashes else ""  # before it is read
    part = estimate_part(source, target, estimator, frame_size=frame_size, progress=progress)
    return _Made(job, part, input_sha256, sha256_of(part.path) if with_hashes else "")


def _describe(estimator: PoseEstimator, frame_size: FrameSize | None) -> dict[str, Any]:
    """What a pose depends on besides landmarks, as JSON gives it back."""
    provenance = estimator.backend.provenance
    options = {field.name: getattr(estimator, field.name) for field in fields(estimator)}
    del options["backend"]
    described = {
        "version": __version__,
        "model": provenance.name,
        "weights": {kind: file.sha256 for kind, file in provenance.weights.items()},
        **options,
        "frame_size": frame_size,
    }
    return dict(json.loads(json.dumps(described)))
