"""The map of the code in docs/development.md, written from the code.

::

    python tests/pages/development_page.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from documents import ROOT, Part, table

PACKAGE = ROOT / "feat_pose_plugin"
PART = Part("development.md", __file__)


def imports_of_ours(tree: ast.AST) -> Iterator[str]:
    """The modules of this package that code imports, but for those that only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            root, _, module = node.module.partition(".")
            if root == PACKAGE.name:
                names = [] if module else [name.name for name in node.names]
                yield from ([module] if module else filter(is_module, names))
        yield from imports_of_ours(node)


def is_module(name: str) -> bool:
    """Whether a name of the package is a file or a folder of it."""
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()


def row(path: Path) -> tuple[str, str, str]:
    """A file, the first sentence of its docstring, and what it imports of ours."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sentence = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    for role in ("func", "class", "data"):
        sentence = sentence.replace(f":{role}:", "")
    sentence = sentence.replace("``", "`").replace("`~", "`")
    name = path.relative_to(PACKAGE).as_posix()
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    ours = sorted({*imports_of_ours(tree)} - {"errors", module})
    return f"`{name}`", sentence, ", ".join(ours)


def text() -> str:
    """The tables as Markdown, one for each folder."""
    folders = [PACKAGE, *sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))]
    parts = []
    for folder in folders:
        rows = map(row, sorted(folder.glob("*.py")))
        title = f"### `{folder.relative_to(ROOT).as_posix()}/`"
        parts += [title, table(["file", "holds", "imports of ours"], rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    PART.write(text())
