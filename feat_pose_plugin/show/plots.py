"""Pictures of pose. Each function returns a matplotlib figure and touches no global state.

A table is anything with pose columns: what :func:`~feat_pose_plugin.estimate_pose` returns, a
table read from a file, a Fex straight from a detector. :mod:`feat_pose_plugin.show.poses` says
which convention it is taken to be in. All is drawn in ``feat``, in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from feat_pose_plugin.errors import ConventionError, OptionError, PictureError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.show.poses import flagged_rows, in_feat
from feat_pose_plugin.tables.frames import first_frame, frame_numbers, persons, usual_step

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FIGURE_FORMATS = (".png", ".pdf", ".svg")

ANGLE_LABELS = {
    "Pitch": "pitch (deg)\n+ up",
    "Yaw": "yaw (deg)\n+ to the subject's right",
    "Roll": "roll (deg)\n+ to the subject's right",
}
_ANGLES = [*ANGLE_LABELS]
_PLACE_LABELS = {
    "X": "X ({})\n+ right in the picture",
    "Y": "Y ({})\n+ down",
    "Z": "Z ({})\n+ away from the camera",
}

_GAP_COLOUR = "0.88"
_FLAG_COLOUR = "red"
_FADED = 0.35  # opacity
_BINS = 4000  # more points than a page can show are drawn by their extremes
_MOST_NAMES = 10
_LEAST_SPAN_DEG = 10  # of an axis, so that a head that keeps still looks still
_LIMIT_STEP_DEG = 30
_CELLS = 60

Tables = pd.DataFrame | Mapping[str, pd.DataFrame]
Conventions = str | Mapping[str, str | None] | None
"""What pose columns are in: the same for all tables, by title, or not said."""


def plot_time_lines(
    tables: Tables, *, convention: Conventions = None, fps: float | None = None
) -> Figure:
    """Pitch, yaw and roll over time, and X, Y, Z where a table has them.

    Time is the column ``frame``, or the number of the row if there is none. A line joins the rows
    of one person (:func:`~feat_pose_plugin.tables.frames.persons`). If a person has two rows in one
    frame, the rows are drawn as dots. Where no one has a pose, or frames are missing, lines are
    broken and the time is shaded; with several persons, each gap has the colour of its line. Rows
    with ``PoseFlags`` are faded and have a cross. If such a row lies outside the axes, its cross is
    at the edge.

    Args:
        tables: A table, or tables by title; a row per person and frame.
        convention: What the pose columns are in, if no tag says it; for all tables, or by title.
        fps: Frames per second. Time is then in seconds from the first frame of the video.

    Returns:
        A figure with a column of plots for each table, angles in degrees. X, Y, Z are in the axes
        of the camera (right, down, away from it), in the table's unit; a face unit is that of the
        reference face, with outer eye corners 0.86 apart. A line of more than 8000 rows is drawn by
        its extremes.

    Raises:
        ConventionError: See :func:`~feat_pose_plugin.show.poses.in_feat`; or X, Y, Z of the tables
            are in different units.
        OptionError: There is no table, or ``fps`` is no positive number.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise OptionError(f"fps must be frames per second, such as 30, got {fps!r}.")
    tracks = _tracks(tables, convention, fps)
    labels = ANGLE_LABELS | _place_labels(tracks)
    size = (max(9.0, 1.5 + 3.5 * len(tracks)), 2.5 * len(labels))
    figure = Figure(figsize=size, layout="constrained")
    plots = figure.subplots(len(labels), len(tracks), sharex="col", sharey="row", squeeze=False)
    legend: dict[str, Artist] = {}
    for row, (name, label) in zip(plots, labels.items(), strict=True):
        row[0].set_ylabel(label)
        low, high = _reach(tracks, [name])
        least = _LEAST_SPAN_DEG if name in ANGLE_LABELS else 0.0
        margin = max(0.05 * (high - low), (least - high + low) / 2) or 1.0
        row[0].set_ylim(low - margin, high + margin)
        for plot, track in zip(row, tracks, strict=True):
            legend |= _draw_track(plot, track, name)
    for column, track in zip(plots.T, tracks, strict=True):
        column[0].set_title(track.title, parse_math=False)  # a $ in a name is a $
        column[-1].set_xlabel(track.unit)
        if fps is None:
            column[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            column[-1].xaxis.set_major_formatter("{x:,.0f}")
    if legend:
        explained = figure.legend(
            legend.values(), legend.keys(), loc="outside lower center", ncols=6, frameon=False
        )
        for text in explained.get_texts():
            text.set_parse_math(False)
    figure.align_ylabels()
    return figure


def plot_orientation(tables: Tables, *, convention: Conventions = None) -> Figure:
    """Where heads point: how many rows there are at each yaw and pitch.

    Args:
        tables: A table, or tables by title; any number of rows.
        convention: See :func:`plot_time_lines`.

    Returns:
        A figure with a plot for each table: rows in cells of 1 degree, white where there are none.
        All plots have the same limits: +-30 degrees, or a multiple with cells as much larger. Rows
        with ``PoseFlags`` do not widen them; the title says how many rows lie outside.

    Raises:
        ConventionError: See :func:`~feat_pose_plugin.show.poses.in_feat`.
        OptionError: There is no table.
    """
    tracks = _tracks(tables, convention)
    reach = np.abs(_reach(tracks, ["Yaw", "Pitch"])).max()
    limit = max(math.ceil(reach / _LIMIT_STEP_DEG), 1) * _LIMIT_STEP_DEG
    edges = np.linspace(-limit, limit, _CELLS + 1)
    cell = 2 * limit // _CELLS
    # Dark for many, light for few, none of it near white, which is for none.
    colours = ListedColormap(mpl.colormaps["viridis_r"](np.linspace(0.1, 1, 256)))
    figure = Figure(figsize=(1 + 5 * len(tracks), 5), layout="constrained")
    plots = figure.subplots(1, len(tracks), sharex=True, sharey=True, squeeze=False)[0]
    for plot, track in zip(plots, tracks, strict=True):
        yaw, pitch = track.pose[["Yaw", "Pitch"]].dropna().to_numpy().T
        count, *_, cells = plot.hist2d(
            yaw, pitch, (edges, edges), cmin=1, cmap=colours, vmin=0, rasterized=True, zorder=2
        )
        cells.set_clim(0, np.nanmax(count, initial=1))
        plot.axhline(0, color="0.6", linewidth=1)
        plot.axvline(0, color="0.6", linewidth=1)
        outside = len(yaw) - int(np.nansum(count))
        rows = f"{len(yaw):,} {'row' if len(yaw) == 1 else 'rows'} with a pose"
        rows += f", {outside:,} outside" if outside else ""
        plot.set_title(f"{track.title}: {rows}" if track.title else rows, parse_math=False)
        plot.set(xlabel=ANGLE_LABELS["Yaw"].replace("\n", ", "), aspect="equal")
        plot.set(xlim=(-limit, limit), ylim=(-limit, limit))
        whole = MaxNLocator(integer=True)
        figure.colorbar(
            cells, ax=plot, label=f"rows in {cell} x {cell} deg", ticks=whole, shrink=0.85
        )
    plots[0].set_ylabel(ANGLE_LABELS["Pitch"].replace("\n", ", "))
    return figure


def plot_distributions(table: pd.DataFrame, *, convention: str | None = None) -> Figure:
    """Histograms of pitch, yaw and roll.

    Args:
        table: Any number of rows.
        convention: See :func:`plot_time_lines`.

    Returns:
        A figure with a plot for each angle, in degrees; all have the same axes. The median is
        marked. Rows with ``PoseFlags`` do not widen them, and may lie outside.

    Raises:
        ConventionError: See :func:`~feat_pose_plugin.show.poses.in_feat`.
    """
    tracks = _tracks(table, convention)
    most = max(*np.abs(_reach(tracks, _ANGLES)), _LIMIT_STEP_DEG)
    figure = Figure(figsize=(9, 3), layout="constrained")
    plots = figure.subplots(1, len(ANGLE_LABELS), sharex=True, sharey=True)
    for plot, (name, label) in zip(plots, ANGLE_LABELS.items(), strict=True):
        values = tracks[0].pose[name].dropna()
        plot.hist(values, bins=np.linspace(-most, most, _CELLS + 1), color="C0")
        plot.axvline(0, color="0.8", linewidth=1, zorder=0)
        if len(values):
            plot.axvline(values.median(), color="black", linewidth=1, linestyle="--")
        plot.set_xlabel(label)
        plot.yaxis.set_major_locator(MaxNLocator(integer=True))
        plot.yaxis.set_major_formatter("{x:,.0f}")
    plots[0].set_ylabel("rows")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file.

    Args:
        figure: What a function of this module returned.
        path: ``.png``, ``.pdf`` or ``.svg``. Replaced if it exists; appears whole or not at all.

    Raises:
        PictureError: The suffix is another.
        TableError: The file cannot be written.
    """
    if path.suffix.lower() not in FIGURE_FORMATS:
        raise PictureError(
            f"a figure cannot be written as {path}. Its name must end in "
            f"{', '.join(FIGURE_FORMATS)}."
        )
    with writing(path), write_whole(path) as part:
        figure.savefig(part, dpi=150)


class _Track(NamedTuple):
    """A table as it runs: ``[n]`` times, their unit and step, what is drawn, and whose it is."""

    title: str
    time: NDArray[np.float64]
    unit: str
    step: float
    pose: pd.DataFrame  # in feat, but in degrees; and which rows are flagged
    persons: Mapping[str, NDArray[np.intp]]


def _tracks(tables: Tables, convention: Conventions, fps: float | None = None) -> list[_Track]:
    titled = tables if isinstance(tables, Mapping) else {"": tables}
    if not titled:
        raise OptionError("there is no table to draw, got an empty mapping. Pass one or more.")
    said = convention if isinstance(convention, Mapping) else dict.fromkeys(titled, convention)
    tracks = []
    for title, table in titled.items():
        pose = in_feat(table, said.get(title), title or "the table")
        pose[_ANGLES] *= 180 / math.pi
        pose = pose.replace([math.inf, -math.inf], math.nan).assign(flagged=flagged_rows(table))
        time, unit, first = frame_numbers(table), "frame", first_frame(table)
        if time is None:
            time, unit, first = np.arange(len(table), dtype=np.float64), "row", 0
        if fps is not None:
            time, unit = (time - first) / fps, "time (s)"
        tracks.append(_Track(title, time, unit, usual_step(time), pose, persons(table)))
    return tracks


def _place_labels(tracks: list[_Track]) -> dict[str, str]:
    """The labels of X, Y, Z; none if no table has them."""
    placed = [t.pose for t in tracks if t.pose[[*_PLACE_LABELS]].notna().any(axis=None)]
    units = {tag.translation_unit for pose in placed if (tag := read_tag(pose))} - {None}
    names = sorted("face units" if unit == "img2pose" else str(unit) for unit in units)
    if len(names) > 1:
        raise ConventionError(
            f"X, Y, Z of the tables are in different units, {' and '.join(names)}, which one axis "
            "cannot show. Draw them separately."
        )
    return {axis: label.format(*names) for axis, label in _PLACE_LABELS.items() if names}


def _reach(tracks: list[_Track], names: list[str]) -> tuple[float, float]:
    """From the least to the most; if most rows are not flagged, of those that are not."""
    rows = pd.concat([track.pose[[*names, "flagged"]] for track in tracks]).dropna()
    if 2 * rows["flagged"].sum() <= len(rows):
        rows = rows[~rows["flagged"]]
    values = rows[names].to_numpy()
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _draw_track(plot: Axes, track: _Track, name: str) -> dict[str, Artist]:
    """Draw one column of a table; returns what the legend has to explain."""
    time, step, flagged = track.time, track.step, track.pose["flagged"].to_numpy()
    values = track.pose[name].to_numpy()
    legend: dict[str, Artist] = {}
    plot.grid(color="0.93")
    if name in ANGLE_LABELS:
        plot.axhline(0, color="0.8", linewidth=1)
    there = np.isfinite(time) & track.pose["Pitch"].notna().to_numpy()
    for i, (person, rows) in enumerate(track.persons.items()):
        colour = f"C{i % 10}"
        if len(track.persons) > 1:
            _shade(plot, time[rows[there[rows]]], step, colour, alpha=0.12)
            if i < _MOST_NAMES:
                legend[person] = Line2D([], [], color=colour)
        rows = rows[np.isfinite(time[rows])]
        rows = rows[np.argsort(time[rows], kind="stable")]
        if flagged[rows].any():
            _draw_line(plot, time[rows], values[rows], step, colour, alpha=_FADED)
        plain = np.where(flagged, np.nan, values)[rows]
        _draw_line(plot, time[rows], plain, step, colour)
    if np.isfinite(time).any():
        # As if there was a pose just before the first row and just after the last.
        ends = [np.nanmin(time) - step, np.nanmax(time) + step]
        if _shade(plot, np.append(time[there], ends), step, _GAP_COLOUR):
            legend["no pose"] = Patch(color=_GAP_COLOUR)
    if flagged.any():
        legend["flagged"] = Line2D([], [], color=_FLAG_COLOUR, marker="x", linestyle="none")
        marked = _thin(time, np.where(flagged, np.clip(values, *plot.get_ylim()), np.nan))
        crosses = plot.scatter(*marked, color=_FLAG_COLOUR, marker="x", s=12, linewidths=1)
        crosses.set(zorder=3, clip_on=False)
    return legend


def _shade(
    plot: Axes, seen: NDArray[np.float64], step: float, colour: str, alpha: float = 1.0
) -> bool:
    """Shade the spans between times at which there is a pose; returns whether there is any."""
    seen = np.unique(seen)
    steps = np.diff(seen)
    wide = np.flatnonzero(steps > 1.5 * step)
    spans = [(seen[i] + step / 2, steps[i] - step) for i in wide]
    height = plot.get_xaxis_transform()
    plot.broken_barh(spans, (0, 1), transform=height, color=colour, alpha=alpha, linewidth=0)
    return bool(spans)


def _draw_line(
    plot: Axes,
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    step: float,
    colour: str,
    alpha: float = 1.0,
) -> None:
    """Join values that are in order of time, but for those farther apart than a step."""
    steps = np.diff(time)
    if (steps == 0).any():
        plot.plot(*_thin(time, values), ".", markersize=3, color=colour, alpha=alpha)
        return
    missing = np.flatnonzero(steps > 1.5 * step) + 1
    time, values = np.insert(time, missing, time[missing]), np.insert(values, missing, np.nan)
    time, values = _thin(time, values)
    there = np.pad(np.isfinite(values), 1)
    alone = there[1:-1] & ~there[:-2] & ~there[2:]  # no line leads to them
    marks = np.flatnonzero(alone).tolist()
    plot.plot(time, values, ".-", color=colour, alpha=alpha, markersize=4, markevery=marks)


def _thin(
    time: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each bin of rows, if there are too many to draw."""
    if len(values) <= 2 * _BINS:
        return time, values
    starts = np.linspace(0, len(values), _BINS, endpoint=False, dtype=int)
    # fmin and fmax pass over NaN.
    low, high = (f.reduceat(values, starts) for f in (np.fmin, np.fmax))
    return np.repeat(time[starts], 2), np.stack([low, high], axis=1).ravel()
