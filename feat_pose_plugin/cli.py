"""The command ``feat-pose``.

Options and messages only. Whatever is slow to import is imported inside the commands.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperGroup

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import FeatPoseError, TableError, UnknownBackendError

if TYPE_CHECKING:
    from feat_pose_plugin.landmarks import LandmarkTypeChoice


class _Commands(TyperGroup):
    """Says our errors on stderr, without a traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except FeatPoseError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(_exit_status(error)) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _exit_status(error: FeatPoseError) -> int:
    """2 where other input or options would help, 1 where the machine or the package failed."""
    is_input = isinstance(error, ValueError | TableError | UnknownBackendError)
    is_machine = getattr(error.__cause__, "errno", None) is not None
    return 2 if is_input and not is_machine else 1


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


@app.command()
def estimate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN", help="Tables with landmarks, .csv or .parquet."),
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
    model: Annotated[
        str, typer.Option(help="A name that `feat-pose models` lists.")
    ] = "pose_mlp_synth",
    convention: Annotated[
        str, typer.Option(help="What the columns mean: feat, img2pose or 300w-lp.")
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
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
) -> None:
    """Add the six pose columns to landmark tables.

    All other columns and all rows stay as they are; pose columns that are there are replaced.
    """
    if (height is None) != (width is None):
        raise typer.BadParameter("--height and --width belong together: pass both or neither.")
    from tqdm import tqdm

    from feat_pose_plugin.conventions import find_convention
    from feat_pose_plugin.registry import get_pose_backend
    from feat_pose_plugin.tables import estimate_table, plan_outputs

    jobs = plan_outputs(inputs, output, force=force)
    find_convention(convention)
    backend = get_pose_backend(model)
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        rows, faces = estimate_table(
            source,
            target,
            pose_model=backend,
            landmark_type=cast("LandmarkTypeChoice", landmark_type),  # checked by what reads it
            frame_size=None if height is None or width is None else (height, width),
            convention=convention,
        )
        tqdm.write(f"{target}: {rows} rows, {faces} with a pose")


@app.command()
def models() -> None:
    """List the pose models and their weights.

    Where the weights lie, their hash and licence, or why they cannot be had here. Nothing is
    downloaded.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
    from feat_pose_plugin.registry import available_pose_backends, get_pose_backend

    rows = [("NAME", "LANDMARKS", "SHA256", "LICENCE", "WEIGHTS")]
    for name in available_pose_backends():
        try:
            provenance = get_pose_backend(name).provenance
        except Exception as error:  # one broken model must not hide the others
            reason = str(error).partition("\n")[0].partition(". ")[0]
            why = f"not available, {type(error).__name__}: {reason}"
            rows.append((name, "-", "-", "-", why))
            continue
        for kind, file in provenance.weights.items():
            rows.append((name, kind, file.sha256[:12], provenance.licence, str(file.path)))
        if not provenance.weights:
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
