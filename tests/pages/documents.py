"""The code blocks of README.md and docs/*.md, and their parts that scripts write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
RUN = ("bash", "python")
DATA = ("text", "toml")

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<not_run>[^\n]+) -->\n\n?)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: The line of the page on which the code begins, from 1.
        language: What stands behind the fence.
        code: The lines in between.
        not_run: Why the tests do not run it, from ``<!-- not run: REASON -->`` before the fence;
            None if they do.
    """

    line: int
    language: str
    code: str
    not_run: str | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(
            line=text.count("\n", 0, found.start("code")) + 1,
            language=found["language"],
            code=found["code"],
            not_run=found["not_run"],
        )
        for found in _BLOCK.finditer(text)
    ]


def python_blocks(page: str) -> list[str]:
    """The Python that is run, block by block."""
    return [
        block.code for block in blocks(page) if block.language == "python" and block.not_run is None
    ]


def with_part(page: Path, begin: str, part: str, end: str) -> str:
    """The page with another part between its two markers."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
