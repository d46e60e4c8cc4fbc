"""The tables of docs/old-scripts.md, written from those that ``Detector`` reads.

::

    python tests/pages/old_scripts_page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from documents import with_part

from feat_pose_plugin.frameworks.successors import (
    ARGUMENTS,
    DETECT_ARGUMENTS,
    LANDMARK_MODELS_WITH_HOG,
    MODELS,
    POSE_OPTIONS,
    POSES,
    POSES_WITH_IMG2POSE,
    Successor,
)

PAGE = Path(__file__).parents[2] / "docs" / "old-scripts.md"
BEGIN = "<!-- begin: written by tests/pages/old_scripts_page.py -->"
END = "<!-- end: written by tests/pages/old_scripts_page.py -->"

HEAD = ["| a script says | it becomes | last in py-feat | |", "|---|---|---|---|"]


def row(said: str, new: str | None, successor: Successor) -> str:
    """A row of a table."""
    became = "an error" if new is None else new if " " in new else f"`{new}`"
    return f"| `{said}` | {became} | {successor.until} | {successor.note} |"


def model_rows(argument: str, successors: Mapping[str, Successor]) -> Iterator[str]:
    """Rows for the names of models."""
    for name, successor in successors.items():
        yield row(f'{argument}="{name}"', f'{argument}="{successor.new}"', successor)


def argument_rows(successors: Mapping[str, Successor]) -> Iterator[str]:
    """Rows for the names of arguments."""
    for name, successor in successors.items():
        yield row(name, successor.new, successor)


def text() -> str:
    """All tables as Markdown."""
    sections = {
        "Models": [line for name, table in MODELS.items() for line in model_rows(name, table)],
        "Landmarks, if action units or SVM emotions are wanted": model_rows(
            "landmark_model", LANDMARK_MODELS_WITH_HOG
        ),
        "Head pose": model_rows("facepose_model", POSES),
        'Head pose with `face_model="img2pose"`': model_rows("facepose_model", POSES_WITH_IMG2POSE),
        "Arguments of `Detector`": argument_rows(ARGUMENTS),
        "Keys of `facepose_model_kwargs`": argument_rows(POSE_OPTIONS),
        "Arguments of `detect`, `detect_image` and `detect_video`": argument_rows(DETECT_ARGUMENTS),
    }
    parts = ["\n".join([f"### {title}", "", *HEAD, *rows]) for title, rows in sections.items()]
    return "\n\n".join(parts)


def page() -> str:
    """The page with its tables as they are now."""
    return with_part(PAGE, BEGIN, text(), END)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
