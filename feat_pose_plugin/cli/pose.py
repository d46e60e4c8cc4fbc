"""Commands that make tables with pose columns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from feat_pose_plugin.cli.application import app, jobs_in_turn, require_new, stay_offline
from feat_pose_plugin.cli.options import POSE, command
from feat_pose_plugin.show import PICTURES, VIDEOS

if TYPE_CHECKING:
    from concurrent.futures import Executor


@command(app, POSE)
def estimate(
    inputs: list[Path],
    output: Path,
    model: str = "pose_mlp_synth",
    convention: str = "feat",
    landmark_model: str = "auto",
    height: int | None = None,
    width: int | None = None,
    normalized: bool = False,
    rotation_frame: Literal["line_of_sight", "camera"] = "line_of_sight",
    translation: Literal["geometric", "learned"] | None = None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    inter_ocular_mm: float | None = None,
    quality: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    offline: bool = False,
) -> None:
    """Add the six pose columns to landmark tables.

    All other columns and all rows stay as they are; pose columns that are there are replaced.
    Interrupted on its way into a folder, it goes on when it is started again.
    """
    stay_offline(offline)
    if (height is None) != (width is None):
        raise typer.BadParameter("--height and --width belong together: pass both or neither.")
    if scheduler is not None and jobs > 1:
        raise typer.BadParameter("--jobs and --scheduler exclude each other: pass one of them.")
    for path in inputs:
        if path.suffix.lower() in VIDEOS + PICTURES:
            raise typer.BadParameter(
                f"{path} is a video or a picture, and estimate reads tables of landmarks. To find "
                f"the faces in it: feat-pose detect {path} -o {output}"
            )
    from tqdm import tqdm

    from feat_pose_plugin.pose.estimate import PoseEstimator
    from feat_pose_plugin.pose.registry import get_pose_backend
    from feat_pose_plugin.tables.run import open_run, plan_outputs

    plan = plan_outputs(inputs, output)
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
    with open_run(plan, output, estimator, frame_size=frame_size, force=force) as run:
        for table in run.kept:
            typer.echo(f"{table.path}: {table.rows} rows, {table.faces} with a pose, as before")
        size, size_done = sum(source.stat().st_size for source, _ in run.jobs), 0.0
        with (
            _executor(min(jobs, len(run.jobs)), scheduler) as executor,
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


@command(app, POSE)
def convert(
    tables: list[Path],
    output: Path,
    to: str,
    from_: str | None = None,
    inter_ocular_mm: float | None = None,
    force: bool = False,
) -> None:
    """Convert the pose columns of tables to another convention.

    All other columns and all rows stay as they are.
    """
    from tqdm import tqdm

    from feat_pose_plugin.tables.pose_tables import convert_table

    for source, target in jobs_in_turn(tables, output, force):
        rows = convert_table(source, target, from_, to, inter_ocular_mm=inter_ocular_mm)
        tqdm.write(f"{target}: {rows} rows in {to}")


@command(app, POSE)
def detect(
    inputs: list[Path],
    output: Path,
    face_model: Literal["retinaface", "img2pose"] = "retinaface",
    landmark_model: Literal["mobilefacenet", "mobilenet", "pfld"] = "mobilefacenet",
    pose_model: str = "pose_mlp_synth",
    identity_model: Literal["arcface", "facenet"] | None = None,
    quality: bool = False,
    batch_size: int = 1,
    device: Literal["cpu", "cuda", "mps", "auto"] = "cpu",
    force: bool = False,
    offline: bool = False,
) -> None:
    """Find faces in videos and pictures with py-feat, and estimate their pose.

    In a folder, tables that are there are kept: interrupted, the same command goes on with the
    next input.
    """
    stay_offline(offline)
    import pandas as pd
    from tqdm import tqdm

    from feat_pose_plugin.errors import TableError
    from feat_pose_plugin.frameworks.pyfeat_detectors import Detectorv1
    from feat_pose_plugin.pose.tag import PoseTag, write_tag
    from feat_pose_plugin.tables.stream import FORMATS, write_table

    for path in inputs:
        if not path.is_file():
            raise TableError(f"{path} {'is no file' if path.exists() else 'does not exist'}.")
        if path.suffix.lower() in FORMATS:
            raise TableError(
                f"{path} is a table, not a video or a picture. For its landmarks: feat-pose "
                f"estimate {path} -o OUT"
            )
    if output.is_dir():
        plan = {output / f"{path.stem}.csv": [path] for path in inputs}
        if len(plan) < len(inputs):
            raise TableError("two inputs have one name. Choose different folders for them.")
        for target in [] if force else [target for target in plan if target.exists()]:
            typer.echo(f"{target}: as before")
            del plan[target]
        if not plan:
            return
    elif output.suffix.lower() not in FORMATS:
        raise TableError(f"{output} must end in {' or '.join(FORMATS)}, or be an existing folder.")
    else:
        plan = {output: inputs}
        require_new(force, output)
    detector: Any = Detectorv1(
        face_model=face_model,
        landmark_model=landmark_model,
        au_model=None,
        emotion_model=None,
        gaze_model=None,
        identity_model=identity_model,
        device=device,
        pose_model=pose_model,
        pose_options={"quality": True} if quality else None,
    )
    for target, paths in plan.items():
        found = []
        for path in tqdm(paths, unit="file", disable=None if len(paths) > 1 else True):
            kind = "video" if path.suffix.lower() in VIDEOS else "image"
            faces = detector.detect(
                str(path), data_type=kind, batch_size=batch_size, progress_bar=kind == "video"
            )
            found.append(pd.DataFrame(faces))
        table = pd.concat(found, ignore_index=True)
        write_tag(table, PoseTag("feat", "line_of_sight"))
        write_table(table, target)
        typer.echo(f"{target}: {len(table)} rows, {table['Pitch'].notna().sum()} with a pose")


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
        write_table(persons, summary)
        typer.echo(f"{summary}: a row for each person, {len(persons)} in all")


def _executor(processes: int, scheduler: str | None) -> AbstractContextManager[Executor | None]:
    """Who estimates; None for this process."""
    if scheduler is not None:
        from feat_pose_plugin.tables.cluster import cluster_executor

        return cluster_executor(scheduler)
    if processes > 1:
        from feat_pose_plugin.tables.workers import process_executor

        return process_executor(processes)
    return nullcontext()
