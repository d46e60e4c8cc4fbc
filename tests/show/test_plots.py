"""Pictures of tables: in degrees, in any convention, with gaps and doubts to be seen."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from command import feat_pose, refused
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from feat_pose_plugin import convert_pose, estimate_pose
from feat_pose_plugin.errors import ConventionError, OptionError, PictureError, TableError
from feat_pose_plugin.show.plots import (
    plot_distributions,
    plot_orientation,
    plot_time_lines,
    save_figure,
)

COLUMNS = {"pitch": "Pitch", "yaw": "Yaw", "roll": "Roll"}


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


def spans(collection) -> list[tuple[float, float]]:
    """Begin and end of each shaded span."""
    return [(box.x0, box.x1) for box in (path.get_extents() for path in collection.get_paths())]


def shaded(figure: Figure) -> list[tuple[float, float]]:
    return spans(figure.axes[0].collections[0])


def crosses(figure: Figure, name: str) -> np.ndarray:
    """``[n, 2]`` where crosses are."""
    return np.asarray(plots_of(figure)[name].collections[-1].get_offsets())


def explained(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("convention", ["300w-lp", "openface", "img2pose", "feat-mp", "quaternion"])
def test_every_convention_draws_the_same_angles(convention):
    pose = some_poses(30)
    other = convert_pose(pose, "feat", convention)
    untagged = pd.DataFrame(other.to_numpy(), columns=other.columns)
    for table, said in ((other, None), (untagged, convention)):
        figure = plot_time_lines(table, convention=said)
        for name, column in COLUMNS.items():
            expected = np.rad2deg(pose[column])
            np.testing.assert_allclose(curve(figure, name)[1], expected, atol=1e-6)
    labels = {name: plot.get_ylabel() for name, plot in plots_of(figure).items()}
    assert labels["pitch"] == "pitch (deg)\n+ up"
    assert labels["yaw"].endswith(labels["roll"].removeprefix("roll "))
    assert labels["yaw"] == "yaw (deg)\n+ to the subject's right"


def test_a_fex_straight_from_a_detector_is_in_feat():
    from feat import Fex

    pose = some_poses(20).assign(X=0.0, Y=0.0, Z=9.0, frame=range(20), Identity="Person_0")
    fex = Fex(pose, facepose_columns=["Pitch", "Roll", "Yaw", "X", "Y", "Z"], detector="Feat")
    np.testing.assert_allclose(curve(plot_time_lines(fex), "yaw")[1], np.rad2deg(pose["Yaw"]))
    assert "20 rows" in plot_orientation(fex).axes[0].get_title()


def test_what_is_no_pose_is_refused(feat_folder):
    old = pd.read_csv(feat_folder / "tests" / "data" / "001.csv")  # of py-feat 0.x, in degrees
    for draw in (plot_time_lines, plot_orientation, plot_distributions):
        with pytest.raises(ConventionError, match=r"angles up to 14\.65.*Are they degrees\?"):
            draw(old)
        with pytest.raises(ConventionError, match=r"no pose in convention 'feat'.*--convention"):
            draw(pd.DataFrame({"x_0": [1.0]}))
    pitch = curve(plot_time_lines(old, convention="feat-0.6"), "pitch")[1]
    assert 1 < np.abs(pitch).max() < 20
    with pytest.raises(ConventionError, match="unknown convention 'x'"):
        plot_time_lines(some_poses(3), convention="x")
    with pytest.raises(OptionError, match="no table"):
        plot_orientation({})


def test_rows_without_a_pose_break_the_line_and_are_shaded():
    pose = some_poses(20)
    pose.iloc[5:9] = np.nan
    pose.iloc[18:] = np.nan
    figure = plot_time_lines(pose)
    for name in COLUMNS:
        assert np.flatnonzero(np.isnan(curve(figure, name)[1])).tolist() == [5, 6, 7, 8, 18, 19]
    assert shaded(figure) == [(4.5, 8.5), (17.5, 19.5)]
    assert explained(figure) == ["no pose"]
    assert shaded(plot_time_lines(some_poses(20))) == []
    alone = some_poses(9)
    alone.iloc[[3, 5]] = np.nan  # row 4 can be seen
    line = plots_of(plot_time_lines(alone))["yaw"].lines[-1]
    assert (line.get_marker(), line.get_markevery()) == (".", [4])


def test_frames_that_are_missing_are_a_gap_and_those_that_are_skipped_are_not():
    pose = some_poses(12)
    pose["frame"] = [*range(0, 30, 5), *range(35, 65, 5)]  # every fifth, one is missing
    figure = plot_time_lines(pose.sample(frac=1, random_state=0))
    time, pitch = curve(figure, "pitch")
    assert np.flatnonzero(np.isnan(pitch)).tolist() == [6]
    np.testing.assert_allclose(np.delete(pitch, 6), np.rad2deg(pose["Pitch"]))
    np.testing.assert_allclose(np.delete(time, 6), pose["frame"])
    assert shaded(figure) == [(27.5, 32.5)]
    assert figure.axes[-1].get_xlabel() == "frame"


def test_flagged_rows_are_faded_and_marked():
    pose = some_poses(10)
    pose["PoseFlags"] = ["", None, "residual", "", np.nan, "yaw;eyes", "", "", "", ""]
    figure = plot_time_lines(pose)
    for name, column in COLUMNS.items():
        plot, there = plots_of(figure)[name], crosses(figure, name)
        there = there[np.isfinite(there).all(axis=1)]
        assert there[:, 0].tolist() == [2, 5]
        expected = np.rad2deg(pose[column][[2, 5]]).clip(*plot.get_ylim())
        np.testing.assert_allclose(there[:, 1], expected)
        faded, plain = plot.lines[-2:]
        assert faded.get_alpha() < plain.get_alpha() == 1
        assert np.flatnonzero(np.isnan(plain.get_ydata())).tolist() == [2, 5]
        assert np.isfinite(faded.get_ydata()).all()
    assert explained(figure) == ["flagged"]
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
    assert crosses(figure, "yaw")[10, 1] == plots_of(figure)["yaw"].get_ylim()[1]
    plot = plot_orientation(pose).axes[0]
    assert plot.get_title() == "50 rows with a pose, 1 outside"
    assert plot.get_xlim()[1] <= 60
    assert plot_distributions(pose).axes[0].get_xlim()[1] < 100
    pose["PoseFlags"] = "residual"  # nothing else to go by
    assert plots_of(plot_time_lines(pose))["yaw"].get_ylim()[1] > 170


def test_a_head_that_keeps_still_looks_still():
    still = pd.DataFrame(0.35, index=range(5), columns=["Pitch", "Roll", "Yaw"])
    middle = np.rad2deg(0.35)
    limits = plots_of(plot_time_lines(still))["pitch"].get_ylim()
    assert limits == pytest.approx((middle - 5, middle + 5))


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


def test_each_identity_has_a_line_its_gaps_its_colour_and_unknown_faces_are_dots():
    first, second = some_poses(20), some_poses(20, seed=1)
    both = pd.concat(
        [pose.assign(frame=range(20), Identity=f"P{i}") for i, pose in enumerate([first, second])]
    ).sort_values("frame", kind="stable")
    figure = plot_time_lines(both)
    lines = plots_of(figure)["pitch"].lines[-2:]
    for line, pose in zip(lines, (first, second), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.rad2deg(pose["Pitch"]))
    colours = [line.get_color() for line in lines]
    assert colours[0] != colours[1]
    assert explained(figure) == ["P0", "P1"]
    gap = ((both["Identity"] == "P1") & both["frame"].between(9, 11)).to_numpy()
    plot = plots_of(plot_time_lines(both[~gap]))["pitch"]
    (tint,) = [each for each in plot.collections if spans(each)]
    assert tuple(tint.get_facecolor()[0][:3]) == to_rgb(colours[1])
    assert spans(tint) == [(8.5, 11.5)]
    dots = plots_of(plot_time_lines(both.drop(columns="Identity")))["pitch"].lines[-1]
    assert (dots.get_linestyle(), len(dots.get_xdata())) == ("None", 40)


def test_tables_of_different_conventions_stand_in_one_plot():
    pose = some_poses(5)
    degrees = convert_pose(pose, "feat", "300w-lp")
    degrees.attrs = {}
    openface = convert_pose(pose, "feat", "openface")  # tells by its columns
    openface.attrs = {}
    tables = {"a": pose, "b": degrees, "c": openface, "d": convert_pose(pose, "feat", "matrix")}
    figure = plot_time_lines(tables, convention={"b": "300w-lp"})
    expected = np.rad2deg(pose["Pitch"])
    for plot, title in zip(figure.axes, tables, strict=False):
        assert plot.get_title() == title
        np.testing.assert_allclose(plot.lines[-1].get_ydata(), expected, atol=1e-6)


def test_place_is_drawn_where_it_is_known(feat_folder):
    table = pd.read_csv(feat_folder / "tests" / "data" / "002.csv")
    assert list(plots_of(plot_time_lines(estimate_pose(table)))) == [*COLUMNS]
    pose = estimate_pose(table, frame_size=(720, 1280))
    mm = estimate_pose(table, frame_size=(720, 1280), inter_ocular_mm=90)
    lp = convert_pose(pose, "feat", "300w-lp")
    for drawn, known, unit in (
        (pose, pose, "face units"),
        (lp, pose, "face units"),
        (mm, mm, "mm"),
    ):
        figure = plot_time_lines(drawn)
        assert list(plots_of(figure)) == [*COLUMNS, "X", "Y", "Z"]
        assert plots_of(figure)["Z"].get_ylabel() == f"Z ({unit})\n+ away from the camera"
        for axis in "XYZ":
            np.testing.assert_allclose(curve(figure, axis)[1], known[axis], rtol=1e-5)
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
def test_rows_are_counted_by_their_angles(rows):
    degrees = np.random.default_rng(0).normal([12, 5, -20], [8, 3, 10], (rows, 3))
    pose = pd.DataFrame(np.deg2rad(degrees), columns=["Pitch", "Roll", "Yaw"])
    pose = pd.concat([pose, pose[:1] * np.nan])
    figure = plot_orientation(pose)
    axes = figure.axes[0]
    counts = np.ma.filled(axes.collections[0].get_array(), 0).reshape(60, 60)
    assert counts.sum() == rows
    assert axes.get_title() == f"{rows:,} {'row' if rows == 1 else 'rows'} with a pose"
    assert axes.get_aspect() == 1
    assert axes.get_xlim() == axes.get_ylim()
    assert "yaw (deg), + to the subject's right" in axes.get_xlabel()
    assert "pitch (deg), + up" in axes.get_ylabel()
    assert len(axes.lines) == 2  # the zeros
    limit = axes.get_xlim()[1]
    cell = limit / 30
    middles = (np.arange(60) + 0.5) * cell - limit
    figure.draw_without_rendering()
    spread = plot_distributions(pose)
    if rows:
        for axis, column in ((0, 2), (1, 0)):
            mean = counts.sum(axis=axis) @ middles / rows
            assert mean == pytest.approx(degrees[:, column].mean(), abs=cell / 2)
        for plot, column in zip(spread.axes, (0, 2, 1), strict=True):
            assert sum(bar.get_height() for bar in plot.patches) == rows
            median = plot.lines[-1].get_xdata()[0]
            assert median == pytest.approx(np.median(degrees[:, column]), abs=1e-6)
    plot_time_lines(pose[:6]).draw_without_rendering()


@pytest.mark.parametrize("tables", [1, 5])
def test_no_label_is_cut_off_or_lies_on_another(tables):
    figure = plot_time_lines({f"clip {number}": some_poses(30) for number in range(tables)})
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent()
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label)
        if text.get_text()
    ]
    assert len(boxes) == 2 * tables + 3
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


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


def test_the_command_draws_in_every_format(tmp_path):
    some_poses(20).to_csv(tmp_path / "a.csv", index=False)
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        out = tmp_path / f"out{suffix}"
        result = feat_pose("plot", tmp_path / "a.csv", "-o", out)
        assert result.exit_code == 0, result.output
        assert out.read_bytes().startswith(start)
    result = feat_pose("plot", tmp_path / "a.csv", "-o", out, "--orientation", "--force")
    assert result.stdout == f"wrote {out}\n"
    assert "<!-- a.csv: 20 rows with a pose -->" in out.read_text()


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
    for said in (*paths, "time (s)"):
        assert f"<!-- {said} -->" in out.read_text()
    refused(feat_pose("plot", *paths, paths[0], "-o", out, *options), 2, "2 times for 3 tables")


def test_what_cannot_be_read_or_written_is_refused(tmp_path):
    some_poses(20).to_csv(tmp_path / "clip.csv", index=False)
    (tmp_path / "there.png").write_text("precious")
    (tmp_path / "broken.csv").write_text('a,b\n"1,2\n3')
    for table, out, message in (
        ("clip.csv", "there.png", "exists. Pass --force"),
        ("clip.csv", "out.docx", "must end in .png, .pdf, .svg"),
        ("no.csv", "out.png", "no.csv does not exist"),
        ("there.png", "out.png", "must end in .csv or .parquet"),
        ("broken.csv", "out.png", "cannot be read as CSV"),
    ):
        refused(feat_pose("plot", tmp_path / table, "-o", tmp_path / out), 2, message)
    assert (tmp_path / "there.png").read_text() == "precious"
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(PictureError, match=r"x\.gif.*must end in"):
        save_figure(Figure(), tmp_path / "x.gif")
    with pytest.raises(TableError, match="could not be written"):
        save_figure(Figure(), tmp_path / "no" / "x.png")
