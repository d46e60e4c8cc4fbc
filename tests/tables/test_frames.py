"""Which rows are about which person."""

from __future__ import annotations

import pandas as pd

from feat_pose_plugin.tables.frames import persons


def test_persons_are_named_by_what_tells_them_apart() -> None:
    table = pd.DataFrame({"input": "v.mp4", "Identity": ["a", "b", "a", None]})
    found = {name: rows.tolist() for name, rows in persons(table).items()}
    assert found == {"a": [0, 2], "b": [1]}
    assert [*persons(table.assign(Identity="a"))] == [""]
    table["input"] = ["v.mp4", "v.mp4", "w.mp4", "w.mp4"]
    assert [*persons(table)] == ["v.mp4, a", "v.mp4, b", "w.mp4, a"]
