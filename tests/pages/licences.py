"""The table of dependencies in docs/licences.md, from what the installed packages say.

::

    python tests/pages/licences.py
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

from documents import ROOT, Part, table

PART = Part("licences.md", __file__)


def text() -> str:
    """Each package that the project names, who needs it, its versions and licence."""
    rows = []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"all": project["dependencies"], **project["optional-dependencies"]}
    for extra, needed in groups.items():
        for requirement in needed:
            name, versions = re.fullmatch(r"([\w-]+)(?:\[.*\])?(.*)", requirement).groups()
            if name != project["name"]:
                rows.append((name, extra, versions or "any", _licence(name)))
    return table(["package", "needed by", "versions", "licence"], rows)


def _licence(name: str) -> str:
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return "not installed"
    expression = said.get("License-Expression") or said.get("License") or ""
    if 0 < len(expression) <= 60 and "\n" not in expression:
        return expression
    classifiers = said.get_all("Classifier") or []
    kinds = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    return ", ".join(kinds) or next(iter(expression.split("\n")), "") or "not said"


if __name__ == "__main__":
    PART.write(text())
