"""Pictures of tables: in degrees, in any convention, with gaps and doubts to be seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import feat_pose, refused
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.errors import ConventionError, OptionError, PictureError, TableError
from feat_pose_plugin.show.plots import plot_orientation, plot_time_lines, save_figure

ANGLES = ["pitch", "yaw", "roll"]


def some_poses(rows: int, seed: int = 0) -> pd.DataFrame:
    """A smooth, untagged clip in convention feat."""
    turns = np.random.default_rng(seed).normal(0, 0.05, (rows, 3)).cumsum(axis=0)
    return pd.DataFrame(np.sin(turns), columns=["Pitch", "Roll", "Yaw"])


def plots_of(figure: Figure) -> dict[str, Axes]:
    """The plots of the first column by the first word of their label."""
    return {axes.get_ylabel().split()[0]: axes for axes in figure.axes if axes.get_ylabel()}


def curve(figure: Figure, name: str) -> np.ndarray:
    """``[2, n]`` time and value of the last line that was drawn."""
    return np.array(plots_of(figure)[name].lines[-1].get_data(), dtype=float)


def shaded(figure: Figure) -> list[tuple[float, float]]:
    """Begin and end of each shaded span."""
    spans = figure.axes[0].collections[0]
    boxes = [path.get_extents() for path in spans.get_paths()]
    return [(box.x0, box.x1) for box in boxes]


def marked(figure: Figure, name: str) -> np.ndarray:
    """``[n, 2]`` where crosses are."""
    return np.asarray(plots_of(figure)[name].collections[-1].get_offsets())


@pytest.mark.parametrize("convention", ["300w-lp", "openface", "img2pose", "feat-mp", "quaternion"])
def test_every_convention_draws_the_same_angles(convention):
    pose = some_poses(30)
    other = convert_pose(pose, "feat", convention)
    untagged = pd.DataFrame(other.to_numpy(), columns=other.columns)
    for table, said in ((other, None), (untagged, convention)):
        figure = plot_time_lines(table, convention=said)
        for name, column in zip(ANGLES, ["Pitch", "Yaw", "Roll"], strict=True):
            expected = np.rad2deg(pose[column])
            np.testing.assert_allclose(curve(figure, name)[1], expected, atol=1e-6)


def test_a_fex_straight_from_a_detector_is_in_feat():
    from feat import Fex

    pose = some_poses(20).assign(X=0.0, Y=0.0, Z=9.0, frame=range(20), Identity="Person_0")
    fex = Fex(pose, facepose_columns=["Pitch", "Roll", "Yaw", "X", "Y", "Z"], detector="Feat")
    np.testing.assert_allclose(curve(plot_time_lines(fex), "yaw")[1], np.rad2deg(pose["Yaw"]))
    assert "20 rows" in plot_orientation(fex).axes[0].get_title()


def test_degrees_are_not_taken_for_radians(feat_folder):
    old = pd.read_csv(feat_folder / "tests" / "data" / "001.csv")  # of py-feat 0.x, in degrees
    for draw in (plot_time_lines, plot_orientation):
        with pytest.raises(ConventionError, match=r"angles up to 14\.65.*Are they degrees\?"):
            draw(old)
    pitch = curve(plot_time_lines(old, convention="feat-0.6"), "pitch")[1]
    assert 1 < np.abs(pitch).max() < 20


def test_a_table_without_a_pose_is_refused():
    with pytest.raises(ConventionError, match=r"no pose in convention 'feat'.*--convention"):
        plot_time_lines(pd.DataFrame({"x_0": [1.0]}))
    with pytest.raises(ConventionError, match="unknown convention 'x'"):
        plot_time_lines(some_poses(3), convention="x")
    with pytest.raises(OptionError, match="no table"):
        plot_orientation({})


def test_rows_without_a_pose_break_the_line_and_are_shaded():
    pose = some_poses(20)
    pose.iloc[5:9] = np.nan
    pose.iloc[18:] = np.nan
    figure = plot_time_lines(pose)
    for name in ANGLES:
        assert np.flatnonzero(np.isnan(curve(figure, name)[1])).tolist() == [5, 6, 7, 8, 18, 19]
    assert shaded(figure) == [(4.5, 8.5), (17.5, 19.5)]
    assert "no pose" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert shaded(plot_time_lines(some_poses(20))) == []


def test_frames_that_are_missing_are_a_gap_and_those_that_are_skipped_are_not():
    pose = some_poses(12)
    pose["frame"] = [*range(0, 30, 5), *range(50, 80, 5)]  # every fifth, and a hole
    figure = plot_time_lines(pose)
    pitch = curve(figure, "pitch")[1]
    assert np.isnan(pitch).sum() == 1
    assert np.isnan(pitch[6])
    assert shaded(figure) == [(27.5, 47.5)]
    assert figure.axes[-1].get_xlabel() == "frame"


def test_a_pose_between_gaps_can_be_seen():
    pose = some_poses(9)
    pose.iloc[[3, 5]] = np.nan
    line = plots_of(plot_time_lines(pose))["yaw"].lines[-1]
    assert line.get_marker() == "."
    assert line.get_markevery() == [4]


def test_flagged_rows_are_faded_and_marked():
    pose = some_poses(10)
    pose["PoseFlags"] = ["", None, "residual", "", np.nan, "yaw;eyes", "", "", "", ""]
    figure = plot_time_lines(pose)
    for name, column in zip(ANGLES, ["Pitch", "Yaw", "Roll"], strict=True):
        crosses = marked(figure, name)
        there = crosses[np.isfinite(crosses).all(axis=1)]
        assert there[:, 0].tolist() == [2, 5]
        plot = plots_of(figure)[name]
        expected = np.rad2deg(pose[column][[2, 5]]).clip(*plot.get_ylim())
        np.testing.assert_allclose(there[:, 1], expected)
        faded, plain = plot.lines[-2:]
        assert faded.get_alpha() < plain.get_alpha() == 1
        assert np.flatnonzero(np.isnan(plain.get_ydata())).tolist() == [2, 5]
        assert np.isfinite(faded.get_ydata()).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["flagged"]
    assert plot_time_lines(pose.drop(columns="PoseFlags")).legends == []


def test_a_flagged_row_does_not_flatten_an_axis_and_its_cross_is_at_the_edge():
    pose = some_poses(50).assign(PoseFlags="")
    calm = plots_of(plot_time_lines(pose))["yaw"].get_ylim()
    assert plot_orientation(pose).axes[0].get_title() == "50 rows with a pose"
    pose.loc[10, "Yaw"] = 3.0
    assert plots_of(plot_time_lines(pose))["yaw"].get_ylim()[1] > 170  # not flagged: it is shown
    pose.loc[10, "PoseFlags"] = "residual"
    figure = plot_time_lines(pose)
    assert plots_of(figure)["yaw"].get_ylim() == pytest.approx(calm, abs=1)
    assert marked(figure, "yaw")[10, 1] == plots_of(figure)["yaw"].get_ylim()[1]
    plot = plot_orientation(pose).axes[0]
    assert plot.get_title() == "50 rows with a pose, 1 outside"
    assert plot.get_xlim()[1] <= 60
    pose["PoseFlags"] = "residual"  # nothing else to go by
    assert plots_of(plot_time_lines(pose))["yaw"].get_ylim()[1] > 170


def test_time_is_in_seconds_where_the_rate_is_said():
    pose = some_poses(4)
    for table, expected in (
        (pose, [0, 0.1, 0.2, 0.3]),
        (pose.assign(frame=[0, 3, 6, 9]), [0, 0.3, 0.6, 0.9]),
        (pose.assign(frame=[1, 2, 3, 4], timestamp=[0, 0.1, 0.2, 0.3]), [0, 0.1, 0.2, 0.3]),
    ):
        figure = plot_time_lines(table, fps=10)
        np.testing.assert_allclose(curve(figure, "pitch")[0], expected, atol=1e-9)
        assert figure.axes[-1].get_xlabel() == "time (s)"
    assert shaded(plot_time_lines(pose.assign(frame=[0, 1, 2, 9]), fps=10)) == [(0.25, 0.85)]
    for fps in (0, -25, np.nan, np.inf):
        with pytest.raises(OptionError, match=f"such as 30, got {fps}"):
            plot_time_lines(pose, fps=fps)


def test_of_several_persons_each_gap_is_shaded_in_its_colour():
    first = some_poses(20).assign(frame=range(20), face_id=0)
    both = pd.concat([first, first[3:9].assign(face_id=1), first[12:15].assign(face_id=1)])
    plot = plots_of(plot_time_lines(both))["pitch"]
    tints = {
        tuple(spans.get_facecolor()[0][:3]): [path.get_extents() for path in spans.get_paths()]
        for spans in plot.collections
        if len(spans.get_paths())
    }
    second = plot.lines[-1].get_color()
    assert list(tints) == [to_rgb(second)]
    assert [(box.x0, box.x1) for box in tints[to_rgb(second)]] == [(8.5, 11.5)]


def test_tables_of_different_conventions_stand_in_one_plot():
    pose = some_poses(5)
    degrees = convert_pose(pose, "feat", "300w-lp")
    degrees.attrs = {}
    openface = convert_pose(pose, "feat", "openface")  # tells by its columns
    openface.attrs = {}
    tables = {"a": pose, "b": degrees, "c": openface, "d": convert_pose(pose, "feat", "matrix")}
    figure = plot_time_lines(tables, convention={"b": "300w-lp"})
    expected = np.rad2deg(pose["Pitch"])
    for plot in figure.axes[: len(tables)]:
        np.testing.assert_allclose(plot.lines[-1].get_ydata(), expected, atol=1e-6)


def test_each_identity_has_a_line_and_unknown_faces_are_dots():
    first, second = some_poses(10), some_poses(10, seed=1)
    both = pd.concat(
        [p.assign(frame=range(10), Identity=f"Person_{i}") for i, p in enumerate([first, second])]
    ).sort_values("frame", kind="stable")
    figure = plot_time_lines(both)
    lines = plots_of(figure)["pitch"].lines[-2:]
    for line, pose in zip(lines, (first, second), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.rad2deg(pose["Pitch"]))
    assert lines[0].get_color() != lines[1].get_color()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Person_0", "Person_1"]
    dots = plots_of(plot_time_lines(both.drop(columns="Identity")))["pitch"].lines[-1]
    assert dots.get_linestyle() == "None"
    assert len(dots.get_xdata()) == 20


def test_place_is_drawn_where_it_is_known(feat_folder):
    table = pd.read_csv(feat_folder / "tests" / "data" / "002.csv")
    assert list(plots_of(plot_time_lines(estimate_pose(table)))) == ANGLES
    pose = estimate_pose(table, frame_size=(720, 1280))
    figure = plot_time_lines(pose)
    assert list(plots_of(figure)) == [*ANGLES, "X", "Y", "Z"]
    assert "+ away from the camera" in plots_of(figure)["Z"].get_ylabel()
    lp = plot_time_lines(convert_pose(pose, "feat", "300w-lp"))
    for axis in "XYZ":
        np.testing.assert_allclose(curve(figure, axis)[1], pose[axis], rtol=1e-6)
        np.testing.assert_allclose(curve(lp, axis)[1], pose[axis], rtol=1e-5)
    mm = estimate_pose(table, frame_size=(720, 1280), inter_ocular_mm=90)
    figure = plot_time_lines(mm)
    assert "(mm)" in plots_of(figure)["Z"].get_ylabel()
    np.testing.assert_allclose(curve(figure, "Z")[1], mm["Z"], rtol=1e-6)
    with pytest.raises(ConventionError, match="different units, face units and mm"):
        plot_time_lines({"a": pose, "b": mm})


def test_a_long_line_keeps_its_extremes():
    pose = pd.DataFrame(0.0, index=range(100_000), columns=["Pitch", "Roll", "Yaw"])
    pose.loc[77_777, "Yaw"] = 1.0
    pose.loc[33_333, "Yaw"] = -0.5
    pose.loc[50_000:60_000] = np.nan
    pose.loc[[77_776, 33_334]] = np.nan  # in the bins of the extremes
    time, yaw = curve(plot_time_lines(pose), "yaw")
    assert len(yaw) < 10_000
    assert np.nanmax(yaw) == pytest.approx(np.rad2deg(1.0))
    assert np.nanmin(yaw) == pytest.approx(np.rad2deg(-0.5))
    assert time[np.nanargmax(yaw)] == pytest.approx(77_777, abs=100)
    assert np.isnan(yaw[(time > 50_100) & (time < 59_900)]).all()


@pytest.mark.parametrize("rows", [0, 1, 5, 200_000])
def test_orientation_counts_rows_by_yaw_and_pitch(rows):
    rng = np.random.default_rng(0)
    degrees = rng.normal([12, 5, -20], [8, 3, 10], (rows, 3))
    pose = pd.DataFrame(np.deg2rad(degrees), columns=["Pitch", "Roll", "Yaw"])
    pose = pd.concat([pose, pose[:1] * np.nan])
    figure = plot_orientation(pose)
    axes = figure.axes[0]
    mesh = axes.collections[0]
    counts = np.ma.filled(mesh.get_array(), 0).reshape(60, 60)
    assert counts.sum() == rows
    assert axes.get_title() == f"{rows:,} {'row' if rows == 1 else 'rows'} with a pose"
    assert axes.get_aspect() == 1
    assert axes.get_xlim() == axes.get_ylim()
    assert "yaw (deg), + to the subject's right" in axes.get_xlabel()
    assert "pitch (deg), + up" in axes.get_ylabel()
    zero = [line.get_data() for line in axes.lines]
    assert len(zero) == 2
    if rows:
        limit = axes.get_xlim()[1]
        middles = (np.arange(60) + 0.5) * limit / 30 - limit
        cell = limit / 30
        assert (counts.sum(axis=0) @ middles) / rows == pytest.approx(
            degrees[:, 2].mean(), abs=cell / 2
        )
        assert (counts.sum(axis=1) @ middles) / rows == pytest.approx(
            degrees[:, 0].mean(), abs=cell / 2
        )
    figure.draw_without_rendering()


@pytest.mark.parametrize("draw", [plot_time_lines, plot_orientation])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows_make_a_picture(draw, rows, tmp_path):
    save_figure(draw(some_poses(rows)), tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 1000


def test_pyplot_is_not_imported():
    code = (
        "import sys, pandas\n"
        "from feat_pose_plugin.show.plots import *\n"
        "pose = pandas.DataFrame({'Pitch': [0.1], 'Roll': 0.0, 'Yaw': 0.2})\n"
        "for draw in (plot_time_lines, plot_orientation):\n"
        "    draw({'a': pose, 'b': pose}).draw_without_rendering()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_command_writes_pictures(tmp_path):
    for name in ("a", "b"):
        some_poses(20).to_csv(tmp_path / f"{name}.csv", index=False)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for suffix, start in starts.items():
        out = tmp_path / f"out{suffix}"
        tables = (tmp_path / "a.csv", tmp_path / "b.csv")
        for options in ((), ("--orientation", "--force")):
            result = feat_pose("plot", *tables, "-o", out, *options)
            assert result.exit_code == 0, result.output
            assert out.read_bytes().startswith(start)


def test_the_command_tells_tables_of_one_name_apart_and_takes_a_convention_each(tmp_path):
    paths = [tmp_path / name / "clip.csv" for name in ("monday", "tuesday")]
    pose = some_poses(20)
    for path, table in zip(paths, (pose, convert_pose(pose, "feat", "300w-lp")), strict=True):
        path.parent.mkdir()
        table.to_csv(path, index=False)
    out = tmp_path / "out.svg"
    options = ("--convention", "feat", "--convention", "300w-lp", "--fps", "25")
    result = feat_pose("plot", *paths, "-o", out, *options)
    assert result.exit_code == 0, result.output
    text = out.read_text()
    for said in (*paths, "time (s)"):
        assert f"<!-- {said} -->" in text
    refused(feat_pose("plot", *paths, paths[0], "-o", out, *options), 2, "2 times for 3 tables")


def test_the_command_refuses(tmp_path):
    table = tmp_path / "clip.csv"
    some_poses(20).to_csv(table, index=False)
    (tmp_path / "there.png").write_text("precious")
    (tmp_path / "broken.csv").write_text('a,b\n"1,2\n3')
    for arguments, message in (
        ((table, "-o", tmp_path / "there.png"), "exists. Pass --force"),
        ((table, "-o", tmp_path / "out.docx"), "must end in .png, .pdf, .svg"),
        ((tmp_path / "no.csv", "-o", tmp_path / "out.png"), "no.csv does not exist"),
        ((tmp_path / "there.png", "-o", tmp_path / "out.png"), "must end in .csv or .parquet"),
        ((tmp_path / "broken.csv", "-o", tmp_path / "out.png"), "cannot be read as CSV"),
    ):
        result = feat_pose("plot", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    assert (tmp_path / "there.png").read_text() == "precious"
    assert not (tmp_path / "out.png").exists()


def test_a_figure_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path):
    figure = plot_orientation(some_poses(3))
    with pytest.raises(PictureError, match=r"x\.gif.*must end in"):
        save_figure(figure, tmp_path / "x.gif")
    with pytest.raises(TableError, match="could not be written"):
        save_figure(figure, tmp_path / "no" / "x.png")
