"""The command `feat-pose`, in this process, in one of its own, or on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from typer.testing import CliRunner, Result

from feat_pose_plugin.cli import app

COMMAND = Path(sys.executable).with_name("feat-pose")


def feat_pose(*arguments: object) -> Result:
    """The command in this process; the imports are paid for once."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, status: int, *parts: str) -> None:
    """It failed with a message and without a traceback."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    for part in parts:
        assert part in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def on_terminal(*arguments: object, columns: int) -> str:
    """What the command writes to stderr where that is a terminal."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    shown = b""
    with subprocess.Popen([COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=writer):
        os.close(writer)
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(reader, 4096):
                shown += chunk
    os.close(reader)
    return shown.decode()


def start(*arguments: object, **settings: object) -> subprocess.Popen[str]:
    """The command in a process of its own; or a script, if that is the first argument."""
    script = isinstance(arguments[0], Path)
    command = [sys.executable if script else COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status, and what it said about it."""
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, errors


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that estimate for it; it has another one, which keeps track of resources."""
    tasks = Path("/proc", str(process.pid), "task").glob("*/children")
    children = sorted({int(pid) for task in tasks for pid in task.read_text().split()})
    return [p for p in children if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def is_writing(folder: Path) -> Callable[[], bool]:
    """Whether there is part of a table in a folder."""
    return lambda: any(path.stat().st_size for path in folder.glob(".*.????????????????.*"))
