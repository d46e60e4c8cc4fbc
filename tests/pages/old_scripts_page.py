"""The tables of docs/old-scripts.md, written from the one that ``Detector`` reads.

::

    python tests/pages/old_scripts_page.py
"""

from __future__ import annotations

from pathlib import Path

from documents import with_part

from feat_pose_plugin.frameworks.successors import SUCCESSORS, Successor

PAGE = Path(__file__).parents[2] / "docs" / "old-scripts.md"
BEGIN = "<!-- begin: written by tests/pages/old_scripts_page.py -->"
END = "<!-- end: written by tests/pages/old_scripts_page.py -->"

HEAD = ["| a script says | it becomes | last in py-feat | |", "|---|---|---|---|"]


def line(row: Successor) -> str:
    """A row of a table."""
    said, new = row.argument, row.new
    if row.value is not None:
        said, new = f'{row.argument}="{row.value}"', f'{row.argument}="{row.new}"'
    became = "an error" if new is None else new if " " in new else f"`{new}`"
    note = "; ".join(filter(None, (row.only, row.note)))
    return f"| `{said}` | {became} | {row.until} | {note} |"


def page() -> str:
    """The page with its tables as they are now."""
    sections = {
        "Models": [row for row in SUCCESSORS if row.value is not None],
        "Arguments of `Detector`": [
            row for row in SUCCESSORS if row.call == "Detector" and row.value is None
        ],
        "Arguments of `detect`, `detect_image` and `detect_video`": [
            row for row in SUCCESSORS if row.call == "detect"
        ],
    }
    parts = [
        "\n".join([f"### {title}", "", *HEAD, *map(line, rows)]) for title, rows in sections.items()
    ]
    return with_part(PAGE, BEGIN, "\n\n".join(parts), END)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
