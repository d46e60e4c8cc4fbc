"""The command ``feat-pose``.

Options and messages only. Whatever is slow to import is imported inside the commands.
"""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperGroup

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import FeatPoseError, TableError, UnknownBackendError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from feat_pose_plugin.estimate import RotationFrame, Translation
    from feat_pose_plugin.landmarks import LandmarkType, LandmarkTypeChoice


class _Commands(TyperGroup):
    """Says our errors, and the machine's, on stderr, without a traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except (FeatPoseError, OSError) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(_exit_status(error)) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _exit_status(error: Exception) -> int:
    """2 where other input or options would help, 1 where the machine or the package failed."""
    is_input = isinstance(error, ValueError | TableError | UnknownBackendError)
    numbers = {getattr(e, "errno", None) for e in (error, error.__cause__)}
    return 2 if is_input and numbers <= {None, errno.ENOENT} else 1


def _executor(processes: int, scheduler: str | None) -> AbstractContextManager[Executor | None]:
    """Who estimates; None for this process."""
    if scheduler is not None:
        from feat_pose_plugin.cluster import cluster_executor

        return cluster_executor(scheduler)
    if processes > 1:
        from feat_pose_plugin.workers import process_executor

        return process_executor(processes)
    return nullcontext()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Head pose from 68 face landmarks."""
    del version


_Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="For one table a .csv or .parquet file; otherwise an existing folder.",
    ),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]


@app.command()
def estimate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN", help="Tables with landmarks, .csv or .parquet, or folders."),
    ],
    output: _Output,
    model: Annotated[
        str, typer.Option(help="A name that `feat-pose models` lists.")
    ] = "pose_mlp_synth",
    convention: Annotated[
        str,
        typer.Option(
            help="What the columns mean: feat, img2pose, 300w-lp, openface, feat-0.6, feat-0.7 or "
            "feat-mp."
        ),
    ] = "feat",
    landmark_type: Annotated[
        str,
        typer.Option(
            help="2d: the jaw is the contour seen in the picture; 3d: points of the head; auto: "
            "meshes are 3d, all others 2d."
        ),
    ] = "auto",
    height: Annotated[
        int | None, typer.Option(min=1, help="Height of the video frame in pixels, if known.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Its width, if known.")] = None,
    rotation_frame: Annotated[
        str, typer.Option(help="line_of_sight, or camera, which needs the frame size.")
    ] = "line_of_sight",
    translation: Annotated[
        str | None,
        typer.Option(
            help="X, Y, Z by geometry (geometric) or by the model (learned); by default its own, "
            "and geometry where it has none.",
            show_default=False,
        ),
    ] = None,
    focal_length: Annotated[
        float | None,
        typer.Option(help="Pixels; height + width by default.", show_default=False),
    ] = None,
    principal_point: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="X Y", help="Pixels; the middle of the frame by default.", show_default=False
        ),
    ] = None,
    inter_ocular_mm: Annotated[
        float | None,
        typer.Option(
            help="Distance of the outer eye corners, for X, Y, Z in millimetres.",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also add PoseResidual and PoseFlags.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="How many tables at a time.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Let the workers of a Dask cluster do it.", show_default=False
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace outputs that another program wrote.")
    ] = False,
) -> None:
    """Add the six pose columns to landmark tables.

    All other columns and all rows stay as they are; pose columns that are there are replaced.
    Interrupted on its way into a folder, it goes on when it is started again.
    """
    if (height is None) != (width is None):
        raise typer.BadParameter("--height and --width belong together: pass both or neither.")
    if scheduler is not None and processes > 1:
        raise typer.BadParameter("--jobs and --scheduler exclude each other: pass one of them.")
    from tqdm import tqdm

    from feat_pose_plugin.estimate import PoseEstimator
    from feat_pose_plugin.outputs import plan_outputs
    from feat_pose_plugin.pose_tables import PoseTable
    from feat_pose_plugin.registry import get_pose_backend
    from feat_pose_plugin.runs import open_run

    jobs = plan_outputs(inputs, output)
    estimator = PoseEstimator(
        backend=get_pose_backend(model),
        # Names are checked by what reads them.
        landmark_type=cast("LandmarkTypeChoice", landmark_type),
        convention=convention,
        rotation_frame=cast("RotationFrame", rotation_frame),
        translation=cast("Translation | None", translation),
        focal_length=focal_length,
        principal_point=principal_point,
        inter_ocular_mm=inter_ocular_mm,
        quality=quality,
    )
    frame_size = None if height is None or width is None else (height, width)
    with open_run(jobs, output, estimator, frame_size=frame_size, force=force) as run:
        for table in run.kept:
            typer.echo(f"{table.path}: {table.rows} rows, {table.faces} with a pose, as before")
        size, size_done = sum(source.stat().st_size for source, _ in run.jobs), 0.0
        with (
            _executor(min(processes, len(run.jobs)), scheduler) as executor,
            tqdm(unit="row", unit_scale=True, disable=None) as bar,  # None: on a terminal only
        ):

            def show(rows: int, bytes_done: float) -> None:
                nonlocal size_done
                size_done += bytes_done
                bar.total = round((bar.n + rows) * size / max(size_done, 1))
                bar.update(rows)

            def say(table: PoseTable) -> None:
                tqdm.write(f"{table.path}: {table.rows} rows, {table.faces} with a pose")

            run.estimate(say, executor=executor, progress=show)
            bar.total = bar.n  # until now a guess from what is read
            bar.refresh()


@app.command()
def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN", help="Tables with pose columns, .csv or .parquet."),
    ],
    output: _Output,
    there: Annotated[str, typer.Option("--to", metavar="CONVENTION", help="What is wanted.")],
    here: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CONVENTION",
            help="What the pose columns are in. May be left out where a Parquet file says it.",
            show_default=False,
        ),
    ] = None,
    inter_ocular_mm: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Distance of the outer eye corners: how long a unit of X, Y, Z is.",
            show_default=False,
        ),
    ] = None,
    force: _Force = False,
) -> None:
    """Convert the pose columns of tables to another convention.

    All other columns and all rows stay as they are. The conventions: feat, img2pose, 300w-lp,
    openface, feat-0.6, feat-0.7, feat-mp, mediapipe, quaternion, matrix.
    """
    from tqdm import tqdm

    from feat_pose_plugin.outputs import plan_outputs, refuse_existing
    from feat_pose_plugin.pose_tables import convert_table

    jobs = plan_outputs(inputs, output)
    if not force:
        refuse_existing(jobs)
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        rows = convert_table(source, target, here, there, inter_ocular_mm=inter_ocular_mm)
        tqdm.write(f"{target}: {rows} rows in {there}")


@app.command()
def models() -> None:
    """List the pose models and their weights.

    Where the weights lie, their hash and licence, or why they cannot be had here. Nothing is
    downloaded.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
    from feat_pose_plugin.native import NativePose
    from feat_pose_plugin.registry import available_pose_backends, get_pose_backend

    rows = [("NAME", "LANDMARKS", "SHA256", "LICENCE", "WEIGHTS")]
    for name in available_pose_backends():
        try:
            backend = get_pose_backend(name)
        except Exception as error:  # one broken model must not hide the others
            reason = str(error).partition("\n")[0].partition(". ")[0]
            why = f"not available, {type(error).__name__}: {reason}"
            rows.append((name, "-", "-", "-", why))
            continue
        provenance = backend.provenance
        for kind, file in provenance.weights.items():
            rows.append((name, kind, file.sha256[:12], provenance.licence, str(file.path)))
        if isinstance(backend, NativePose):
            rows.append((name, "none", "-", provenance.licence, f"needs {backend.needs}"))
        elif not provenance.weights:
            rows.append((name, "any", "-", provenance.licence, "needs none"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        typer.echo("  ".join(map(str.ljust, cells, widths)) + "  " + last)


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
    from feat_pose_plugin.demo import describe_demo, estimate_demo, write_demo

    poses = estimate_demo()
    written = write_demo(poses, folder)
    typer.echo(describe_demo(poses))
    for path in written:
        typer.echo(f"wrote {path}")


train = typer.Typer(no_args_is_help=True, help="Train weights of your own.")
app.add_typer(train, name="train")

_Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
_Weights = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="NAME.safetensors",
        help="NAME.json is written beside it.",
        callback=lambda path: _checkpoint(path),
    ),
]
_Hidden = Annotated[
    str | None,
    typer.Option(metavar="N-N-...", help="Units of the hidden layers.", show_default=False),
]
_Reference = Annotated[
    Path,
    typer.Argument(help="Faces with a known pose: an NPZ file, or a table with pose columns."),
]
_Model = Annotated[str, typer.Option(help="A name that `feat-pose models` lists.")]
_Landmarks = Annotated[str, typer.Option(help="Which array of an NPZ file holds the landmarks.")]
_LandmarkType = Annotated[str, typer.Option(help="2d, 3d or auto.")]
_Convention = Annotated[str, typer.Option(help="What a table's pose columns mean.")]
_Groups = Annotated[
    str | None, typer.Option(help="Array or column that says which faces belong together.")
]


def _checkpoint(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise typer.BadParameter(f"{path} must end in .safetensors.")
    return path


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in text.split("-"))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not like 256-128-64.") from error


@train.command()
def synth(
    face_model: Annotated[
        Path,
        typer.Option(metavar="PATH", help="ICT-FaceKit: an NPZ file, or a checkout of it."),
    ],
    output: _Weights,
    landmark_type: Annotated[str, typer.Option(help="2d or 3d.")],
    hidden: _Hidden = None,
    faces: Annotated[
        int | None, typer.Option(min=1, help="How many faces to train on.", show_default=False)
    ] = None,
    seed: _Seed = 0,
) -> None:
    """Train on synthetic faces.

    Interrupted, it goes on from the last evaluation when it is started again.
    """
    from dataclasses import replace

    from feat_pose_plugin.training.face_model import read_face_model
    from feat_pose_plugin.training.synth import settings_for, train_synth

    settings = settings_for(landmark_type)
    if hidden is not None:
        settings = replace(settings, hidden=_layers(hidden))
    if faces is not None:
        settings = replace(settings, faces=faces)
    error = train_synth(
        read_face_model(face_model),
        output,
        cast("LandmarkType", landmark_type),  # checked by what reads it
        settings=settings,
        seed=seed,
        progress=True,
    )
    typer.echo(f"wrote {output}: {error:.2f} degrees on synthetic faces it was not trained on")


@train.command()
def distill(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP...", help="Tables with landmarks and the teacher's pose."),
    ],
    output: _Weights,
    convention: _Convention = "feat",
    v1: Annotated[
        bool, typer.Option("--v1", help="256-128-64 with ReLU in place of v2's 512-256-128.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="30 by default.", show_default=False)
    ] = None,
    seed: _Seed = 0,
) -> None:
    """Train to answer as a teacher does, by py-feat's own recipe."""
    from dataclasses import replace

    from feat_pose_plugin.training.distill import RECIPES, train_distill

    settings = RECIPES["v1" if v1 else "v2"]
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    train_distill(clips, output, settings=settings, convention=convention, seed=seed, progress=True)
    typer.echo(f"wrote {output}")


@app.command()
def evaluate(
    reference: _Reference,
    model: _Model = "pose_mlp_synth",
    landmarks: _Landmarks = "landmarks",
    landmark_type: _LandmarkType = "auto",
    convention: _Convention = "300w-lp",
    groups: _Groups = None,
    fit_on: Annotated[
        float,
        typer.Option(help="The constant is fitted on so many faces, or that share of them."),
    ] = 0.2,
    noise: Annotated[
        bool, typer.Option("--noise", help="Also with 1, 2 and 4 percent of noise.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture, .png or .pdf.")] = None,
) -> None:
    """Measure a pose model against faces whose pose is known."""
    from feat_pose_plugin import evaluation
    from feat_pose_plugin.files import write_whole

    kind = cast("LandmarkTypeChoice", landmark_type)  # checked by what reads it
    known = evaluation.read_reference(
        reference, landmarks=landmarks, convention=convention, groups=groups
    )
    measured = evaluation.evaluate(model, known, landmark_type=kind, fit_on=fit_on)
    typer.echo(measured.to_string())
    if noise:
        table = evaluation.evaluate_with_noise(model, known, landmark_type=kind)
        typer.echo(f"\n{table.round(2).to_string()}")
    if json is not None:
        with write_whole(json) as part:
            part.write_text(measured.to_json() + "\n", encoding="utf-8")
    if picture is not None:
        with write_whole(picture) as part:
            evaluation.plot_evaluation(measured).savefig(part)


@app.command()
def calibrate(
    reference: _Reference,
    model: _Model = "pose_mlp_synth",
    landmarks: _Landmarks = "landmarks",
    landmark_type: _LandmarkType = "auto",
    convention: _Convention = "300w-lp",
    groups: _Groups = None,
) -> None:
    """Measure the constant turn from a model's zero of the head to a reference's."""
    from feat_pose_plugin import evaluation

    known = evaluation.read_reference(
        reference, landmarks=landmarks, convention=convention, groups=groups
    )
    kind = cast("LandmarkTypeChoice", landmark_type)  # checked by what reads it
    typer.echo(evaluation.calibrate(model, known, landmark_type=kind).to_string())


@app.command()
def turns(
    pictures: Annotated[Path, typer.Argument(help="An NPZ file of faces turned by known angles.")],
    landmarks: _Landmarks,
    model: _Model = "pose_mlp_synth",
    landmark_type: _LandmarkType = "auto",
) -> None:
    """Measure how much of a known turn is read."""
    from feat_pose_plugin import evaluation

    kind = cast("LandmarkTypeChoice", landmark_type)  # checked by what reads it
    turned = evaluation.read_turns(pictures, {landmarks: kind})
    typer.echo(evaluation.turn_gains(model, turned).round(3).to_string())
    typer.echo("\nMean geodesic error of the turn over the yaw sweep to 50 degrees:")
    typer.echo(evaluation.turn_errors(model, turned).round(2).to_string())
