"""The code blocks of README.md and docs/*.md, and their parts that scripts write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
        shows_output: Whether it follows a block that is run, with nothing in between.
    """

    line: int
    language: str
    code: str
    not_run: str | None
    shows_output: bool


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    found: list[Block] = []
    end = -1
    for match in _BLOCK.finditer(text):
        follows = bool(found) and found[-1].language in RUN and found[-1].not_run is None
        found.append(
            Block(
                line=text.count("\n", 0, match.start("code")) + 1,
                language=match["language"],
                code=match["code"],
                not_run=match["not_run"],
                shows_output=follows and not text[end : match.start()].strip(),
            )
        )
        end = match.end()
    return found


def says(page: str, printed: str) -> bool:
    """Whether a page shows what was printed: words alike, numbers within 2 of the last decimal.

    ``...`` on the page stands for anything; whole numbers must be the same.
    """
    number = r"(?<![\w.-])-?\d+\.\d+(?![\w.])"
    shown = re.findall(number, page)
    pattern = re.escape(" ".join(re.sub(number, "\0", page).split()))
    pattern = pattern.replace(r"\.\.\.", ".*").replace("\\\0", "\0").replace("\0", f"({number})")
    match = re.fullmatch(pattern, " ".join(printed.split()))
    return match is not None and all(
        abs(float(a) - float(b)) <= 2.01 * 10.0 ** -len(a.partition(".")[2])
        for a, b in zip(shown, match.groups(), strict=True)
    )


def with_outputs(page: str, outputs: Mapping[int, str]) -> str:
    """The page with what was printed in the blocks that begin on these lines."""
    lines = PAGES[page].read_text(encoding="utf-8").splitlines(keepends=True)
    for block in reversed(blocks(page)):
        if block.line in outputs and not says(block.code, outputs[block.line]):
            printed = "".join(f"{row.rstrip()}\n" for row in outputs[block.line].splitlines())
            lines[block.line - 1 : block.line - 1 + block.code.count("\n")] = [printed]
    return "".join(lines)


def python_blocks(page: str) -> list[str]:
    """The Python that is run, block by block."""
    return [
        block.code for block in blocks(page) if block.language == "python" and block.not_run is None
    ]


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells as a table of Markdown."""
    heads = list(heads)
    lines = ["| " + " | ".join(line) + " |" for line in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


@dataclass(frozen=True)
class Part:
    """The part of a page that a script writes, between two comments that name the script."""

    page: str
    script: str

    def read(self) -> str:
        """The part as it stands on the page."""
        return self._split()[2].strip()

    def write(self, text: str) -> None:
        """Put another part in its place."""
        before, begin, _, end, after = self._split()
        PAGES[self.page].write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")

    def _split(self) -> list[str]:
        name = re.escape(f"written by tests/pages/{Path(self.script).name}")
        text = PAGES[self.page].read_text(encoding="utf-8")
        parts = re.split(rf"(<!-- (?:begin|end): {name} -->)", text)
        assert len(parts) == 5, f"{self.page} has no part that is {name}"
        return parts
