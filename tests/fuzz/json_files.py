"""JSON that we read beside tables and weights: journals, tags, reference faces."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from fuzz.choices import expand
from fuzz.common import scratch

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose
from feat_pose_plugin.errors import ConventionError, TableError, WeightsError
from feat_pose_plugin.pose.reference_face import read_reference_face
from feat_pose_plugin.pose.tag import parquet_attrs, parquet_metadata
from feat_pose_plugin.tables.journal import JOURNAL, Entry, Journal, sha256_of

HASH = b'"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"'  # of abc
WORDS = {
    0x80: b'{"output": ',
    0x81: b', "input": "a.csv", "input_sha256": ' + HASH + b', "output_sha256": ' + HASH,
    0x82: b', "rows": 1, "faces": 1, "made_by": {}',
    0x83: b'"../../victim"',
    0x84: b'"a.csv"',
    0x85: b"}\n",
    0x86: b"[" * 10_000,
    0x87: b'{"feat_pose": {"convention": "feat", "translation_unit": null}}',
    0x88: b'{"feat_pose": ',
    0x89: b'"convention": ',
    0x8A: b'"translation_unit": ',
    0x8B: b'"img2pose"',
    0x8C: b'{"sha256": ' + HASH + b', "points": ',
    0x8D: b"[" + b",".join([b"[0.5, 1, 2]"] * 68) + b"]",
    0x8E: b'"a":' + b"[" * 63 + b"]" * 63,
    0x8F: b'"\\ud800"',
    0x90: b"1e999",
    0x91: b"NaN",
    0x92: b"9" * 5000,
    0x93: b"{}",
    0x94: b'"rows": ',
}
POSE = pd.DataFrame([[0.1] * 6], columns=FEAT_FACEPOSE_COLUMNS_6D)


def json_file(data: bytes) -> None:
    content = expand(data[1:], WORDS)
    readers = [_journal, _tag, _reference_face]
    readers[data[0] % 3 if data else 0](content)


def _journal(content: bytes) -> None:
    folder = scratch() / "run"
    victim = scratch() / "victim"
    folder.mkdir(exist_ok=True)
    target, source = folder / "a.csv", scratch() / "a.csv"
    for path in (target, source, victim):
        path.write_bytes(b"abc")
    (folder / JOURNAL).write_bytes(content)
    try:
        journal = Journal(folder)
    except TableError:
        return
    found = journal.find_done(source, target, {})
    if found is not None:
        assert found.output_sha256 == found.input_sha256 == sha256_of(target)
        assert type(found.rows) is int
        assert journal.find(target) is not None
    journal.add(Entry("b.csv", "0", "b.csv", "0", 1, 1, {}))
    assert Journal(folder).find_done(source, target, {}) == found
    assert {path.name for path in folder.iterdir()} == {"a.csv", JOURNAL}
    assert victim.read_bytes() == b"abc"


def _tag(content: bytes) -> None:
    try:
        attrs = parquet_attrs({b"PANDAS_ATTRS": content})
    except ValueError:  # tables.py gives it the name of the file
        return
    table = POSE.copy()
    table.attrs = attrs
    try:
        converted = convert_pose(table, None, "img2pose")
    except ConventionError:
        return
    assert len(converted) == 1
    parquet_metadata(converted.attrs)


def _reference_face(content: bytes) -> None:
    path = Path(scratch() / "x.reference.json")
    path.write_bytes(content)
    try:
        read_reference_face(path)
    except WeightsError:
        return
    raise AssertionError("no such face was ever written")
