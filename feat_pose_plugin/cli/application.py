"""The application that every command joins, and how errors leave it."""

from __future__ import annotations

import errno
import os
from typing import Annotated

import typer
from typer.core import TyperGroup

from feat_pose_plugin import __version__
from feat_pose_plugin.errors import FeatPoseError, TableError, UnknownBackendError
from feat_pose_plugin.tables.memory import enough_memory
from feat_pose_plugin.tables.signals import Stopped, stopping


class _Commands(TyperGroup):
    """Says our errors, and the machine's, on stderr, without a traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            with stopping(), enough_memory("feat-pose"):
                return super().invoke(ctx)
        except Stopped as signal:
            typer.echo(
                f"Stopped by {signal}. What is finished is kept; start again to go on.", err=True
            )
            raise typer.Exit(128 + signal.number) from signal
        except (FeatPoseError, OSError) as error:
            typer.echo(f"Error: {error}", err=True)
            if isinstance(error, RuntimeError):  # weights, backends, processes; not files
                typer.echo("`feat-pose doctor` says what is here and what is missing.", err=True)
            raise typer.Exit(_exit_status(error)) from error
        except Exception as error:
            error.add_note("This is a defect. Report it with what `feat-pose doctor` prints.")
            raise


Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]

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
    if getattr(error, "system_errno", None) is not None:
        return 1
    numbers = {e.errno for e in (error, error.__cause__) if isinstance(e, OSError)}
    return 2 if is_input and numbers <= {None, errno.ENOENT} else 1


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


def _go_offline(wanted: bool) -> None:
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported


Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Connect to nothing, as with HF_HUB_OFFLINE=1.", callback=_go_offline
    ),
]
"""Of every command that makes a pose model by its name."""
