"""The tables of docs/old-scripts.md, written from the one that ``Detector`` reads.

::

    python tests/pages/old_scripts_page.py
"""

from __future__ import annotations

from documents import Part, table

from feat_pose_plugin.frameworks.successors import SUCCESSORS, Successor

PART = Part("old-scripts.md", __file__)
HEADS = ["a script says", "it becomes", "last in py-feat", ""]


def cells(row: Successor) -> tuple[str, ...]:
    """A row of a table."""
    said, new = row.argument, row.new
    if row.value is not None:
        said, new = f'{row.argument}="{row.value}"', f'{row.argument}="{row.new}"'
    became = "an error" if new is None else new if " " in new else f"`{new}`"
    note = "; ".join(filter(None, (row.only, row.note)))
    return f"`{said}`", became, row.until, note


def text() -> str:
    """The tables as they are now."""
    sections = {
        "Models": [row for row in SUCCESSORS if row.value is not None],
        "Arguments of `Detector`": [
            row for row in SUCCESSORS if row.call == "Detector" and row.value is None
        ],
        "Arguments of `detect`, `detect_image` and `detect_video`": [
            row for row in SUCCESSORS if row.call == "detect"
        ],
    }
    return "\n\n".join(
        f"### {title}\n\n{table(HEADS, map(cells, rows))}" for title, rows in sections.items()
    )


if __name__ == "__main__":
    PART.write(text())
