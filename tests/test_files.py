"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import threading

import pytest

from feat_pose_plugin.files import identity, place_part, remove_parts, write_part, write_whole


def test_file_appears_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "pose.csv"
    with write_whole(path) as part:
        part.write_text("whole")
        assert not path.exists()
        assert part.suffix == path.suffix
        assert part.parent == path.parent
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_error_in_the_block_leaves_all_as_it_was(error, before, tmp_path):
    path = tmp_path / "pose.csv"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), write_whole(path) as part:  # noqa: PT012
        part.write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])


def test_existing_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "pose.csv"
    path.write_text("old")
    with path.open() as reader, write_whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        reader_sees = reader.read()
    assert reader_sees == "old"
    assert path.read_text() == "new"


def test_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "nowhere" / "pose.csv"):
        raise AssertionError("the block must not run")


def test_permissions_are_those_of_any_new_file(tmp_path):
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.touch()
    with write_whole(whole):
        pass
    assert stat.S_IMODE(whole.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_many_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "pose.csv"
    start = threading.Barrier(8)

    def write(letter):
        start.wait()
        for _ in range(20):
            with write_whole(path) as part:
                part.write_text(letter * 10_000)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abcdefgh"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    text = path.read_text()
    assert text == text[0] * 10_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_stays_whole_beside_the_file_until_it_is_placed(tmp_path):
    path = tmp_path / "pose.csv"
    path.write_text("old")
    with write_part(path) as part:
        part.write_text("new")
    assert (part.read_text(), path.read_text()) == ("new", "old")
    place_part(part, path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "new"


def test_a_part_that_cannot_be_placed_is_removed(tmp_path):
    path = tmp_path / "pose.csv"
    path.mkdir()
    (path / "file").touch()
    with write_part(path) as part:
        pass
    with pytest.raises(OSError, match="directory"):
        place_part(part, path)
    assert [*tmp_path.iterdir()] == [path]


def test_parts_of_some_files_are_removed(tmp_path):
    kept = ["pose.csv", ".pose.csv", ".other.0123456789abcdef.csv", ".pose.0123.csv", "sub"]
    for name in kept:
        (tmp_path / name).touch()
    for name in ("pose.csv", "a.b.parquet", "plain"):
        with write_part(tmp_path / name):
            pass
    assert len([*tmp_path.iterdir()]) == len(kept) + 3
    remove_parts(tmp_path, {"pose.csv", "a.b.parquet", "plain", "sub"})
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_file_is_another_when_it_is_replaced_or_written_to_and_a_folder_is_not(tmp_path):
    path, other = tmp_path / "pose.csv", tmp_path / "other.csv"
    path.write_text("old")
    os.utime(path, ns=(0, 0))
    before, folder = identity(path), identity(tmp_path)
    assert identity(path) == before
    path.write_text("new")  # as long
    assert identity(path) != before
    other.write_text("new")
    shutil.copystat(path, other)
    written = identity(path)
    other.replace(path)
    assert identity(path) != written
    path.unlink()
    assert identity(path) is None
    assert identity(tmp_path) == folder
