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
        help="What the pose columns are in. By default what the file or feat-pose.json beside it "
        "says, or else feat.",
        show_default=False,
    ),
]
_Fps = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        min=0.001,
        help="Frames per second of the video, for time in seconds.",
        show_default=False,
    ),
]
_FirstFrame = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of the video's first frame in the table. By default 1 for OpenFace's tables, "
        "0 for others.",
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
    fps: _Fps = None,
    convention: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONVENTION",
            help="What the pose columns are in; once for all tables, or once for each in their "
            "order. By default what a file or feat-pose.json beside it says, or else feat.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Draw pitch, yaw and roll over time, in degrees, and X, Y, Z if they are known.

    Spans without a pose are shaded, rows with PoseFlags are faded and marked.
    """
    from feat_pose_plugin.show.plots import plot_orientation, plot_time_lines, save_figure
    from feat_pose_plugin.show.poses import DRAWN_COLUMNS, read_posed
    from feat_pose_plugin.tables.outputs import refuse_existing

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
    first_frame: _FirstFrame = None,
    force: Force = False,
) -> None:
    """Draw the heads of a table on its video or photograph.

    Red points to the subject's left, green up, blue where the face points.
    """
    from tqdm import tqdm

    from feat_pose_plugin.show.overlay import PICTURE_FORMATS, overlay_picture, overlay_video
    from feat_pose_plugin.show.poses import read_posed
    from feat_pose_plugin.tables.outputs import refuse_existing

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
    convention: _Convention = None,
    fps: _Fps = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO", help="What the table is about, for pictures of the rows in doubt."
        ),
    ] = None,
    first_frame: _FirstFrame = None,
    force: Force = False,
) -> None:
    """Write one page about a table: weights, counts, distributions, time lines, rows in doubt."""
    from feat_pose_plugin.show.report import write_report
    from feat_pose_plugin.tables.outputs import refuse_existing

    if not force:
        refuse_existing([(table, output)])
    write_report(table, output, convention=convention, fps=fps, video=video, first=first_frame)
    typer.echo(f"wrote {output}")
