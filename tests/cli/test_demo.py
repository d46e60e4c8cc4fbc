"""The demonstration runs on real tables and leaves a table and a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose
from feat_pose_plugin.cli.demo import (
    TABLES,
    describe_demo,
    estimate_demo,
    find_demo_tables,
    write_demo,
)
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.show.plots import plot_time_lines


@pytest.fixture(scope="module")
def poses() -> dict[str, pd.DataFrame]:
    return estimate_demo()


def some_poses(*tables: list[float]) -> dict[str, pd.DataFrame]:
    """Tables whose pitch is given in degrees; yaw is twice, roll minus that."""
    return {
        f"clip {number}": pd.DataFrame(
            np.deg2rad(np.array([pitch, np.negative(pitch), np.multiply(pitch, 2)])).T,
            columns=["Pitch", "Roll", "Yaw"],
        )
        for number, pitch in enumerate(tables)
    }


def test_the_tables_are_py_feats_and_each_row_has_a_pose(poses: dict[str, pd.DataFrame]) -> None:
    assert tuple(poses) == TABLES
    for path in find_demo_tables():
        table = pd.read_csv(path)
        assert len(poses[path.name]) == len(table)
        pd.testing.assert_frame_equal(poses[path.name], estimate_pose(table), atol=1e-5)
        assert poses[path.name][["Pitch", "Roll", "Yaw"]].notna().all(axis=None)


def test_the_summary_counts_and_is_in_degrees() -> None:
    text = describe_demo(some_poses([-10, 5, 20, np.nan]))
    line = next(line for line in text.splitlines() if line.startswith("clip 0"))
    numbers = [float(n) for n in line.translate(str.maketrans("(,)", "   ")).split()[2:]]
    #                   rows faces pitch          yaw            roll
    expected = [4, 3, 5, -10, 20, 10, -20, 40, -5, -20, 10]
    assert numbers == expected


def test_writes_one_table_and_one_picture(poses: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    for _ in range(2):  # the demo may be run again
        table, picture = write_demo(poses, tmp_path / "new")
    assert {table, picture} == {*(tmp_path / "new").iterdir()}
    written = pd.read_csv(table)
    assert written.columns.tolist() == ["table", "row", *FEAT_FACEPOSE_COLUMNS_6D]
    for name, pose in poses.items():
        block = written[written["table"] == name]
        assert block["row"].tolist() == [*range(len(pose))]
        np.testing.assert_array_equal(
            block[FEAT_FACEPOSE_COLUMNS_6D].to_numpy("f4"), pose.to_numpy("f4")
        )
    pixels = matplotlib.image.imread(picture)
    assert min(pixels.shape[:2]) > 400
    assert pixels[..., :3].std() > 0.02  # not an empty page


def test_an_output_that_cannot_be_is_a_table_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "no" / "folder", tmp_path / "file"):
        with pytest.raises(TableError, match="could not be made"):
            write_demo(some_poses([1, 2]), folder)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def drawn_lines(figure: Figure) -> dict[str, np.ndarray]:
    """The curve of each plot in the first column, by the label of its axis."""
    lines = {}
    for axes in figure.axes:
        if axes.get_ylabel():
            lines[axes.get_ylabel()] = np.asarray(axes.lines[-1].get_ydata())
    return lines


def test_time_lines_are_in_degrees_under_labels_that_say_the_sign() -> None:
    pitch = [1.0, np.nan, -30.0]
    lines = drawn_lines(plot_time_lines(some_poses(pitch)))
    for word, factor, sign in [("pitch", 1, "up"), ("yaw", 2, "right"), ("roll", -1, "right")]:
        label = next(label for label in lines if label.startswith(word))
        assert "deg" in label
        assert sign in label
        np.testing.assert_allclose(lines[label], np.multiply(pitch, factor), atol=1e-9)


@pytest.mark.parametrize("tables", [1, 3, 5])
def test_no_label_is_cut_off_or_lies_on_another(tables: int) -> None:
    figure = plot_time_lines(some_poses(*[[-60.0, 61.7]] * tables))
    figure.draw_without_rendering()
    page = figure.bbox
    texts = [
        text.get_window_extent()
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label)
        if text.get_text()
    ]
    assert len(texts) == 2 * tables + 3
    for box in texts:
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
    for i, box in enumerate(texts):
        assert not any(box.overlaps(other) for other in texts[i + 1 :])
