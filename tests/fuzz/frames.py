"""Tables in memory: columns missing, doubled, reordered, of odd types and names."""

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

from feat_pose_plugin.errors import FeatPoseError
from feat_pose_plugin.landmarks import landmark_columns

NAMES = landmark_columns()
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
LABELS += [0, None, np.nan, ("x_0", "y_0"), True, b"x_0", "", "x_477", pd.Timestamp(0), 1.5]


def frames(data: bytes) -> None:
    choices = Choices(data)
    rows = choices.byte() % 5
    values = np.tile(FACE.numpy().T.reshape(1, 136), (rows, 1))
    table = pd.DataFrame(values, columns=NAMES)
    clean, exact = set(range(rows)), True
    with warnings.catch_warnings(action="ignore"):
        for _ in range(choices.byte() % 5):
            match choices.byte() % 8:
                case 0 | 1:
                    exact &= _set_dtype(table, choices)
                case 2 if rows:
                    row = choices.byte() % rows
                    name = NAMES[choices.byte() % 136]
                    if name in table and isinstance(table[name], pd.Series):
                        cells = [*table[name]]
                        cells[row] = choices.pick(CELLS)
                        table[name] = pd.Series(cells, table.index, dtype=object)
                        clean.discard(row)
                        exact = False  # it may be refused
                case 3:
                    place = choices.byte() % 136
                    label = choices.pick(LABELS)
                    cell = choices.pick(CELLS)
                    added = pd.Series([cell] * rows, table.index, dtype=object)
                    table.insert(place % (table.shape[1] + 1), label, added, allow_duplicates=True)
                    exact &= label in ("note", "Pitch")
                case 4:
                    place = choices.byte() % 136
                    table = table.iloc[:, np.arange(table.shape[1]) != place % table.shape[1]]
                    exact &= set(NAMES) <= set(table.columns)
                case 5:
                    order = np.random.default_rng(choices.byte()).permutation(table.shape[1])
                    table = table.iloc[:, order]
                case 6:
                    table.index = _index(choices, rows)
                case 7:
                    table.columns = _labels(table.columns, choices)
                    exact &= set(NAMES) <= {str(label).strip() for label in table.columns}
    try:
        pose = estimator()(table)
    except FeatPoseError:
        assert not exact, "a sound table is refused"
        return
    assert pose.index.equals(table.index)
    check_pose(pose, rows, sorted(clean) if exact else [], known_pose())


def _set_dtype(table: pd.DataFrame, choices: Choices) -> bool:
    dtype = choices.pick([*EXACT, *ODD])
    name = NAMES[choices.byte() % 136]
    if name not in table or not isinstance(table[name], pd.Series):
        return True
    try:
        table[name] = table[name].astype(dtype)
    except (TypeError, ValueError, ArithmeticError, NotImplementedError, pa.ArrowException):
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
