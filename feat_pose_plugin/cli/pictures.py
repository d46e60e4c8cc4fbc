"""Commands that draw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import (
    LOOK,
    FirstFrame,
    Force,
    Fps,
    GivenConvention,
    Picture,
    PoseTable,
    complete_conventions,
)


@app.command(rich_help_panel=LOOK)
def plot(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE", help="Tables with pose columns, .csv or .parquet."),
    ],
    output: Picture,
    orientation: Annotated[
        bool,
        typer.Option(
            "--orientation", help="Where heads point: the density of rows over yaw and pitch."
        ),
    ] = False,
    fps: Fps = None,
    convention: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Convention of the tables' pose; once for all, or once for each in their order. "
            "By default what the file or the feat-pose.jsonl beside it says, or else feat.",
            autocompletion=complete_conventions,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Draw pose over time, or where heads point.

    Angles are in degrees; X, Y, Z are drawn if they are known. Spans without a pose
    are shaded, rows with PoseFlags are faded and marked.
    """
    from feat_pose_plugin.show.plots import plot_orientation, plot_time_lines, save_figure
    from feat_pose_plugin.show.poses import DRAWN_COLUMNS, read_posed
    from feat_pose_plugin.tables.run import refuse_existing

    said: list[str | None] = [*convention] if convention else [None]
    if len(said) not in (1, len(tables)):
        raise typer.BadParameter(
            f"--convention is passed {len(said)} times for {len(tables)} tables. Pass it once, or "
            "once for each table."
        )
    if not force:
        refuse_existing([(table, output) for table in tables])
    names = [table.name for table in tables]
    titles = names if len({*names}) == len(names) else [str(table) for table in tables]
    titled = {
        title: read_posed(table, DRAWN_COLUMNS.intersection)[0]
        for title, table in zip(titles, tables, strict=True)
    }
    by_title = dict(zip(titles, said * len(tables), strict=False))
    if orientation:
        figure = plot_orientation(titled, convention=by_title)
    else:
        figure = plot_time_lines(titled, convention=by_title, fps=fps)
    save_figure(figure, output)
    typer.echo(f"wrote {output}")


@app.command(rich_help_panel=LOOK)
def overlay(
    source: Annotated[Path, typer.Argument(metavar="VIDEO|IMAGE", help="What the table is about.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Table with pose columns and landmarks or face boxes, .csv or .parquet.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT", help="Output: a video, .mp4, or a picture, .png."
        ),
    ],
    convention: GivenConvention = None,
    first_frame: FirstFrame = None,
    force: Force = False,
) -> None:
    """Draw the heads of a table on its video or photograph.

    Red points to the subject's left, green up, blue where the face points.
    """
    from tqdm import tqdm

    from feat_pose_plugin.show.overlay import PICTURE_FORMATS, overlay_picture, overlay_video
    from feat_pose_plugin.show.poses import read_posed
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(source, output)])
    poses, _ = read_posed(table)
    if source.suffix.lower() in PICTURE_FORMATS:
        overlay_picture(source, poses, output, convention=convention)
        typer.echo(f"wrote {output}")
        return
    with tqdm(unit="frame", disable=None) as bar:  # None: on a terminal only

        def show(frames: int | None) -> None:
            bar.total = frames
            bar.update()

        count = overlay_video(
            source, poses, output, convention=convention, first=first_frame, progress=show
        )
    typer.echo(f"wrote {output}: {count} frames")


@app.command(rich_help_panel=LOOK)
def demo(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the two files.")
    ] = Path("feat-pose-demo"),
    force: Force = False,
) -> None:
    """Estimate the tables that come with py-feat.

    Prints a summary, writes a CSV (radians) and a picture (degrees).
    """
    from feat_pose_plugin.cli.demo import demo_files, describe_demo, estimate_demo, write_demo
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(None, path) for path in demo_files(folder)])
    poses = estimate_demo()
    written = write_demo(poses, folder)
    typer.echo(describe_demo(poses))
    for path in written:
        typer.echo(f"wrote {path}")


@app.command(rich_help_panel=LOOK)
def report(
    table: PoseTable,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="Output: an .html file.")
    ],
    convention: GivenConvention = None,
    fps: Fps = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO",
            help="Video that the table is about, for pictures of the rows in doubt.",
        ),
    ] = None,
    first_frame: FirstFrame = None,
    force: Force = False,
) -> None:
    """Write a web page about one table.

    It shows weights, counts, distributions, time lines and the rows in doubt.
    """
    from feat_pose_plugin.show.report import write_report
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(table, output)])
    write_report(table, output, convention=convention, fps=fps, video=video, first=first_frame)
    typer.echo(f"wrote {output}")
