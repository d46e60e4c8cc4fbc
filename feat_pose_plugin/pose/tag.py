"""Pose columns say which convention they are in: a tag in ``DataFrame.attrs`` and in Parquet.

pandas keeps ``attrs`` through copies and selections, and stores them in the metadata of a Parquet
file, from where it reads them back. A CSV has no place for a tag. Whoever changes the numbers by
hand changes the tag too: ``table.attrs.pop("feat_pose")`` removes it.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import TranslationUnit, find_convention
from feat_pose_plugin.pose.reading import parse_json

if TYPE_CHECKING:
    import pandas as pd

TAG = "feat_pose"
"""The key in ``attrs``."""
_UNITS = (None, *get_args(TranslationUnit))
_PARQUET_ATTRS = b"PANDAS_ATTRS"  # where pandas >= 2.1 keeps attrs, as JSON


@dataclass(frozen=True)
class PoseTag:
    """What is known of the pose columns of a table.

    Attributes:
        convention: A name in :data:`~feat_pose_plugin.pose.conventions.CONVENTIONS`.
        rotation_frame: ``line_of_sight`` or ``camera``, see
            :func:`~feat_pose_plugin.estimate_pose`; None if not known.
        translation_unit: Of X, Y, Z; None for the convention's own.
    """

    convention: str
    rotation_frame: str | None = None
    translation_unit: TranslationUnit | None = None


def write_tag(table: pd.DataFrame, tag: PoseTag) -> None:
    """Put a tag on a table, in place of the one that is there."""
    table.attrs[TAG] = asdict(tag)


def read_tag(attrs: Mapping[Hashable, Any]) -> PoseTag | None:
    """The tag in ``DataFrame.attrs``; None if there is none.

    Raises:
        ConventionError: It is none that this package writes.
    """
    if TAG not in attrs:
        return None
    found = attrs[TAG]
    known = {each.name for each in fields(PoseTag)}
    try:
        tag = PoseTag(**{key: value for key, value in found.items() if key in known})
        sound = isinstance(tag.convention, str) and tag.translation_unit in _UNITS
    except (AttributeError, TypeError):
        sound = False
    if not sound:
        raise ConventionError(
            f"the tag of the pose columns is damaged: {str(found)[:200]}. If you know their "
            f"convention, remove it, table.attrs.pop({TAG!r}), and say which it is."
        )
    return tag


def check_tag(tag: PoseTag | None, convention: str, name: str) -> None:
    """Refuse pose columns that say they are in another convention.

    Args:
        tag: Of the table, if it has one.
        convention: What the pose columns are taken for.
        name: What to call the table.

    Raises:
        ConventionError: The tag says something else, or one of the two is unknown.
    """
    if tag is not None and find_convention(tag.convention) is not find_convention(convention):
        raise ConventionError(
            f"the pose columns of {name} are in convention {tag.convention!r}, as they say "
            f"themselves, not in {convention!r}. Say {tag.convention!r}, or convert them first: "
            f"convert_pose(table, {tag.convention!r}, {convention!r})."
        )


def parquet_attrs(metadata: Mapping[bytes, bytes] | None) -> dict[Hashable, Any]:
    """``DataFrame.attrs`` out of the metadata of a Parquet file.

    Raises:
        ValueError: They are no JSON object.
    """
    try:
        attrs: dict[Any, Any] = parse_json((metadata or {}).get(_PARQUET_ATTRS, b"{}"))
    except ValueError as error:
        raise ValueError(f"{_PARQUET_ATTRS.decode()} in its metadata: {error}") from error
    return attrs


def parquet_metadata(attrs: Mapping[Hashable, Any]) -> dict[bytes, bytes]:
    """``DataFrame.attrs`` as metadata of a Parquet file; empty if they are."""
    return {_PARQUET_ATTRS: json.dumps(attrs).encode()} if attrs else {}
