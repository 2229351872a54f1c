"""Sets a title in lines and draws any region of it, letter by letter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from s5engine.geometry import Box
from s5engine.phantom.font import GLYPHS, draw, plain_capitals

#: Space between letters, between words and between lines, in letter heights.
LETTER_GAP, WORD_GAP, LINE_GAP = 0.2, 0.55, 0.6
#: Letters are not made higher than this by themselves, px (as in the title of Scroll 5).
MAX_LETTER = 640


@dataclass(frozen=True)
class Title:
    """A text with the place of every letter.

    Parameters
    ----------
    area : Box
        Where the text is centred, segment pixels.
    letter_height : int
        Height of the letters, px.
    places : tuple of (str, int, int)
        Each letter with the top-left corner of its box, segment pixels, as it reads.
    mirrored : bool
        Whether the drawn text is flipped left-right within ``area``.
    """

    area: Box
    letter_height: int
    places: tuple[tuple[str, int, int], ...]
    mirrored: bool

    @property
    def bounds(self) -> Box | None:
        """What the text covers at most, segment pixels; None without text."""
        if not self.places:
            return None
        size = self.letter_height
        top = min(y for _, y, _ in self.places)
        left = min(x for _, _, x in self.places)
        bottom = max(y for _, y, _ in self.places) + size
        right = max(x + int(GLYPHS[letter].width * size) for letter, _, x in self.places)
        if self.mirrored:
            left, right = (self.area.x0 + self.area.x1 - x for x in (right, left))
        return Box(top, bottom, left, right)

    def draw(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return the ink in ``box`` ``(h, w)``; only letters near it are looked at."""
        out = np.zeros(box.shape, bool)
        for letter, top, left in self.places:
            picture, margin = _picture(letter, self.letter_height)
            y, x = top - margin, left - margin
            height, width = picture.shape
            if self.mirrored:
                x = self.area.x0 + self.area.x1 - x - width
            y0, y1 = max(y, box.y0), min(y + height, box.y1)
            x0, x1 = max(x, box.x0), min(x + width, box.x1)
            if y0 >= y1 or x0 >= x1:
                continue
            shown = picture[:, ::-1] if self.mirrored else picture
            out[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] |= shown[
                y0 - y : y1 - y, x0 - x : x1 - x
            ]
        return out


@lru_cache(maxsize=64)
def _picture(letter: str, height: int) -> tuple[npt.NDArray[np.bool_], int]:
    return draw(letter, height)


def _width(line: str) -> float:
    """Return the width of a line, in letter heights."""
    words = line.split()
    inside = sum(
        sum(GLYPHS[c].width for c in word) + LETTER_GAP * (len(word) - 1) for word in words
    )
    return inside + WORD_GAP * (len(words) - 1)


def _wrap(words: list[str], limit: float) -> list[str]:
    """Fill lines up to ``limit`` letter heights, word by word."""
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if _width(longer) <= limit:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _best_lines(text: str, area: Box) -> tuple[list[str], float]:
    """Return the breaking into lines that allows the highest letters, and their height, px."""
    given = [line for line in text.split("\n") if line.strip()]
    choices = [given]
    if len(given) == 1:
        words = given[0].split()
        limits = {
            _width(" ".join(words[a:b]))
            for a in range(len(words))
            for b in range(a + 1, len(words) + 1)
        }
        choices = [_wrap(words, limit) for limit in sorted(limits)]

    def height(lines: list[str]) -> float:
        tall = len(lines) + LINE_GAP * (len(lines) - 1)
        return min(area.width / max(map(_width, lines)), area.height / tall)

    best = max(choices, key=height)
    return best, height(best)


def set_title(text: str, area: Box, *, letter_height: int | None, mirrored: bool) -> Title:
    """Return ``text`` set in centred lines within ``area``.

    Parameters
    ----------
    text : str
        Greek or Latin letters; new lines are kept, otherwise the lines are broken so that the
        letters become as high as they can.
    area : Box
        Segment pixels.
    letter_height : int, optional
        Height of the letters, px; by default what fits, at most 640.
    mirrored : bool
        Flip the text left-right.

    Raises
    ------
    InvalidArgumentError
        If a character cannot be written.
    """
    letters = plain_capitals(text)
    if not letters.strip():
        return Title(area, 1, (), mirrored)
    lines, fitting = _best_lines(letters, area)
    size = letter_height or max(1, min(MAX_LETTER, int(fitting)))
    total = size * (len(lines) + LINE_GAP * (len(lines) - 1))
    y = (area.y0 + area.y1 - total) / 2
    places = []
    for line in lines:
        x = (area.x0 + area.x1 - _width(line) * size) / 2
        for word in line.split():
            for letter in word:
                places.append((letter, round(y), round(x)))
                x += (GLYPHS[letter].width + LETTER_GAP) * size
            x += (WORD_GAP - LETTER_GAP) * size
        y += size * (1 + LINE_GAP)
    return Title(area, size, tuple(places), mirrored)
