"""Bytes from a fuzzer, as decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decides by one byte after another; by zeros when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def byte(self) -> int:
        self._place += 1
        return self._data[self._place - 1] if self._place <= len(self._data) else 0

    def number(self) -> int:
        """Two bytes."""
        return 256 * self.byte() + self.byte()

    def pick(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def rest(self) -> bytes:
        return self._data[self._place :]


def expand(text: bytes, words: Mapping[int, bytes]) -> bytes:
    """Text in which some bytes stand for long words, so that a short input says much."""
    return b"".join(words.get(byte, bytes([byte])) for byte in text)


def damage(content: bytes, choices: Choices) -> bytes:
    """A file after some accidents: bits flipped, bytes lost, doubled, zeroed, cut off."""
    damaged = bytearray(content)
    for _ in range(choices.byte() % 8):
        kind = choices.byte() % 6
        # From either end, where the headers and footers are, or anywhere.
        place = choices.number() * (choices.byte() % 8 + 1)
        if choices.byte() % 2:
            place = len(damaged) - 1 - place
        if not 0 <= place < len(damaged):
            continue
        match kind:
            case 0:
                damaged[place] ^= 1 << choices.byte() % 8
            case 1:
                damaged[place] = choices.byte()
            case 2:
                del damaged[place:]
            case 3:
                del damaged[place : place + choices.byte()]
            case 4:
                damaged[place:place] = damaged[place : place + choices.byte()]
            case 5:
                length = min(choices.byte(), len(damaged) - place)
                damaged[place : place + length] = bytes(length)
    return bytes(damaged)
