"""The application that every command joins: its help, and how errors and warnings leave it."""

from __future__ import annotations

import errno
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from feat_pose_plugin import __version__
from feat_pose_plugin.cli.options import PANELS
from feat_pose_plugin.errors import FeatPoseError, PoseWarning, TableError, UnknownBackendError
from feat_pose_plugin.tables.signals import Stopped, stopping


class _Commands(TyperGroup):
    """Says our errors, and the machine's, on stderr, without a traceback."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            with warnings.catch_warnings(), stopping():
                warnings.simplefilter("always", PoseWarning)
                warnings.formatwarning = _format_warning  # type: ignore[assignment]
                return super().invoke(ctx)
        except Stopped as signal:
            _say(f"Stopped by {signal}. What is finished is kept; start again to go on.")
            raise typer.Exit(128 + signal.number) from signal
        except (FeatPoseError, OSError) as error:
            _say(f"Error: {error}")
            if isinstance(error, RuntimeError):  # weights, backends, processes; not files
                _say("`feat-pose doctor` says what is here and what is missing.")
            raise typer.Exit(_exit_status(error)) from error
        except MemoryError as error:
            _say(
                f"Error: there was too little memory: {str(error)[:200] or 'no more is given'}. "
                "Start again with fewer processes or more memory: what is finished is kept."
            )
            raise typer.Exit(1) from error
        except Exception as error:
            error.add_note("This is a defect. Report it with what `feat-pose doctor` prints.")
            raise

    def format_commands(self, _ctx, formatter) -> None:  # type: ignore[no-untyped-def]
        """The commands in panels, as the help prints them."""
        for panel in PANELS:
            with formatter.section(panel):
                formatter.write_dl(
                    (name, command.get_short_help_str(80))
                    for name, command in self.commands.items()
                    if getattr(command, "rich_help_panel", None) == panel
                )


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def stay_offline(wanted: bool = True) -> None:
    """Connect to nothing from now on, if it is wanted."""
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported


def jobs_in_turn(tables: Sequence[Path], output: Path, force: bool) -> Iterator[tuple[Path, Path]]:
    """Each table and the file that it becomes, which nobody else writes meanwhile."""
    from tqdm import tqdm

    from feat_pose_plugin.tables.run import only_writer, plan_outputs

    jobs = plan_outputs(tables, output)
    for source, target in jobs:
        require_new(force, target, source=source)
    for source, target in tqdm(jobs, unit="table", disable=None):  # None: on a terminal only
        with only_writer(target):
            require_new(force, target, source=source)  # made by another command since
            yield source, target


def require_new(force: bool, *outputs: Path | None, source: Path | None = None) -> None:
    """Refuse outputs that exist, unless --force is given."""
    from feat_pose_plugin.tables.run import refuse_existing

    if not force:
        refuse_existing([(source, output) for output in outputs if output])


def _say(text: str) -> None:
    """On stderr; on a terminal no line is longer than it is wide."""
    if sys.stderr.isatty():
        width = min(os.get_terminal_size(sys.stderr.fileno()).columns, 100)
        fill = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False).fill
        text = "\n".join(map(fill, text.splitlines()))
    typer.echo(text, err=True)


def _format_warning(message: Warning | str, category: type[Warning], *_: object) -> str:
    return f"{'Warning' if issubclass(category, PoseWarning) else category.__name__}: {message}\n"


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
