"""The command `feat-pose`, in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from feat_pose_plugin.cli import app


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
