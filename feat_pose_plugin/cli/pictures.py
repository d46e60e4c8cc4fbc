"""Commands that draw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import Force, app

_Convention = Annotated[
    str | None,
    typer.Option(
        metavar="CONVENTION",
        help="What the pose columns are in. By default what a Parquet file says, or 'feat'.",
        show_default=False,
    ),
]


@app.command()
def plot(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE...", help="Tables with pose columns, .csv or .parquet."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A .png, .pdf or .svg file.")
    ],
    orientation: Annotated[
        bool,
        typer.Option(
            "--orientation", help="Where heads point: the density of rows over yaw and pitch."
        ),
    ] = False,
    convention: _Convention = None,
    force: Force = False,
) -> None:
    """Draw pitch, yaw and roll over time, in degrees, and X, Y, Z if they are known.

    Spans without a pose are shaded, rows with PoseFlags are marked.
    """
    from feat_pose_plugin.show.plots import (
        DRAWN_COLUMNS,
        plot_orientation,
        plot_time_lines,
        save_figure,
    )
    from feat_pose_plugin.tables.outputs import refuse_existing
    from feat_pose_plugin.tables.stream import read_table

    if not force:
        refuse_existing([(table, output) for table in tables])
    names = [table.name for table in tables]
    titles = names if len({*names}) == len(names) else [str(table) for table in tables]
    reads = DRAWN_COLUMNS.intersection
    titled = {title: read_table(table, reads) for title, table in zip(titles, tables, strict=True)}
    draw = plot_orientation if orientation else plot_time_lines
    save_figure(draw(titled, convention=convention), output)
    typer.echo(f"wrote {output}")


@app.command()
def overlay(
    source: Annotated[Path, typer.Argument(metavar="VIDEO|IMAGE", help="What the table is about.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Its pose and its landmarks or face boxes, .csv or .parquet."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", help="A video, .mp4; or a picture, .png."),
    ],
    convention: _Convention = None,
    force: Force = False,
) -> None:
    """Draw the heads of a table on its video or photograph.

    Red points to the subject's left, green up, blue where the face points.
    """
    from tqdm import tqdm

    from feat_pose_plugin.show.overlay import PICTURE_FORMATS, overlay_picture, overlay_video
    from feat_pose_plugin.tables.outputs import refuse_existing
    from feat_pose_plugin.tables.stream import read_table

    if not force:
        refuse_existing([(source, output)])
    poses = read_table(table)
    if source.suffix.lower() in PICTURE_FORMATS:
        overlay_picture(source, poses, output, convention=convention)
        typer.echo(f"wrote {output}")
        return
    with tqdm(unit="frame", disable=None) as bar:  # None: on a terminal only

        def show(frames: int | None) -> None:
            bar.total = frames
            bar.update()

        count = overlay_video(source, poses, output, convention=convention, progress=show)
    typer.echo(f"wrote {output}: {count} frames")


@app.command()
def demo(
    folder: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where the two files go."),
    ] = Path("feat-pose-demo"),
) -> None:
    """Estimate the tables that come with py-feat.

    Prints a summary, writes a CSV (radians) and a picture (degrees).
    """
    from feat_pose_plugin.cli.demo import describe_demo, estimate_demo, write_demo

    poses = estimate_demo()
    written = write_demo(poses, folder)
    typer.echo(describe_demo(poses))
    for path in written:
        typer.echo(f"wrote {path}")


@app.command()
def report(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A table with pose columns, .csv or .parquet.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="A .html file.")],
    convention: Annotated[
        str | None,
        typer.Option(
            help="What the pose columns are in. By default what the table says, or feat-pose.json "
            "beside it.",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO", help="What the table is about, for pictures of the rows in doubt."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write one page about a table: weights, counts, distributions, time lines, rows in doubt."""
    from feat_pose_plugin.show.report import write_report
    from feat_pose_plugin.tables.outputs import refuse_existing

    if not force:
        refuse_existing([(table, output)])
    write_report(table, output, convention=convention, video=video)
    typer.echo(f"wrote {output}")
