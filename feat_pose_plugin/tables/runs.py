"""Pose of many tables: what is done already, what is to be done, and who does it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.files import identity, place_part, remove_parts, writing
from feat_pose_plugin.pose.backend import FrameSize
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.tables.locks import only_writer
from feat_pose_plugin.tables.manifest import MANIFEST, Entry, Manifest, sha256_of
from feat_pose_plugin.tables.memory import enough_memory
from feat_pose_plugin.tables.outputs import Job, refuse_existing
from feat_pose_plugin.tables.pose_tables import PoseTable, estimate_part
from feat_pose_plugin.tables.stream import Progress

_LOCK = ".feat-pose.lock"
_BETWEEN_MANIFESTS = 1.0  # seconds; that of thousands of small tables is long


class _Made(NamedTuple):
    """A table that is made and not yet in its place."""

    job: Job
    part: PoseTable
    input_sha256: str
    output_sha256: str


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

    Into a folder, a manifest says what is done. A table is kept if its input, the weights, the
    options and the version of this package are what they were. A table that is listed there and is
    as it was left may be replaced, any other file only with ``force``. A single file has no
    manifest: it is there, whole, or it is not.

    Args:
        jobs: As :func:`~feat_pose_plugin.tables.outputs.plan_outputs` gives them.
        output: What it was given.
        estimator: What estimates, and what its columns mean.
        frame_size: Height and width of the video frame in pixels; by default those of the tables'
            columns ``FrameHeight`` and ``FrameWidth``, where they have them.
        force: Whether other outputs that exist may be replaced.

    Yields:
        The run. Nobody else may write into the folder, or the file, until the block ends.

    Raises:
        TableError: An output exists, the manifest cannot be read, or another run is writing.
    """
    into_folder = output.is_dir()
    folder = output if into_folder else output.parent
    names = {MANIFEST, *(target.name for _, target in jobs)}
    with only_writer(folder / (_LOCK if into_folder else f".{output.name}.lock")):
        manifest = Manifest(output) if into_folder else None
        run = PoseRun(folder, jobs, estimator, frame_size, force, manifest)
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
        manifest: Manifest | None,
    ) -> None:
        self.kept: list[PoseTable] = []
        self.jobs: list[Job] = []
        self._options = estimator, frame_size, manifest is not None
        self._folder = folder
        self._folder_identity = identity(folder)
        self._manifest = manifest
        self._made_by = _describe(estimator, frame_size)
        for source, target in jobs:
            if manifest is not None and manifest.is_done(source, target, self._made_by):
                entry = manifest.entries[target.name]
                self.kept.append(PoseTable(target, entry.rows, entry.faces))
                continue
            if not force and (manifest is None or not manifest.may_replace(target)):
                refuse_existing([(source, target)])
            self.jobs.append((source, target))

    def estimate(
        self,
        done: Callable[[PoseTable], object],
        *,
        executor: Executor | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Do what is to be done.

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
            WorkerError: The executor's processes died, or there was too little memory.
            FeatPoseError: As :func:`~feat_pose_plugin.estimate_pose`, with the name of the table.
        """
        made = self._here(progress) if executor is None else self._by(executor, progress)
        waiting: list[_Made] = []
        due = monotonic()
        try:
            for table in made:
                waiting.append(table)
                if monotonic() >= due:
                    self._place(waiting, done)
                    due = monotonic() + _BETWEEN_MANIFESTS
        finally:
            self._place(waiting, done)

    def _here(self, progress: Progress | None) -> Iterator[_Made]:
        for job in self.jobs:
            yield _make(job, *self._options, progress)

    def _by(self, executor: Executor, progress: Progress | None) -> Iterator[_Made]:
        futures = [executor.submit(_make, job, *self._options) for job in self.jobs]
        for future in as_completed(futures):
            made = future.result()
            yield made
            if progress is not None:
                progress(made.part.rows, made.job[0].stat().st_size)

    def _place(self, waiting: list[_Made], done: Callable[[PoseTable], object]) -> None:
        """Put tables into their places, and into the manifest before."""
        if waiting and identity(self._folder) != self._folder_identity:
            error = TableError(
                f"the folder {self._folder} is not the one that this run began in. Was it moved, "
                "or a disk unmounted? Start again when it is back: tables that are finished are "
                "kept."
            )
            error.system_errno = errno.ESTALE
            raise error
        if self._manifest is not None and waiting:
            for made in waiting:
                source, target = made.job
                self._manifest.entries[target.name] = Entry(
                    input=str(source.absolute()),
                    input_sha256=made.input_sha256,
                    output_sha256=made.output_sha256,
                    replaced_sha256=self._manifest.hash_in_place(target),
                    rows=made.part.rows,
                    faces=made.part.faces,
                    made_by=self._made_by,
                )
            self._manifest.write()
        for made in waiting:
            target = made.job[1]
            with writing(target):
                place_part(made.part.path, target)
            done(made.part._replace(path=target))
        waiting.clear()


def _make(
    job: Job,
    estimator: PoseEstimator,
    frame_size: FrameSize | None,
    with_hashes: bool,
    progress: Progress | None = None,
) -> _Made:
    """Estimate a table, in whatever process this is."""
    source, target = job
    with enough_memory(str(source)):
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
