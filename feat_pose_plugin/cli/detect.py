"""The command that goes from pictures to a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from feat_pose_plugin.cli.application import app
from feat_pose_plugin.cli.options import POSE, VIDEOS, Force, Model, Offline, Quality


@app.command(rich_help_panel=POSE)
def detect(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN", help="Videos and pictures.", exists=True)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Output: a .csv or .parquet file for all, or an existing folder for a table each.",
        ),
    ],
    face_model: Annotated[
        Literal["retinaface", "img2pose"], typer.Option(help="Model of the faces.")
    ] = "retinaface",
    landmark_model: Annotated[
        Literal["mobilefacenet", "mobilenet", "pfld"],
        typer.Option(help="Model of the landmarks."),
    ] = "mobilefacenet",
    pose_model: Model = "pose_mlp_synth",
    identity_model: Annotated[
        Literal["arcface", "facenet"] | None,
        typer.Option(help="Model of the persons. By default none."),
    ] = None,
    quality: Quality = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Frames at a time.")] = 1,
    device: Annotated[
        Literal["cpu", "cuda", "mps", "auto"], typer.Option(help="Device of py-feat's models.")
    ] = "cpu",
    force: Force = False,
    offline: Offline = False,
) -> None:
    """Find faces in videos and pictures with py-feat, and estimate their pose.

    In a folder, tables that are there are kept: interrupted, the same command goes on with the
    next input.
    """
    del offline
    import pandas as pd
    import pyarrow as pa
    from tqdm import tqdm

    from feat_pose_plugin.errors import TableError
    from feat_pose_plugin.frameworks.pyfeat_detectors import Detectorv1
    from feat_pose_plugin.pose.tag import PoseTag, write_tag
    from feat_pose_plugin.tables.run import refuse_existing
    from feat_pose_plugin.tables.stream import FORMATS, write_table

    tables = [path for path in inputs if path.suffix.lower() in FORMATS]
    if tables:
        raise TableError(
            f"{tables[0]} is a table, not a video or a picture. For its landmarks: feat-pose "
            f"estimate {tables[0]} -o OUT"
        )
    if output.is_dir():
        jobs = [([path], output / f"{path.stem}.csv") for path in inputs]
        if len({target for _, target in jobs}) < len(jobs):
            raise TableError("two inputs have one name. Choose different folders for them.")
        if not force:
            for _, target in jobs:
                if target.exists():
                    typer.echo(f"{target}: as before")
            jobs = [job for job in jobs if not job[1].exists()]
    elif output.suffix.lower() not in FORMATS:
        raise TableError(f"{output} must end in {' or '.join(FORMATS)}, or be an existing folder.")
    else:
        jobs = [(inputs, output)]
        if not force:
            refuse_existing([(None, output)])
    if not jobs:
        return
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
    for paths, target in jobs:
        found = []
        for path in tqdm(paths, unit="file", disable=None if len(paths) > 1 else True):
            kind = "video" if path.suffix.lower() in VIDEOS else "image"
            faces = detector.detect(
                str(path), data_type=kind, batch_size=batch_size, progress_bar=kind == "video"
            )
            found.append(pd.DataFrame(faces))
        table = pd.concat(found, ignore_index=True)
        write_tag(table, PoseTag("feat", "line_of_sight"))
        write_table(pa.Table.from_pandas(table, preserve_index=False), target)
        typer.echo(f"{target}: {len(table)} rows, {table['Pitch'].notna().sum()} with a pose")
