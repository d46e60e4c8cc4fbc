"""Pose columns say which convention they are in: a tag in ``DataFrame.attrs`` and in Parquet.

pandas keeps ``attrs`` through copies, selections and Parquet files; a CSV has no place for them.
But it keeps them through ``np.rad2deg``, ``diff`` and all arithmetic as well. A seal therefore
holds a sample of the rotations that a tag was written for: the smallest hashes of its rows. A row
whose hash is as small must be among them. That is so for every selection and order of the rows,
and not for other numbers. ``pandas.concat`` drops tags whose seals differ, so what writes a table
part by part (files, detectors, clusters) writes tags without a seal.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import TranslationUnit, find_convention
from feat_pose_plugin.pose.reading import parse_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TAG = "feat_pose"
"""The key in ``attrs``."""
_UNITS = (None, *get_args(TranslationUnit))
_SAMPLE = 32  # hashes in a seal
_ENOUGH = 1024  # of the smallest hashes to find a sample among, unless most rows are alike
_PARQUET_ATTRS = b"PANDAS_ATTRS"  # where pandas >= 2.1 keeps attrs, as JSON


@dataclass(frozen=True)
class PoseTag:
    """What is known of the pose columns of a table.

    Attributes:
        convention: A name in :data:`~feat_pose_plugin.pose.conventions.CONVENTIONS`.
        rotation_frame: ``line_of_sight`` or ``camera``, see
            :func:`~feat_pose_plugin.estimate_pose`; None if not known.
        translation_unit: Of X, Y, Z; None for the convention's own.
        seal: The smallest hashes of the rotations it was written for, ascending; None if it was
            written for more than one table.
    """

    convention: str
    rotation_frame: str | None = None
    translation_unit: TranslationUnit | None = None
    seal: list[int] | None = None


def write_tag(
    table: pd.DataFrame, tag: PoseTag, rotation: NDArray[np.floating] | None = None
) -> None:
    """Put a tag on a table in place of the one that is there.

    It holds for the rotation columns ``[B, k]`` that are passed and for no others; for any without.
    """
    seal = None if rotation is None else _smallest(_hashes(rotation)).tolist()
    table.attrs[TAG] = vars(tag) | {"seal": seal}


def read_tag(table: pd.DataFrame) -> PoseTag | None:
    """The tag of a table; None if there is none, or if it was sealed for other numbers.

    Raises:
        ConventionError: It is none that this package writes.
    """
    if TAG not in table.attrs:
        return None
    found = table.attrs[TAG]
    known = {each.name for each in fields(PoseTag)}
    try:
        tag = PoseTag(**{key: value for key, value in found.items() if key in known})
        sound = isinstance(tag.convention, str) and tag.translation_unit in _UNITS
        seal = np.array(tag.seal or [], np.uint64)
    except (AttributeError, TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise ConventionError(
            f"the tag of the pose columns is damaged: {str(found)[:200]}. If you know their "
            f"convention, remove it, table.attrs.pop({TAG!r}), and say which it is."
        )
    rotation = None if tag.seal is None else _rotation_of(table, tag.convention)
    if rotation is not None:
        hashes = _hashes(rotation)
        if len(seal) >= _SAMPLE:
            hashes = hashes[hashes <= seal.max()]
        if not np.isin(hashes, seal).all():
            return None
    return tag


def _rotation_of(table: pd.DataFrame, convention: str) -> NDArray[np.float64] | None:
    """``[B, k]`` rotation columns; None where they are not found, or are text."""
    import pandas as pd

    here = find_convention(convention)
    places = {str(label).strip(): place for place, label in enumerate(table.columns)}
    names = here.rotation_columns
    if not places.keys() >= {*names}:
        names = [here.table_names.get(name, name) for name in names]
    if not places.keys() >= {*names}:
        return None
    plain = pd.DataFrame(table)  # without attrs, which selecting would copy
    try:
        return plain.iloc[:, [places[name] for name in names]].to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError):
        return None  # what reads the pose says so


def _hashes(rotation: NDArray[np.floating]) -> NDArray[np.uint64]:
    """A number for each rotation that is known."""
    with np.errstate(over="ignore"):
        values = rotation.astype(np.float32)
    bits = (values[np.isfinite(values).all(axis=1)] + 0.0).view(np.uint32).astype(np.uint64)
    mixed = np.zeros(len(bits), np.uint64)
    for column in bits.T:  # as splitmix64 mixes
        mixed = (mixed ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _smallest(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The smallest distinct ones, ascending, without a look at the order of all."""
    if len(hashes) > _ENOUGH:
        found = np.unique(np.partition(hashes, _ENOUGH)[:_ENOUGH])
        if len(found) >= _SAMPLE:
            return found[:_SAMPLE]
    return np.unique(hashes)[:_SAMPLE]


def check_tag(tag: PoseTag | None, convention: str, name: str) -> None:
    """Refuse the pose columns of a table, by its name, that say they are in another convention."""
    if tag is not None and find_convention(tag.convention) is not find_convention(convention):
        raise ConventionError(
            f"the pose columns of {name} are in convention {tag.convention!r}, as they say "
            f"themselves, not in {convention!r}. Say {tag.convention!r}, or convert them first: "
            f"convert_pose(table, {tag.convention!r}, {convention!r})."
        )


def parquet_attrs(metadata: Mapping[bytes, bytes] | None) -> dict[Hashable, Any]:
    """``DataFrame.attrs`` out of the metadata of a Parquet file; a ValueError if they are none."""
    try:
        attrs: dict[Any, Any] = parse_json((metadata or {}).get(_PARQUET_ATTRS, b"{}"))
    except ValueError as error:
        raise ValueError(f"{_PARQUET_ATTRS.decode()} in its metadata: {error}") from error
    return attrs


def parquet_metadata(attrs: Mapping[Hashable, Any]) -> dict[bytes, bytes]:
    """``DataFrame.attrs`` as metadata of a Parquet file, without a seal; empty if they are."""
    if isinstance(tag := attrs.get(TAG), dict):
        attrs = {**attrs, TAG: {**tag, "seal": None}}
    return {_PARQUET_ATTRS: json.dumps(attrs).encode()} if attrs else {}
