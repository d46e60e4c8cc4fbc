"""The rooms of the package: who may import whom."""

from __future__ import annotations

import re
from pathlib import Path

import feat_pose_plugin

PACKAGE = Path(feat_pose_plugin.__file__).parent
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "pose": {"errors", "files"},
    "testing": {"errors", "files", "pose"},
    "mlp": {"errors", "files", "pose", "testing"},
    "frameworks": {"errors", "files", "pose", "mlp"},
    "tables": {"errors", "files", "pose"},
    "motion": {"errors", "files", "pose", "tables"},
    "show": {"errors", "files", "pose", "tables", "motion"},
    "evaluation": {"errors", "files", "pose", "mlp", "tables"},
    "training": {"errors", "files", "pose", "mlp", "tables"},
}


def imports() -> dict[Path, set[str]]:
    """For each module of the package, the modules of the package that it imports anywhere."""
    statement = r"^ *(?:from|import) feat_pose_plugin\.([\w.]+)(?: import ([\w, ]+))?"
    found = {}
    for path in PACKAGE.rglob("*.py"):
        names = set()
        for module, members in re.findall(statement, path.read_text(encoding="utf-8"), re.M):
            names |= {module, *(f"{module}.{member.strip()}" for member in members.split(","))}
        modules = {n for n in names if PACKAGE.joinpath(*n.split(".")).with_suffix(".py").exists()}
        here = path.relative_to(PACKAGE)
        found[here] = modules - {".".join(here.with_suffix("").parts)}  # a docstring's example
    return found


def test_imports_point_downwards() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, names in imports().items()
        if (room := path.parts[0].removesuffix(".py")) in MAY_IMPORT
        for name in names
        if name.partition(".")[0] not in MAY_IMPORT[room] | {room}
    ]
    assert wrong == []


def test_no_import_goes_in_a_circle() -> None:
    left = {".".join(path.with_suffix("").parts): names for path, names in imports().items()}
    while leaves := {name for name, names in left.items() if not names & left.keys()}:
        left = {name: names for name, names in left.items() if name not in leaves}
    assert left == {}


def test_every_room_is_in_the_table_and_says_what_it_is_for() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == MAY_IMPORT.keys() - {"errors", "files", "testing"} | {"cli"}
    for room in rooms:
        assert (PACKAGE / room / "__init__.py").read_text(encoding="utf-8").startswith('"""')
    flat = {path.name for path in PACKAGE.glob("*.py")}
    assert len(flat) <= 5
