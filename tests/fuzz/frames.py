"""Tables in memory, of landmarks or of pose: columns missing, doubled, of odd types and names."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
from fuzz.choices import Choices
from fuzz.common import FACE, check_pose, estimator, known_pose

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose
from feat_pose_plugin.errors import FeatPoseError, PoseWarning
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.show.poses import in_feat
from feat_pose_plugin.tables.frames import frame_numbers

ROWS = {
    "landmarks": dict(zip(landmark_columns(), FACE.numpy().T.reshape(136), strict=True)),
    "pose": dict(zip(FEAT_FACEPOSE_COLUMNS_6D, [0.5, 0.25, -0.125, 1, 2, 3], strict=True)),
}
CELLS = [
    *(None, pd.NA, pd.NaT, np.nan, "", " 12 ", "NA", "nan", "12o", "1e400", "١٢", b"7", 10**400),
    *(True, 1 + 2j, [1.0], {}, (), np.array([1.0, 2.0]), object(), range(3), float, "\ud800"),
    *(decimal.Decimal("1.5"), decimal.Decimal("sNaN"), fractions.Fraction(1, 3), np.float16(2)),
    *(dt.date(2020, 1, 1), pd.Timestamp(0), pd.Timedelta(1), np.datetime64(1, "s"), -1e300),
]
EXACT = ["float64", "float32", "Float64", "object", "string", "category", "double[pyarrow]"]
ODD = ["bool", "boolean", "complex64", "M8[ns]", "m8[ns]", "Int64", "int8", "Sparse[float]", "S3"]
ODD += ["string[pyarrow]", "period[D]", "datetime64[ns, UTC]", "timestamp[s][pyarrow]", "float16"]
LABELS = ["x_0", " x_0", "y_67 ", "FrameHeight", "FrameWidth", "x_68", "mesh_x_0", "Pitch", "note"]
LABELS += ["frame", " Yaw", 0, None, np.nan, ("x_0", "y_0"), True, b"x_0", ""]
LABELS += ["x_477", pd.Timestamp(0), 1.5]


def frames(data: bytes) -> None:
    choices = Choices(data)
    rows = choices.byte() % 5
    kind = choices.pick([*ROWS])
    names = [*ROWS[kind]]
    table = pd.DataFrame([ROWS[kind]] * rows, columns=names, dtype=np.float64)
    clean, exact = set(range(rows)), True
    with warnings.catch_warnings(action="ignore"):
        for _ in range(choices.byte() % 5):
            match choices.byte() % 8:
                case 0 | 1:
                    exact &= _set_dtype(table, choices.pick(names), choices)
                case 2 if rows:
                    row = choices.byte() % rows
                    name = choices.pick(names)
                    if name in table and isinstance(table[name], pd.Series):
                        cells = [*table[name]]
                        cells[row] = choices.pick(CELLS)
                        table[name] = pd.Series(cells, table.index, dtype=object)
                        clean.discard(row)
                        exact = False  # it may be refused
                case 3:
                    place = choices.byte()
                    label = choices.pick(LABELS)
                    cell = choices.pick(CELLS)
                    added = pd.Series([cell] * rows, table.index, dtype=object)
                    table.insert(place % (table.shape[1] + 1), label, added, allow_duplicates=True)
                    exact &= label == "note" or (label == "Pitch" and kind == "landmarks")
                case 4:
                    place = choices.byte() % max(table.shape[1], 1)
                    table = table.iloc[:, np.arange(table.shape[1]) != place]
                    exact &= set(names) <= set(table.columns)
                case 5:
                    order = np.random.default_rng(choices.byte()).permutation(table.shape[1])
                    table = table.iloc[:, order]
                case 6:
                    table.index = _index(choices, rows)
                case 7:
                    table.columns = _labels(table.columns, choices)
                    exact &= set(names) <= {str(label).strip() for label in table.columns}
    expected = sorted(clean) if exact else []
    try:
        if kind == "landmarks":
            with warnings.catch_warnings(action="ignore", category=PoseWarning):
                pose = estimator()(table)
            check_pose(pose, rows, expected, known_pose())
        else:
            pose = in_feat(table, "img2pose")
            numbers = pose.to_numpy()[expected]
            assert (numbers == [-0.5, 0.125, 0.25, 1, 2, 3]).all(), "another pose"
            frame_numbers(table)
            convert_pose(table, "img2pose", "quaternion")
    except FeatPoseError:
        assert not exact, "a sound table is refused"
        return
    assert pose.index.equals(table.index)


def _set_dtype(table: pd.DataFrame, name: str, choices: Choices) -> bool:
    dtype = choices.pick([*EXACT, *ODD])
    if name not in table or not isinstance(table[name], pd.Series):
        return True
    if table[name].dtype != np.float64:  # Arrow itself crashes on objects of some types
        return True
    try:
        table[name] = table[name].astype(dtype)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, pa.ArrowException):
        table[name] = table[name].astype(object)
        return True
    return dtype in EXACT


def _index(choices: Choices, rows: int) -> pd.Index:
    options = [
        pd.Index([0] * rows),
        pd.Index(["a"] * rows, dtype=object),
        pd.Index([np.nan] * rows),
        pd.MultiIndex.from_arrays([[*range(rows)], ["b"] * rows]),
        pd.DatetimeIndex([0] * rows),
    ]
    return choices.pick(options)


def _labels(columns: pd.Index, choices: Choices) -> pd.Index:
    match choices.byte() % 3:
        case 0:
            return columns.map(lambda label: f" {label}\t")
        case 1:
            return pd.MultiIndex.from_arrays([columns, ["a"] * len(columns)])
    return pd.Index([*columns], dtype=object)
