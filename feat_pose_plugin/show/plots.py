"""Pictures of pose. Each function returns a matplotlib figure and touches no global state.

A table is anything with pose columns: what :func:`~feat_pose_plugin.estimate_pose` returns, a
table read from a file, a Fex straight from a detector. Its convention is what its tag says
(:mod:`feat_pose_plugin.pose.tag`); where it has none, what the caller says; and where the caller
says nothing, ``feat``, which is what this package and every detector of py-feat 2 write. All is
drawn in ``feat``, in degrees; other conventions are converted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from feat_pose_plugin.errors import ConventionError, OptionError, PictureError
from feat_pose_plugin.files import write_whole, writing
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import TranslationUnit, find_convention
from feat_pose_plugin.pose.convert import convert_pose, find_pose_columns, pose_numbers
from feat_pose_plugin.pose.quality import FLAGS_COLUMN, QUALITY_COLUMNS, is_flagged
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.tables.frames import frame_numbers, usual_step
from feat_pose_plugin.tables.pose_tables import POSE_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FIGURE_FORMATS = (".png", ".pdf", ".svg")

DRAWN_COLUMNS = {*POSE_COLUMNS, *QUALITY_COLUMNS, "frame", "input", "Identity"}
"""All that is drawn or said of a table with pose columns."""

ANGLE_LABELS = {
    "Pitch": "pitch (deg)\n+ up",
    "Yaw": "yaw (deg)\n+ to the subject's right",
    "Roll": "roll (deg)\n+ to the subject's right",
}
_PLACE_LABELS = {
    "X": "X ({unit})\n+ right in the picture",
    "Y": "Y ({unit})\n+ down",
    "Z": "Z ({unit})\n+ away from the camera",
}
_UNITS: Mapping[TranslationUnit, str] = {
    "img2pose": "face units",
    "mm": "mm",
    "cm": "cm",
    "px": "px",
}

_GAP_COLOUR = "0.88"
_FLAG_COLOUR = "red"
_BINS = 4000  # more points than a page can show are drawn by their extremes
_MOST_NAMES = 10
_LIMIT_STEP_DEG = 30
_CELLS = 60


def plot_time_lines(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame], *, convention: str | None = None
) -> Figure:
    """Pitch, yaw and roll over time, and X, Y, Z where a table has them.

    Time is the column ``frame``, or the number of the row where there is none. A line joins the
    rows of one face: those that have the same ``Identity``, or all where there is no such column.
    If two of them are in the same frame, nothing says which belongs to which, and all are dots.
    Where no face has a pose, or frames are missing, lines are broken and the span is shaded. Rows
    with ``PoseFlags`` are marked.

    Args:
        tables: A table, or tables by title; a row per face and frame.
        convention: What untagged pose columns are in; ``feat`` if None.

    Returns:
        A figure with a column of plots for each table, angles in degrees. X, Y, Z are in img2pose's
        axes (right, down, away from the camera), in the table's unit; a face unit is that of the
        reference face, with outer eye corners 0.86 apart. A line of more than 8000 rows is drawn by
        its extremes.

    Raises:
        ConventionError: See :func:`in_feat`; or X, Y, Z of the tables are in different units.
        OptionError: There is no table.
    """
    titled = _by_title(tables)
    poses = {
        title: in_feat(table, convention, title or "the table") for title, table in titled.items()
    }
    labels = {**ANGLE_LABELS, **_place_labels(poses)}
    size = (max(9.0, 1.5 + 3.5 * len(poses)), 2.5 * len(labels))
    figure = Figure(figsize=size, layout="constrained")
    plots = figure.subplots(len(labels), len(poses), sharex="col", sharey="row", squeeze=False)
    legend: dict[str, Artist] = {}
    for column, (title, pose) in zip(plots.T, poses.items(), strict=True):
        column[0].set_title(title, parse_math=False)  # a $ in a name is a $
        legend |= _draw_time_lines(dict(zip(labels, column, strict=True)), titled[title], pose)
    for plot, label in zip(plots[:, 0], labels.values(), strict=True):
        plot.set_ylabel(label)
    if legend:
        explained = figure.legend(
            legend.values(), legend.keys(), loc="outside lower center", ncols=6, frameon=False
        )
        for text in explained.get_texts():
            text.set_parse_math(False)
    figure.align_ylabels()
    return figure


def plot_orientation(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame], *, convention: str | None = None
) -> Figure:
    """Where heads point: how many rows there are at each yaw and pitch.

    Args:
        tables: A table, or tables by title; any number of rows.
        convention: What untagged pose columns are in; ``feat`` if None.

    Returns:
        A figure with a plot for each table: rows in cells of 1 degree, white where there are none.
        All plots have the same limits: +-30 degrees, or a multiple with cells as much larger.

    Raises:
        ConventionError: See :func:`in_feat`.
        OptionError: There is no table.
    """
    angles = {
        title: np.rad2deg(
            in_feat(table, convention, title or "the table")[["Yaw", "Pitch"]].dropna().to_numpy()
        )
        for title, table in _by_title(tables).items()
    }
    most = max((np.abs(deg).max(initial=0.0) for deg in angles.values()), default=0.0)
    limit = max(math.ceil(most / _LIMIT_STEP_DEG), 1) * _LIMIT_STEP_DEG
    edges = np.linspace(-limit, limit, _CELLS + 1)
    cell = 2 * limit // _CELLS
    # Dark for many, light for few, none of it near white, which is for none.
    colours = ListedColormap(mpl.colormaps["viridis_r"](np.linspace(0.1, 1, 256)))
    figure = Figure(figsize=(1 + 5 * len(angles), 5), layout="constrained")
    plots = figure.subplots(1, len(angles), sharex=True, sharey=True, squeeze=False)[0]
    for plot, (title, deg) in zip(plots, angles.items(), strict=True):
        count, _, _ = np.histogram2d(deg[:, 0], deg[:, 1], bins=(edges, edges))
        cells = plot.pcolormesh(
            edges,
            edges,
            np.ma.masked_equal(count.T, 0),
            cmap=colours,
            vmin=0,
            vmax=max(count.max(), 1),
            rasterized=True,
            zorder=2,
        )
        plot.axhline(0, color="0.6", linewidth=1)
        plot.axvline(0, color="0.6", linewidth=1)
        rows = f"{len(deg):,} {'row' if len(deg) == 1 else 'rows'} with a pose"
        plot.set_title(f"{title}: {rows}" if title else rows, parse_math=False)
        plot.set(
            xlabel=ANGLE_LABELS["Yaw"].replace("\n", ", "),
            aspect="equal",
            xlim=(-limit, limit),
            ylim=(-limit, limit),
        )
        whole = MaxNLocator(integer=True)
        figure.colorbar(
            cells, ax=plot, label=f"rows in {cell} x {cell} deg", ticks=whole, shrink=0.85
        )
    plots[0].set_ylabel(ANGLE_LABELS["Pitch"].replace("\n", ", "))
    return figure


def plot_distributions(table: pd.DataFrame, *, convention: str | None = None) -> Figure:
    """How often each angle is what: histograms of pitch, yaw and roll.

    Args:
        table: Any number of rows.
        convention: What untagged pose columns are in; ``feat`` if None.

    Returns:
        A figure with a plot for each angle, in degrees; all have the same axes. The median is
        marked.

    Raises:
        ConventionError: See :func:`in_feat`.
    """
    degrees = np.rad2deg(in_feat(table, convention)[[*ANGLE_LABELS]].dropna().to_numpy())
    most = np.abs(degrees).max(initial=_LIMIT_STEP_DEG)
    edges = np.linspace(-most, most, _CELLS + 1)
    figure = Figure(figsize=(9, 3), layout="constrained")
    plots = figure.subplots(1, len(ANGLE_LABELS), sharex=True, sharey=True)
    for plot, label, values in zip(plots, ANGLE_LABELS.values(), degrees.T, strict=True):
        plot.hist(values, bins=edges, color="C0")
        plot.axvline(0, color="0.8", linewidth=1, zorder=0)
        if len(values):
            plot.axvline(np.median(values), color="black", linewidth=1, linestyle="--")
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


def in_feat(
    table: pd.DataFrame, convention: str | None = None, name: str = "the table"
) -> pd.DataFrame:
    """The pose columns of a table in convention ``feat``, as far as it has them.

    Args:
        table: With a rotation in any convention, and with X, Y, Z or without.
        convention: What the pose columns are in. Their tag if None, or else ``feat``.
        name: What to call the table in errors.

    Returns:
        ``Pitch, Roll, Yaw`` in radians and ``X, Y, Z`` in img2pose's axes and the table's own unit,
        NaN where it has none; float64, index and order of the table. Tagged.

    Raises:
        ConventionError: A convention is unknown or is not that of the tag, there is no pose in it,
            or its angles are radians and what the table has are not.
    """
    import pandas as pd

    tag = read_tag(table.attrs)
    here = find_convention(convention or (tag.convention if tag else "feat"))
    check_tag(tag, here.name, name)
    try:
        labels = find_pose_columns(table, here)
        names = [str(label).strip() for label in labels]
        plain = pd.DataFrame(pose_numbers(table, labels).numpy(), table.index, names)
        pose = convert_pose(plain, here.name, "feat")
    except ConventionError as error:
        raise ConventionError(
            f"{name} cannot be drawn: {error} If the pose is in another convention than "
            f"{here.name!r}, pass that, on the command line with --convention."
        ) from error
    place = {axis: here.table_names.get(axis, axis) for axis in "XYZ"}
    place = {axis: own if own in plain else axis for axis, own in place.items()}
    if here.has_angles and not here.degrees:
        _require_radians(plain.drop(columns=[*place.values()], errors="ignore"), here.name, name)
    for sign, (axis, label) in zip(here.axes, place.items(), strict=True):
        pose[axis] = sign * plain[label] if label in plain else math.nan
    unit = (tag and tag.translation_unit) or here.translation_unit
    write_tag(pose, PoseTag("feat", tag.rotation_frame if tag else None, unit))
    return pose


def _require_radians(angles: pd.DataFrame, convention: str, name: str) -> None:
    """A few rows may be beyond pi, because a network can say anything."""
    largest = angles.abs().max(axis=1)
    if (largest > math.pi).mean() > 0.1:
        raise ConventionError(
            f"{name} has angles up to {largest.max():.4g}, and in convention {convention!r} they "
            "are radians. Are they degrees? Pass the convention that they are in, such as "
            "'300w-lp' or 'feat-0.6', on the command line with --convention."
        )


def _by_title(tables: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Mapping[str, pd.DataFrame]:
    titled = tables if isinstance(tables, Mapping) else {"": tables}
    if not titled:
        raise OptionError("there is no table to draw, got an empty mapping. Pass one or more.")
    return titled


def _place_labels(poses: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The labels of X, Y, Z; none if no table has them."""
    tags = [
        read_tag(pose.attrs)
        for pose in poses.values()
        if pose[[*_PLACE_LABELS]].notna().any(axis=None)
    ]
    units = {_UNITS[tag.translation_unit] for tag in tags if tag and tag.translation_unit}
    if len(units) > 1:
        raise ConventionError(
            f"X, Y, Z of the tables are in different units, {' and '.join(sorted(units))}, which "
            "one axis cannot show. Draw them separately."
        )
    return {
        axis: label.format(unit=unit) for unit in units for axis, label in _PLACE_LABELS.items()
    }


def _draw_time_lines(
    plots: Mapping[str, Axes], table: pd.DataFrame, pose: pd.DataFrame
) -> dict[str, Artist]:
    """Draw one table; returns what the legend has to explain."""
    legend: dict[str, Artist] = {}
    frames = frame_numbers(table)
    time = np.arange(len(table), dtype=np.float64) if frames is None else frames
    seen = np.unique(time[pose[[*ANGLE_LABELS]].notna().all(axis=1)])
    step = usual_step(time)
    gaps = _gaps(time, seen, step)
    faces = _faces(table)
    flagged = _flagged(table)
    if gaps:
        legend["no pose"] = Patch(color=_GAP_COLOUR)
    if flagged.any():
        legend["flagged"] = Line2D([], [], color=_FLAG_COLOUR, marker="x", linestyle="none")
    if len(faces) > 1:
        named = list(faces)[:_MOST_NAMES]
        legend |= {str(face): Line2D([], [], color=f"C{i % 10}") for i, face in enumerate(named)}
    for name, plot in plots.items():
        values = pose[name].to_numpy()
        if name in ANGLE_LABELS:
            values = np.rad2deg(values)
            plot.axhline(0, color="0.8", linewidth=1)
        plot.grid(color="0.93")
        plot.broken_barh(
            gaps, (0, 1), transform=plot.get_xaxis_transform(), color=_GAP_COLOUR, linewidth=0
        )
        for i, rows in enumerate(faces.values()):
            _draw_face(plot, time[rows], values[rows], step, f"C{i % 10}")
        if flagged.any():
            marked = _thin(time, np.where(flagged, values, np.nan))
            plot.scatter(*marked, color=_FLAG_COLOUR, marker="x", s=16, linewidths=1, zorder=3)
    plot.set_xlabel("row" if frames is None else "frame")
    plot.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plot.xaxis.set_major_formatter("{x:,.0f}")
    return legend


def _draw_face(
    plot: Axes,
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    step: float,
    colour: str,
) -> None:
    order = np.argsort(time, kind="stable")
    time, values = time[order], values[order]
    steps = np.diff(time)
    if (steps == 0).any():
        plot.plot(*_thin(time, values), ".", markersize=3, color=colour)
        return
    missing = np.flatnonzero(steps > 1.5 * step) + 1
    time, values = np.insert(time, missing, time[missing]), np.insert(values, missing, np.nan)
    time, values = _thin(time, values)
    there = np.pad(np.isfinite(values), 1)
    alone = there[1:-1] & ~there[:-2] & ~there[2:]  # no line leads to them
    marks = np.flatnonzero(alone).tolist()
    plot.plot(time, values, ".-", markersize=4, markevery=marks, linewidth=1.5, color=colour)


def _faces(table: pd.DataFrame) -> dict[object, NDArray[np.intp]]:
    """The rows of each identity; of all rows where there is none."""
    identity = find_column(table, "Identity")
    if identity is None or identity.nunique() < 2:
        return {"": np.arange(len(table))}
    names = identity.to_numpy()
    return {name: np.flatnonzero(names == name) for name in identity.dropna().unique()}


def _flagged(table: pd.DataFrame) -> NDArray[np.bool_]:
    flags = find_column(table, FLAGS_COLUMN)
    if flags is None:
        return np.zeros(len(table), dtype=bool)
    return is_flagged(flags)


def _gaps(
    time: NDArray[np.float64], seen: NDArray[np.float64], step: float
) -> list[tuple[float, float]]:
    """Begin and length of each span of time without a pose."""
    if not len(time):
        return []
    # As if there was a pose just before the first row and just after the last.
    known = np.concatenate([[time.min() - step], seen, [time.max() + step]])
    steps = np.diff(known)
    wide = np.flatnonzero(steps > 1.5 * step)
    return [(known[i] + step / 2, steps[i] - step) for i in wide]


def _thin(
    time: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each bin of rows, if there are too many to draw."""
    if len(values) <= 2 * _BINS:
        return time, values
    starts = np.linspace(0, len(values), _BINS, endpoint=False, dtype=int)
    low, high = (f.reduceat(values, starts) for f in (np.fmin, np.fmax))
    return np.repeat(time[starts], 2), np.stack([low, high], axis=1).ravel()
