"""Capital letters as strokes of a pen, in the manner of a Herculaneum book hand.

Each letter is a few paths in a box one unit high (y down): straight lines and arcs of ellipses.
Epsilon, sigma and omega are the round ("lunate") ones that scribes wrote.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError

Path2D = npt.NDArray[np.float64]

#: Width of the pen, in letter heights.
PEN = 0.105


def _line(*points: float) -> Path2D:
    """Return a path through ``x, y, x, y, …``."""
    return np.array(points, dtype=float).reshape(-1, 2)


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> Path2D:
    """Return an arc of an ellipse; degrees, clockwise on paper, 0 at the right."""
    angle = np.radians(np.linspace(start, stop, 33))
    return np.column_stack((cx + rx * np.cos(angle), cy + ry * np.sin(angle)))


@dataclass(frozen=True)
class Glyph:
    """A letter: its width and its paths, in letter heights."""

    width: float
    paths: tuple[Path2D, ...]


def _g(width: float, *paths: Path2D) -> Glyph:
    return Glyph(width, paths)


_ROUND = _arc(0.46, 0.5, 0.46, 0.48, 0, 360)
_LUNATE = _arc(0.46, 0.5, 0.44, 0.48, 48, 312)

_GREEK = {
    "Α": _g(0.88, _line(0.38, 0.12, 0.02, 1), _line(0.31, 0, 0.88, 1), _line(0.14, 0.7, 0.7, 0.64)),
    "Β": _g(
        0.62,
        _line(0.04, 0.02, 0.04, 0.98),
        _line(0, 0.02, 0.25, 0.02),
        _arc(0.25, 0.24, 0.27, 0.22, -90, 90),
        _line(0.04, 0.46, 0.28, 0.46),
        _arc(0.28, 0.72, 0.33, 0.26, -90, 90),
        _line(0, 0.98, 0.28, 0.98),
    ),
    "Γ": _g(0.62, _line(0.06, 1, 0.06, 0.03, 0.62, 0.03)),
    "Δ": _g(0.92, _line(0.39, 0.12, 0.02, 0.97, 0.9, 0.97), _line(0.32, 0, 0.91, 0.97)),
    "Ε": _g(0.78, _LUNATE, _line(0.04, 0.5, 0.68, 0.48)),
    "Ζ": _g(0.72, _line(0.04, 0.03, 0.68, 0.03, 0.03, 0.97, 0.72, 0.97)),
    "Η": _g(0.74, _line(0.04, 0, 0.04, 1), _line(0.7, 0, 0.7, 1), _line(0.04, 0.46, 0.7, 0.46)),
    "Θ": _g(0.92, _ROUND, _line(0.04, 0.5, 0.88, 0.5)),
    "Ι": _g(0.14, _line(0.07, 0, 0.07, 1)),
    "Κ": _g(
        0.7, _line(0.05, 0, 0.05, 1), _line(0.66, 0.02, 0.07, 0.56), _line(0.22, 0.44, 0.7, 0.99)
    ),
    "Λ": _g(0.86, _line(0.37, 0.12, 0.02, 1), _line(0.3, 0, 0.86, 1)),
    "Μ": _g(
        1.06,
        _line(0.16, 0.02, 0.02, 1),
        _line(0.16, 0.02, 0.34, 0.55),
        _arc(0.53, 0.5, 0.2, 0.2, 165, 15),
        _line(0.72, 0.55, 0.9, 0.02),
        _line(0.9, 0.02, 1.04, 1),
    ),
    "Ν": _g(0.78, _line(0.05, 1, 0.05, 0, 0.73, 0.98, 0.73, 0)),
    "Ξ": _g(
        0.72,
        _line(0.04, 0.03, 0.68, 0.03),
        _line(0.14, 0.48, 0.58, 0.48),
        _line(0.02, 0.97, 0.72, 0.97),
    ),
    "Ο": _g(0.86, _arc(0.43, 0.5, 0.41, 0.43, 0, 360)),
    "Π": _g(
        0.82, _line(0.13, 0.04, 0.13, 1), _line(0, 0.04, 0.82, 0.04), _line(0.68, 0.04, 0.68, 1)
    ),
    "Ρ": _g(
        0.56,
        _line(0.05, 1, 0.05, 0.02, 0.22, 0.02),
        _arc(0.22, 0.27, 0.3, 0.25, -90, 90),
        _line(0.22, 0.52, 0.05, 0.52),
    ),
    "Σ": _g(0.74, _LUNATE),
    "Τ": _g(0.8, _line(0, 0.03, 0.8, 0.03), _line(0.4, 0.03, 0.4, 1)),
    "Υ": _g(0.78, _line(0.02, 0, 0.39, 0.5, 0.39, 1), _line(0.76, 0, 0.39, 0.5)),
    "Φ": _g(1.0, _arc(0.5, 0.5, 0.48, 0.27, 0, 360), _line(0.5, -0.16, 0.5, 1.16)),
    "Χ": _g(0.78, _line(0.03, 0, 0.75, 1), _line(0.75, 0, 0.03, 1)),
    "Ψ": _g(
        0.96,
        _line(0.03, 0.1, 0.05, 0.3),
        _arc(0.48, 0.28, 0.43, 0.34, 180, 0),
        _line(0.91, 0.3, 0.93, 0.1),
        _line(0.48, -0.1, 0.48, 1.1),
    ),
    "Ω": _g(
        1.1,
        _arc(0.3, 0.56, 0.28, 0.42, 250, 10),
        _line(0.55, 0.3, 0.55, 0.6),
        _arc(0.8, 0.56, 0.28, 0.42, 170, -70),
    ),
}

_LATIN = {
    "D": _g(
        0.78,
        _line(0.05, 0.02, 0.05, 0.98, 0.3, 0.98),
        _arc(0.3, 0.5, 0.44, 0.48, 90, -90),
        _line(0.3, 0.02, 0.05, 0.02),
    ),
    "F": _g(0.6, _line(0.06, 1, 0.06, 0.03, 0.6, 0.03), _line(0.06, 0.48, 0.5, 0.48)),
    "G": _g(0.82, _arc(0.46, 0.5, 0.44, 0.48, 30, 312), _line(0.82, 1, 0.82, 0.56, 0.52, 0.56)),
    "J": _g(0.5, _line(0.44, 0, 0.44, 0.72), _arc(0.22, 0.72, 0.22, 0.26, 0, 180)),
    "L": _g(0.6, _line(0.05, 0, 0.05, 0.97, 0.6, 0.97)),
    "Q": _g(0.96, _arc(0.43, 0.48, 0.41, 0.46, 0, 360), _line(0.48, 0.68, 0.94, 1.08)),
    "R": _g(
        0.64,
        _line(0.05, 1, 0.05, 0.02, 0.25, 0.02),
        _arc(0.25, 0.27, 0.3, 0.25, -90, 90),
        _line(0.05, 0.52, 0.25, 0.52, 0.62, 1),
    ),
    "S": _g(0.62, _arc(0.31, 0.26, 0.27, 0.24, -30, -270), _arc(0.31, 0.74, 0.29, 0.24, -90, 150)),
    "U": _g(
        0.74,
        _line(0.04, 0, 0.04, 0.64),
        _arc(0.37, 0.64, 0.33, 0.34, 180, 0),
        _line(0.7, 0.64, 0.7, 0),
    ),
    "V": _g(0.8, _line(0.02, 0, 0.4, 1, 0.78, 0)),
    "W": _g(1.1, _line(0.02, 0, 0.28, 1, 0.55, 0.2, 0.82, 1, 1.08, 0)),
    "0": _g(0.62, _arc(0.31, 0.5, 0.29, 0.48, 0, 360)),
    "1": _g(0.34, _line(0.02, 0.22, 0.26, 0.02, 0.26, 1)),
    "2": _g(0.62, _arc(0.3, 0.3, 0.27, 0.28, 180, 395), _line(0.52, 0.46, 0.03, 0.97, 0.62, 0.97)),
    "3": _g(0.58, _arc(0.26, 0.26, 0.26, 0.24, 210, 450), _arc(0.26, 0.74, 0.3, 0.24, 270, 510)),
    "4": _g(0.68, _line(0.5, 1, 0.5, 0.02, 0.02, 0.7, 0.68, 0.7)),
    "5": _g(0.6, _line(0.54, 0.03, 0.1, 0.03, 0.06, 0.44), _arc(0.26, 0.68, 0.31, 0.3, 230, 500)),
    "6": _g(0.62, _arc(0.31, 0.68, 0.28, 0.3, 0, 360), _line(0.03, 0.66, 0.14, 0.28, 0.42, 0)),
    "7": _g(0.6, _line(0.02, 0.03, 0.58, 0.03, 0.2, 1)),
    "8": _g(0.6, _arc(0.3, 0.26, 0.24, 0.24, 0, 360), _arc(0.3, 0.74, 0.28, 0.24, 0, 360)),
    "9": _g(0.62, _arc(0.31, 0.32, 0.28, 0.3, 0, 360), _line(0.59, 0.34, 0.48, 0.72, 0.2, 1)),
    "·": _g(0.14, _line(0.06, 0.46, 0.08, 0.46)),
    ".": _g(0.14, _line(0.06, 0.97, 0.08, 0.97)),
    "-": _g(0.44, _line(0.04, 0.5, 0.4, 0.5)),
}

_ALIKE = dict(zip("ABCEHIKMNOPTXYZϹ", "ΑΒΣΕΗΙΚΜΝΟΡΤΧΥΖΣ", strict=True))
GLYPHS = {**_GREEK, **_LATIN}


def plain_capitals(text: str) -> str:
    """Return ``text`` in letters of this font: capitals, without accents; spaces and lines kept.

    Raises
    ------
    InvalidArgumentError
        If a character cannot be written.
    """
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    letters = "".join(_ALIKE.get(c, c) for c in bare.upper())
    unknown = sorted({c for c in letters if c not in GLYPHS and c not in " \n"})
    if unknown:
        raise InvalidArgumentError(
            f"The characters {' '.join(map(repr, unknown))} of the text {text!r} have no letters.",
            "Use Greek or Latin letters, digits, spaces, new lines, and any of · . -",
        )
    return letters


def draw(letter: str, height: int) -> tuple[npt.NDArray[np.bool_], int]:
    """Return a letter ``height`` px high as a picture, and the margin on every side of its box.

    The margin leaves room for the pen and for strokes that reach above and below the line.
    """
    import cv2

    glyph = GLYPHS[letter]
    pen = max(1, round(PEN * height))
    margin = pen + height // 4 + 1
    size = (height + 2 * margin, int(np.ceil(glyph.width * height)) + 2 * margin)
    canvas = np.zeros(size, np.uint8)
    inset = pen / 2
    for path in glyph.paths:
        # Stroke centres stay half a pen inside the box; 1/16 px steps.
        x = margin + inset + path[:, 0] * (height - pen / glyph.width)
        y = margin + inset + path[:, 1] * (height - pen)
        points = np.rint(np.column_stack((x, y)) * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, 255, pen, cv2.LINE_8, 4)
    return canvas > 0, margin
