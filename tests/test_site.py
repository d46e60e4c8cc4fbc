"""The site builds without a warning, says what the code says, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documents import ROOT

import feat_pose_plugin

pytest.importorskip("mkdocs", reason="the site is built with the extra docs")


class _Loads(HTMLParser):
    """What a page loads, links that a reader follows left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found += [
                value or "" for name, value in attrs if name in ("href", "poster", "src", "srcset")
            ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet, which hides warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loads = _Loads()
        loads.feed(text)
        assert any(link.startswith("assets/") for link in loads.found) or page.name == "404.html"
        assert [link for link in loads.found if "//" in link] == []
        assert not re.search(r"url\(|@import", "".join(re.findall(r"<style>.*?</style>", text)))


def test_the_reference_has_every_public_name_and_no_markup(site: Path) -> None:
    text = (site / "reference.html").read_text(encoding="utf-8")
    for name in set(feat_pose_plugin.__all__) - {"__version__"}:
        assert re.search(rf'id="feat_pose_plugin\.([\w.]+\.)?{name}"', text), name
    assert re.findall(r":(?:attr|class|data|func|meth|mod):|<autoref", text) == []
