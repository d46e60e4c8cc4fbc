"""Which rows are about which person, and which frame is the first."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feat_pose_plugin.tables.frames import first_frame, persons


def test_persons_are_named_by_what_tells_them_apart() -> None:
    table = pd.DataFrame({"input": "v.mp4", "Identity": ["a", "b", "a", None]})
    found = {name: rows.tolist() for name, rows in persons(table).items()}
    assert found == {"a": [0, 2], "b": [1]}
    assert [*persons(table.assign(Identity="a"))] == [""]
    (alone,) = persons(table.assign(Identity=["a", None, "a", "a"])).items()
    assert (alone[0], len(alone[1])) == ("", 4)  # with the rows in which nobody was found
    table["input"] = ["v.mp4", "v.mp4", "w.mp4", "w.mp4"]
    assert [*persons(table)] == ["v.mp4, a", "v.mp4, b", "w.mp4, a"]


def test_a_table_with_a_frame_0_counts_from_0() -> None:
    """Times in whole seconds put frame 1 at time 0, on the line through all of them."""
    frames = np.arange(90)
    for table, first in (
        ({"frame": frames, "timestamp": frames // 3}, 0),
        ({"frame": frames + 1, "timestamp": frames / 3}, 1),
    ):
        assert first_frame(pd.DataFrame(table)) == first
