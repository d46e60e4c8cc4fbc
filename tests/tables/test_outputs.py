"""Which table becomes which file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import TableError
from feat_pose_plugin.tables.outputs import plan_outputs, refuse_existing

TABLES = {path.name: path for path in find_demo_tables()}


def test_each_input_gets_its_output(tmp_path: Path) -> None:
    sources = [TABLES["001.csv"], TABLES["002.csv"]]
    assert plan_outputs(sources, tmp_path) == [
        (sources[0], tmp_path / "001.csv"),
        (sources[1], tmp_path / "002.csv"),
    ]
    assert plan_outputs(sources[:1], tmp_path / "o.parquet") == [
        (sources[0], tmp_path / "o.parquet")
    ]


def test_a_folder_is_the_tables_in_it(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    output.mkdir()
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.parquet", "a.CSV", "a.txt", ".a.0123456789abcdef.csv", "deeper/c.csv"):
        (folder / name).touch()
    names = [target.name for _, target in plan_outputs([folder, TABLES["001.csv"]], output)]
    assert names == ["a.CSV", "b.parquet", "001.csv"]


def test_what_cannot_be_read_or_written_is_refused(tmp_path: Path) -> None:
    good = TABLES["001.csv"]
    (tmp_path / "001.csv").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "001.csv").write_bytes(good.read_bytes())
    image = good.with_name("single_face.jpg")
    for sources, output, message in [
        ([tmp_path / "no.csv"], tmp_path / "o.csv", "no.csv does not exist"),
        ([tmp_path / "001.csv"], tmp_path / "a", "001.csv holds no .csv or .parquet"),
        ([tmp_path / "a"], tmp_path / "o.csv", "o.csv is none"),
        ([image], tmp_path / "o.csv", "single_face.jpg must end in"),
        ([good], tmp_path / "o.txt", "o.txt must end in"),
        ([good], tmp_path / "no" / "o.csv", "folder of the output .* does not exist"),
        ([good, TABLES["002.csv"]], tmp_path / "o.csv", "several tables need an existing folder"),
        ([good, tmp_path / "a" / "001.csv"], tmp_path / "a", "would both become"),
        ([good], tmp_path, "exists and is no file"),
    ]:
        with pytest.raises(TableError, match=message):
            plan_outputs(sources, output)


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    good, taken = TABLES["001.csv"], tmp_path / "taken.csv"
    refuse_existing([(good, taken)])
    taken.write_text("precious")
    with pytest.raises(TableError, match=r"taken.csv exists.*--force"):
        refuse_existing([(good, tmp_path / "new.csv"), (good, taken)])
    with pytest.raises(TableError, match="is the input itself"):
        refuse_existing([(taken, taken)])
