"""docs/conventions.md says what the code does."""

from __future__ import annotations

import conventions_page
import numpy as np
import pytest

WRITE = "`python tests/pages/conventions_page.py` writes it anew"


@pytest.mark.parametrize("column", conventions_page.DRAWN)
def test_the_drawings_are_of_what_the_code_does(column):
    drawing = conventions_page.drawing_path(column).read_text(encoding="utf-8")
    assert conventions_page.title_of(column) in drawing, WRITE
    assert conventions_page.description_of(column) in drawing, WRITE
    lines = [line.get_xydata() for line in conventions_page.draw(column).axes[0].lines]
    number = len(conventions_page.FACE_LINES) + 1
    before, after, way = lines[:number], lines[number : 2 * number], lines[-1]
    # The arrow goes where the face goes.
    moved = np.concatenate(after).mean(axis=0) - np.concatenate(before).mean(axis=0)
    if column != "Roll":
        assert np.dot(moved, way[-1] - way[0]) > 0
    else:
        top = after[-1].mean(axis=0) - before[-1].mean(axis=0)
        assert np.dot(top, way[-1] - way[0]) > 0


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("Pitch", "looks up"),
        ("Yaw", "turns to the subject's right"),
        ("Roll", "tilts to the subject's right"),
    ],
)
def test_the_words_follow_the_code(column, words, monkeypatch):
    assert conventions_page.where_to(column) == words
    turn_of = conventions_page.turn_of
    monkeypatch.setattr(conventions_page, "turn_of", lambda *turn: -turn_of(*turn))
    assert conventions_page.where_to(column) not in (words, None)
