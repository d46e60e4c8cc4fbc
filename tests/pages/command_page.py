"""The commands in docs/command-line.md, written from the commands themselves.

::

    python tests/pages/command_page.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

import typer
from documents import Part, table

from feat_pose_plugin.cli import app
from feat_pose_plugin.cli.options import PANELS

PART = Part("command-line.md", __file__)


def commands(group=None, name: str = "feat-pose") -> Iterator[tuple[str, object]]:
    """Every command by what is typed, those of groups under the name of their group."""
    group = group or typer.main.get_command(app)
    for each, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {each}")
        else:
            yield f"{name} {each}", command


def panel_of(name: str) -> str:
    """The panel of a command, or of the group that it is in."""
    return typer.main.get_command(app).commands[name.split()[1]].rich_help_panel


def value_of(parameter) -> str:
    """What stands for the value of an option: its choices, or a word."""
    if getattr(parameter, "is_flag", False):
        return ""
    descriptor = getattr(parameter, "type_descriptor", None)  # of typer >= 0.26
    choices = (
        get_args(descriptor.annotation) if descriptor else getattr(parameter.type, "choices", ())
    )
    return parameter.metavar or "|".join(choices)


def row(parameter) -> tuple[str, str]:
    """An argument or option: how it is typed, what it is, and what it is by default."""
    value = value_of(parameter)
    typed = f"{', '.join(parameter.opts)} {value}" if parameter.opts[0][0] == "-" else value
    default = parameter.default
    told = parameter.show_default and default not in (None, False)
    if parameter.required:
        said = f"{parameter.help} Required."
    else:
        said = f"{parameter.help} Default: `{default}`." if told else parameter.help
    typed = typed.strip().replace("|", " or ")
    return f"`{typed}`", said


def text() -> str:
    """The commands as Markdown, one table of arguments and options for each."""
    parts = []
    for panel in PANELS:
        parts.append(f"## {panel}")
        for name, command in commands():
            if panel_of(name) == panel:
                rows = [row(each) for each in command.params if each.name != "help"]
                parts += [f"### `{name}`", inspect.cleandoc(command.help)]
                parts.append(table(["argument or option", "what it is"], rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    PART.write(text())
