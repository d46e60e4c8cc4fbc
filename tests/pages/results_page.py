"""The table of results in README.md, taken from the first table of docs/accuracy.md.

Run it after tests/pages/accuracy.py: ``python tests/pages/results_page.py``.
"""

from __future__ import annotations

from documents import PAGES, Part, table

PART = Part("README.md", __file__)
COLUMNS = {
    "mobilefacenet": "py-feat's mobilefacenet",
    "pfld": "py-feat's pfld",
    "dlib": "dlib",
    "openseeface": "OpenSeeFace",
    "mediapipe": "MediaPipe's mesh",
    "the picture": "the picture itself",
}


def errors() -> dict[str, dict[str, str]]:
    """The mean error of each method, by what it reads."""
    text = PAGES["accuracy.md"].read_text(encoding="utf-8").partition("### Error on photographs")[2]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("\n###")[0].splitlines()
        if line.startswith("|")
    ]
    place = lines[0].index("mae")
    found: dict[str, dict[str, str]] = {}
    for row in lines[2:]:
        if "not named" not in row[0]:
            found.setdefault(row[0], {})[row[1]] = row[place]
    return found


def text() -> str:
    """The table as it is now."""
    rows = (
        [
            "`pose_mlp_synth`" if method == "ours" else method,
            *(by_input.get(key, "") for key in COLUMNS),
        ]
        for method, by_input in errors().items()
    )
    return table(["method", *COLUMNS.values()], rows)


if __name__ == "__main__":
    PART.write(text())
