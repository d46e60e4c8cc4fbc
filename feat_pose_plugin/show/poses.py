"""Tables whose pose is drawn: read with what is known of them, and brought into one convention.

What a pose is in is said by its tag (:mod:`feat_pose_plugin.pose.tag`), by ``feat-pose.jsonl``
beside the file, or by the caller. Where nobody says it, a table under OpenFace's column names is in
``openface``, and every other one in ``feat``, which is what this package and all detectors of
py-feat 2 write. Whatever it is in, it is drawn in ``feat``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.columns import find_column
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.convert import (
    convention_of,
    convert_pose,
    find_pose_columns,
    pose_numbers,
)
from feat_pose_plugin.pose.quality import FLAGS_COLUMN, QUALITY_COLUMNS, is_flagged
from feat_pose_plugin.pose.tag import PoseTag, check_tag, read_tag, write_tag
from feat_pose_plugin.tables.frames import PERSON_COLUMNS
from feat_pose_plugin.tables.journal import Entry, Journal
from feat_pose_plugin.tables.pose_tables import POSE_COLUMNS
from feat_pose_plugin.tables.stream import Reads, read_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

DRAWN_COLUMNS = {
    *(*POSE_COLUMNS, *QUALITY_COLUMNS),
    *("frame", "timestamp", "input", *PERSON_COLUMNS),
}
"""All that is drawn or said of a table with pose columns."""


def read_posed(path: Path, reads: Reads = list) -> tuple[pd.DataFrame, Entry | None]:
    """A table, tagged if anything says what its pose is in, and its entry in ``feat-pose.jsonl``.

    The entry is that of the folder of the file, if it is about the file as it is.
    """
    table = read_table(path, reads)
    entry = Journal(path.absolute().parent).find(path.absolute())
    if entry is not None and read_tag(table) is None:
        made_by = entry.made_by
        unit = find_convention(made_by["convention"]).translation_unit
        if unit == "img2pose" and made_by["inter_ocular_mm"] is not None:
            unit = "mm"
        write_tag(table, PoseTag(made_by["convention"], made_by["rotation_frame"], unit))
    return table, entry


def in_feat(
    table: pd.DataFrame, convention: str | None = None, name: str = "the table"
) -> pd.DataFrame:
    """The pose columns of a table in convention ``feat``, as far as it has them, tagged.

    ``Pitch, Roll, Yaw`` are float64 radians; ``X, Y, Z`` are in the axes of the camera and the
    table's own unit, NaN where it has none.

    Args:
        table: With a rotation in any convention, and with X, Y, Z or without.
        convention: What the pose columns are in; see the module where it is None.
        name: What to call the table in errors.

    Raises:
        ConventionError: A convention is unknown or is not that of the tag, there is no pose in it,
            or its angles are radians and what the table has are not.
    """
    import pandas as pd

    tag = read_tag(table)
    here = convention_of(table, convention)
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
    for sign, axis in zip(here.axes, "XYZ", strict=True):
        own = here.table_names.get(axis, axis)
        place = plain.get(own, plain.get(axis))
        pose[axis] = math.nan if place is None else sign * place
    unit = (tag and tag.translation_unit) or here.translation_unit
    write_tag(pose, PoseTag("feat", tag.rotation_frame if tag else None, unit))
    return pose


def flagged_rows(table: pd.DataFrame) -> NDArray[np.bool_]:
    """``[n]``, which rows have a flag; none where there is no column ``PoseFlags``."""
    flags = find_column(table, FLAGS_COLUMN)
    return np.zeros(len(table), dtype=bool) if flags is None else is_flagged(flags)
