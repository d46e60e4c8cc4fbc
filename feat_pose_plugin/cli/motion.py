"""Commands about movement over time, and about two tables of one movement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feat_pose_plugin.cli.application import Force, app


@app.command()
def motion(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN", help="Tables with pose columns, .csv or .parquet, or folders."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="For one table a .csv or .parquet file; otherwise an existing folder.",
        ),
    ],
    fps: Annotated[float, typer.Option(help="Frames per second of the video.")],
    seconds: Annotated[
        float, typer.Option(help="Window of smoothing, seconds; 0 for no smoothing.")
    ] = 0.2,
    longest_gap: Annotated[
        float, typer.Option(help="Gaps of up to this many seconds are bridged.")
    ] = 0.2,
    relative: Annotated[
        bool,
        typer.Option("--relative", help="Pose from the median pose of each person."),
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column that tells persons apart; by default input, Identity and face_id.",
            show_default=False,
        ),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="Of the pose columns; by default what a Parquet file says, or feat.",
            show_default=False,
        ),
    ] = None,
    use_flagged: Annotated[
        bool,
        typer.Option("--use-flagged", help="Rows with PoseFlags count; they are gaps otherwise."),
    ] = False,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Also write a row for each person: mean pose, range, speed. .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Smooth pose over time, and add how fast each head turns."""
    import pandas as pd
    import pyarrow as pa
    from tqdm import tqdm

    from feat_pose_plugin.motion.move_tables import Movement, move_table
    from feat_pose_plugin.motion.summary import summarise_motion
    from feat_pose_plugin.tables.locks import only_writer
    from feat_pose_plugin.tables.outputs import plan_outputs, refuse_existing
    from feat_pose_plugin.tables.stream import read_table, write_table

    jobs = plan_outputs(inputs, output)
    if not force:
        refuse_existing([*jobs, *([(None, summary)] if summary else [])])
    movement = Movement(
        fps=fps,
        seconds=seconds,
        longest_gap=longest_gap,
        neutral="median" if relative else None,
        by=by,
        convention=convention,
        use_flagged=use_flagged,
    )
    summaries = []
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        with only_writer(target.with_name(f".{target.name}.lock")):
            rows = move_table(source, target, movement)
        tqdm.write(f"{target}: {rows} rows")
        if summary:
            found = summarise_motion(
                read_table(source), fps=fps, by=by, convention=convention, use_flagged=use_flagged
            )
            found.insert(0, "table", source.name)
            summaries.append(found)
    if summary:
        write_table(pa.Table.from_pandas(pd.concat(summaries), preserve_index=False), summary)
        typer.echo(f"{summary}: {sum(map(len, summaries))} persons")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A table with pose columns.")],
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="B",
            help="Another one of the same frames; left out: our pose from the landmarks of A.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Write the statistics to a .csv or .parquet file.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Draw both tables: .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    from_a: Annotated[
        str | None,
        typer.Option(
            metavar="CONVENTION",
            help="Of A's pose; by default what the file says, openface by its columns, or feat.",
            show_default=False,
        ),
    ] = None,
    from_b: Annotated[
        str | None,
        typer.Option(metavar="CONVENTION", help="Of B's pose, likewise.", show_default=False),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column that tells persons apart.", show_default=False),
    ] = None,
    force: Force = False,
) -> None:
    """Compare two pose tables of the same frames."""
    import pandas as pd
    import pyarrow as pa

    from feat_pose_plugin.evaluation.compare import compare_pose
    from feat_pose_plugin.evaluation.compare_picture import plot_comparison
    from feat_pose_plugin.files import write_whole, writing
    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.tables.outputs import refuse_existing
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
    if output:
        write_table(pa.Table.from_pandas(comparison.statistics, preserve_index=False), output)
    if picture:
        with writing(picture), write_whole(picture) as part:
            plot_comparison(comparison, first.name, name).savefig(part)
