"""Commands about movement over time, and about two tables of one movement."""

from __future__ import annotations

from pathlib import Path

import typer

from feat_pose_plugin.cli.application import app, jobs_in_turn, require_new
from feat_pose_plugin.cli.options import MEASURE, POSE, command


@command(app, POSE)
def motion(
    tables: list[Path],
    output: Path,
    fps: float,
    seconds: float = 0.2,
    longest_gap: float = 0.2,
    relative: bool = False,
    by: list[str] | None = None,
    convention: str | None = None,
    use_flagged: bool = False,
    summary: Path | None = None,
    force: bool = False,
) -> None:
    """Smooth pose over time, and add how fast each head turns."""
    import pandas as pd
    import pyarrow as pa
    from tqdm import tqdm

    from feat_pose_plugin.motion.move_tables import move_table
    from feat_pose_plugin.tables.stream import write_table

    require_new(force, summary)
    summaries = {}
    for source, target in jobs_in_turn(tables, output, force):
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
        summaries[source.name] = moved.summary
    if summary:
        persons = pd.concat(summaries, names=["table"]).reset_index("table")
        write_table(pa.Table.from_pandas(persons, preserve_index=False), summary)
        typer.echo(f"{summary}: a row for each person, {len(persons)} in all")


@command(app, MEASURE)
def compare(
    first: Path,
    second: Path | None = None,
    output: Path | None = None,
    picture: Path | None = None,
    from_a: str | None = None,
    from_b: str | None = None,
    by: list[str] | None = None,
    force: bool = False,
) -> None:
    """Compare two pose tables of the same frames."""
    import pandas as pd
    import pyarrow as pa

    from feat_pose_plugin.evaluation.compare import compare_pose
    from feat_pose_plugin.evaluation.picture import plot_comparison
    from feat_pose_plugin.pose.estimate import estimate_pose
    from feat_pose_plugin.show.plots import save_figure
    from feat_pose_plugin.tables.stream import read_table, write_table

    require_new(force, output, picture, source=first)
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
        left_out = len(table) - len(comparison.frames)
        if left_out > 0:
            typer.echo(f"{path}: {left_out} of {len(table)} rows have no pose in both tables.")
    if output:
        write_table(pa.Table.from_pandas(comparison.statistics, preserve_index=False), output)
    if picture:
        save_figure(plot_comparison(comparison, first.name, name), picture)
