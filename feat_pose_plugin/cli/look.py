"""Commands that draw."""

from __future__ import annotations

from pathlib import Path

import typer

from feat_pose_plugin.cli.application import app, require_new
from feat_pose_plugin.cli.options import LOOK, command
from feat_pose_plugin.show import PICTURES


@command(app, LOOK)
def plot(
    tables: list[Path],
    output: Path,
    orientation: bool = False,
    fps: float | None = None,
    convention: list[str] | None = None,
    force: bool = False,
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
    read = [read_posed(table, DRAWN_COLUMNS.intersection)[0] for table in tables]
    titled = dict(zip(titles, read, strict=True))
    by_title = dict(zip(titles, said * len(tables), strict=False))
    if orientation:
        figure = plot_orientation(titled, convention=by_title)
    else:
        figure = plot_time_lines(titled, convention=by_title, fps=fps)
    save_figure(figure, output)
    typer.echo(f"wrote {output}")


@command(app, LOOK)
def overlay(
    source: Path,
    table: Path,
    output: Path,
    convention: str | None = None,
    first_frame: int | None = None,
    force: bool = False,
) -> None:
    """Draw the heads of a table on its video or photograph.

    Red points to the subject's left, green up, blue where the face points.
    """
    from tqdm import tqdm

    from feat_pose_plugin.show.overlay import overlay_picture, overlay_video
    from feat_pose_plugin.show.poses import read_posed

    require_new(force, output, source=source)
    poses, _ = read_posed(table)
    if source.suffix.lower() in PICTURES:
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


@command(app, LOOK)
def report(
    table: Path,
    output: Path,
    convention: str | None = None,
    fps: float | None = None,
    video: Path | None = None,
    first_frame: int | None = None,
    force: bool = False,
) -> None:
    """Write a web page about one table.

    It shows weights, counts, distributions, time lines and the rows in doubt.
    """
    from feat_pose_plugin.show.report import write_report

    require_new(force, output, source=table)
    write_report(table, output, convention=convention, fps=fps, video=video, first=first_frame)
    typer.echo(f"wrote {output}")
