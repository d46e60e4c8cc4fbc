"""The table of dependencies in docs/licences.md, from what the installed packages say.

::

    python tests/pages/licences.py

writes it.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"
PAGE = ROOT / "docs" / "licences.md"
_START, _END = "<!-- dependencies -->\n", "<!-- end of dependencies -->\n"


def table() -> str:
    """Markdown: each package that the project names, who needs it, its versions and licence."""
    lines = ["| package | needed by | versions | licence |", "|---|---|---|---|"]
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    groups = {"all": project["dependencies"], **project["optional-dependencies"]}
    for extra, needed in groups.items():
        for requirement in needed:
            name, versions = re.fullmatch(r"([\w-]+)(?:\[.*\])?(.*)", requirement).groups()
            if name != project["name"]:
                lines.append(f"| {name} | {extra} | {versions or 'any'} | {_licence(name)} |")
    return "\n".join(lines) + "\n"


def _licence(name: str) -> str:
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return "not installed"
    said = found.metadata
    expression = said.get("License-Expression") or said.get("License") or ""
    if 0 < len(expression) <= 60 and "\n" not in expression:
        return str(expression)
    classifiers = said.get_all("Classifier") or []
    kinds = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    first = next((line.strip() for line in expression.splitlines() if line.strip()), "not said")
    return ", ".join(kinds) or first


def rewritten(page: str) -> str:
    """The page with the table of this moment."""
    start, rest = page.split(_START)
    return start + _START + table() + _END + rest.split(_END)[1]


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
