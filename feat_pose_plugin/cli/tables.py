"""Commands that read tables and write them with other columns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import (
    CONVENTIONS,
    PICTURES,
    POSE,
    VIDEOS,
    Convention,
    Force,
    InterOcular,
    LandmarkModel,
    LandmarkTables,
    Model,
    Offline,
    Output,
    PoseTables,
    Quality,
    complete_conventions,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor


@app.command(rich_help_panel=POSE)
def estimate(
    inputs: LandmarkTables,
    output: Output,
    model: Model = "pose_mlp_synth",
    convention: Convention = "feat",
    landmark_model: LandmarkModel = "auto",
    height: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Height of the video frame in pixels. By default the column FrameHeight.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Width of the video frame in pixels. By default the column FrameWidth.",
        ),
    ] = None,
    normalized: Annotated[
        bool,
        typer.Option(
            "--normalized",
            help="Landmarks are shares of the frame, from 0 to 1. Needs the frame size.",
        ),
    ] = False,
    rotation_frame: Annotated[
        Literal["line_of_sight", "camera"],
        typer.Option(help="What a rotation is measured from. camera needs the frame size."),
    ] = "line_of_sight",
    translation: Annotated[
        Literal["geometric", "learned"] | None,
        typer.Option(
            help="Where X, Y, Z come from. By default the model, or geometry where it has none."
        ),
    ] = None,
    focal_length: Annotated[
        float | None,
        typer.Option(metavar="PIXELS", help="Focal length in pixels. By default height + width."),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="X Y", help="Principal point in pixels. By default the middle of the frame."
        ),
    ] = None,
    inter_ocular_mm: InterOcular = None,
    quality: Quality = False,
    processes: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="Tables at a time, a process each.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address of a Dask cluster whose workers do the work."
        ),
    ] = None,
    force: Force = False,
    offline: Offline = False,
) -> None:
    """Add the six pose columns to landmark tables.

    All other columns and all rows stay as they are; pose columns that are there are replaced.
    Interrupted on its way into a folder, it goes on when it is started again.
    """
    del offline
    if (height is None) != (width is None):
        raise typer.BadParameter("--height and --width belong together: pass both or neither.")
    if scheduler is not None and processes > 1:
        raise typer.BadParameter("--jobs and --scheduler exclude each other: pass one of them.")
    from tqdm import tqdm

    from feat_pose_plugin.pose.estimate import PoseEstimator
    from feat_pose_plugin.pose.registry import get_pose_backend
    from feat_pose_plugin.tables.run import open_run, plan_outputs

    for path in inputs:
        if path.suffix.lower() in VIDEOS | PICTURES:
            raise typer.BadParameter(
                f"{path} is a video or a picture, and estimate reads tables of landmarks. To find "
                f"the faces in it: feat-pose detect {path} -o {output}"
            )
    jobs = plan_outputs(inputs, output)
    estimator = PoseEstimator(
        backend=get_pose_backend(model),
        landmark_model=landmark_model,
        normalized=normalized,
        convention=convention,
        rotation_frame=rotation_frame,
        translation=translation,
        focal_length=focal_length,
        principal_point=principal_point,
        inter_ocular_mm=inter_ocular_mm,
        quality=quality,
    )
    frame_size = None if height is None or width is None else (height, width)
    with open_run(jobs, output, estimator, frame_size=frame_size, force=force) as run:
        for table in run.kept:
            typer.echo(f"{table.path}: {table.rows} rows, {table.faces} with a pose, as before")
        size, size_done = sum(source.stat().st_size for source, _ in run.jobs), 0.0
        with (
            _executor(min(processes, len(run.jobs)), scheduler) as executor,
            tqdm(unit="row", unit_scale=True, disable=None) as bar,  # None: on a terminal only
        ):

            def show(rows: int, bytes_done: float) -> None:
                nonlocal size_done
                size_done += bytes_done
                bar.total = round((bar.n + rows) * size / max(size_done, 1))
                bar.update(rows)

            for table in run.estimate(executor, show):
                tqdm.write(f"{table.path}: {table.rows} rows, {table.faces} with a pose")
            bar.total = bar.n  # until now a guess from what is read
            bar.refresh()


@app.command(rich_help_panel=POSE)
def convert(
    inputs: PoseTables,
    output: Output,
    there: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help=f"Convention that is wanted: {CONVENTIONS}.",
            autocompletion=complete_conventions,
        ),
    ],
    here: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Convention of the table's pose. May be left out if a Parquet file says it.",
            autocompletion=complete_conventions,
        ),
    ] = None,
    inter_ocular_mm: InterOcular = None,
    force: Force = False,
) -> None:
    """Convert the pose columns of tables to another convention.

    All other columns and all rows stay as they are.
    """
    from tqdm import tqdm

    from feat_pose_plugin.tables.pose_tables import convert_table
    from feat_pose_plugin.tables.run import only_writer, plan_outputs, refuse_existing

    jobs = plan_outputs(inputs, output)
    if not force:
        refuse_existing(jobs)
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        with only_writer(target):
            if not force:
                refuse_existing([(source, target)])  # made by another command since
            rows = convert_table(source, target, here, there, inter_ocular_mm=inter_ocular_mm)
        tqdm.write(f"{target}: {rows} rows in {there}")


def _executor(processes: int, scheduler: str | None) -> AbstractContextManager[Executor | None]:
    """Who estimates; None for this process."""
    if scheduler is not None:
        from feat_pose_plugin.tables.cluster import cluster_executor

        return cluster_executor(scheduler)
    if processes > 1:
        from feat_pose_plugin.tables.workers import process_executor

        return process_executor(processes)
    return nullcontext()
