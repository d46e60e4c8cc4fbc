"""Commands that read tables and write them with other columns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from feat_pose_plugin.cli.application import Force, Offline, app

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from feat_pose_plugin.pose.estimate import RotationFrame, Translation

_Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="For one table a .csv or .parquet file; otherwise an existing folder.",
    ),
]


@app.command()
def estimate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN", help="Tables with landmarks, .csv or .parquet, or folders."),
    ],
    output: _Output,
    model: Annotated[
        str, typer.Option(help="A name that `feat-pose models` lists.")
    ] = "pose_mlp_synth",
    convention: Annotated[
        str,
        typer.Option(
            help="What the columns mean: feat (radians), degrees or feat-degrees (the same in "
            "degrees), img2pose, 300w-lp, openface, feat-0.6, feat-0.7, feat-mp."
        ),
    ] = "feat",
    landmark_model: Annotated[
        str,
        typer.Option(
            help="2d: the jaw is the contour seen in the picture; 3d: points of the head; auto: "
            "meshes are 3d, all others 2d."
        ),
    ] = "auto",
    height: Annotated[
        int | None, typer.Option(min=1, help="Height of the video frame in pixels, if known.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Its width, if known.")] = None,
    rotation_frame: Annotated[
        str, typer.Option(help="line_of_sight, or camera, which needs the frame size.")
    ] = "line_of_sight",
    translation: Annotated[
        str | None,
        typer.Option(
            help="X, Y, Z by geometry (geometric) or by the model (learned); by default its own, "
            "and geometry where it has none.",
            show_default=False,
        ),
    ] = None,
    focal_length: Annotated[
        float | None,
        typer.Option(help="Pixels; height + width by default.", show_default=False),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="X Y", help="Pixels; the middle of the frame by default.", show_default=False
        ),
    ] = None,
    inter_ocular_mm: Annotated[
        float | None,
        typer.Option(
            help="Distance of the outer eye corners, for X, Y, Z in millimetres.",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also add PoseResidual and PoseFlags.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="How many tables at a time.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Let the workers of a Dask cluster do it.", show_default=False
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace outputs that another program wrote.")
    ] = False,
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
    from feat_pose_plugin.tables.outputs import plan_outputs
    from feat_pose_plugin.tables.pose_tables import PoseTable
    from feat_pose_plugin.tables.runs import open_run

    jobs = plan_outputs(inputs, output)
    estimator = PoseEstimator(
        backend=get_pose_backend(model),
        # Names are checked by what reads them.
        landmark_model=landmark_model,
        convention=convention,
        rotation_frame=cast("RotationFrame", rotation_frame),
        translation=cast("Translation | None", translation),
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

            def say(table: PoseTable) -> None:
                tqdm.write(f"{table.path}: {table.rows} rows, {table.faces} with a pose")

            run.estimate(say, executor=executor, progress=show)
            bar.total = bar.n  # until now a guess from what is read
            bar.refresh()


@app.command()
def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN", help="Tables with pose columns, .csv or .parquet."),
    ],
    output: _Output,
    there: Annotated[str, typer.Option("--to", metavar="CONVENTION", help="What is wanted.")],
    here: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CONVENTION",
            help="What the pose columns are in. May be left out where a Parquet file says it.",
            show_default=False,
        ),
    ] = None,
    inter_ocular_mm: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Distance of the outer eye corners: how long a unit of X, Y, Z is.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Convert the pose columns of tables to another convention.

    All other columns and all rows stay as they are. The conventions: feat, feat-degrees (or
    degrees), img2pose, 300w-lp, openface, feat-0.6, feat-0.7, feat-mp, mediapipe, rotvec,
    quaternion, matrix.
    """
    from tqdm import tqdm

    from feat_pose_plugin.tables.locks import only_writer
    from feat_pose_plugin.tables.outputs import plan_outputs, refuse_existing
    from feat_pose_plugin.tables.pose_tables import convert_table

    jobs = plan_outputs(inputs, output)
    if not force:
        refuse_existing(jobs)
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        with only_writer(target.with_name(f".{target.name}.lock")):
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
