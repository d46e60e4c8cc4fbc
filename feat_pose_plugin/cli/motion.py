"""Commands about movement over time, and about two tables of one movement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import (
    MEASURE,
    POSE,
    AlsoPicture,
    By,
    Force,
    Output,
    PoseTables,
    complete_conventions,
)


@app.command(rich_help_panel=POSE)
def motion(
    inputs: PoseTables,
    output: Output,
    fps: Annotated[float, typer.Option(metavar="N", help="Frames per second of the video.")],
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Window of smoothing in seconds; 0 for no smoothing.")
    ] = 0.2,
    longest_gap: Annotated[
        float, typer.Option(metavar="S", help="Longest gap in seconds that is bridged.")
    ] = 0.2,
    relative: Annotated[
        bool, typer.Option("--relative", help="Pose measured from the median pose of each person.")
    ] = False,
    by: By = None,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Convention of the table's pose. By default what a Parquet file says, or feat.",
            autocompletion=complete_conventions,
        ),
    ] = None,
    use_flagged: Annotated[
        bool,
        typer.Option("--use-flagged", help="Use rows with PoseFlags, which are gaps otherwise."),
    ] = False,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Also write a row for each person: mean pose, range, speed; .csv or .parquet.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Smooth pose over time, and add how fast each head turns."""
    import pandas as pd
    import pyarrow as pa
    from tqdm import tqdm

    from feat_pose_plugin.motion.move_tables import move_table
    from feat_pose_plugin.tables.run import only_writer, plan_outputs, refuse_existing
    from feat_pose_plugin.tables.stream import write_table

    jobs = plan_outputs(inputs, output)
    if not force:
        refuse_existing([*jobs, *([(None, summary)] if summary else [])])
    summaries = []
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        with only_writer(target):
            rows, moved = move_table(
                source,
                target,
                by,
                fps=fps,
                seconds=seconds,
                longest_gap=longest_gap,
                relative=relative,
                convention=convention,
                use_flagged=use_flagged,
                with_summary=summary is not None,
            )
        tqdm.write(f"{target}: {rows} rows, pose read and written as {moved.convention}")
        if moved.summary is not None:
            moved.summary.insert(0, "table", source.name)
            summaries.append(moved.summary)
    if summary:
        write_table(pa.Table.from_pandas(pd.concat(summaries), preserve_index=False), summary)
        typer.echo(f"{summary}: a row for each person, {sum(map(len, summaries))} in all")


@app.command(rich_help_panel=MEASURE)
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Table with pose columns, .csv or .parquet.")
    ],
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="B",
            help="Table of the same frames. By default our pose from the landmarks of A.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Also write the statistics, a .csv or .parquet file.",
        ),
    ] = None,
    picture: AlsoPicture = None,
    from_a: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Convention of A's pose. By default what the file says, openface by its columns, "
            "or else feat.",
            autocompletion=complete_conventions,
        ),
    ] = None,
    from_b: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Convention of B's pose, likewise.",
            autocompletion=complete_conventions,
        ),
    ] = None,
    by: By = None,
    force: Force = False,
) -> None:
    """Compare two pose tables of the same frames."""
    import pandas as pd
    import pyarrow as pa

    from feat_pose_plugin.evaluation.compare import compare_pose
    from feat_pose_plugin.evaluation.picture import plot_comparison
    from feat_pose_plugin.files import write_whole, writing
    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.tables.run import refuse_existing
    from feat_pose_plugin.tables.stream import read_table, write_table

    if not force:
        refuse_existing([(first, path) for path in (output, picture) if path])
    one = read_table(first)
    if second is None:
        other, name = estimate_pose(one), "pose_mlp_synth"
        for key in ("frame", "timestamp", *(by or [])):
            found = [label for label in one.columns if str(label).strip() == key]
            other[[key] * len(found)] = one[found]
    else:
        other, name = read_table(second), second.name
    comparison = compare_pose(one, other, convention_a=from_a, convention_b=from_b, by=by or ())
    with pd.option_context("display.width", 200, "display.max_columns", None):
        typer.echo(comparison.statistics.round(2).to_string(index=False, na_rep=""))
    for path, table in ((first, one), (name, other)):
        if len(table) > len(comparison.frames):
            left_out = len(table) - len(comparison.frames)
            typer.echo(f"{path}: {left_out} of {len(table)} rows have no pose in both tables.")
    if output:
        write_table(pa.Table.from_pandas(comparison.statistics, preserve_index=False), output)
    if picture:
        with writing(picture), write_whole(picture) as part:
            plot_comparison(comparison, first.name, name).savefig(part)
