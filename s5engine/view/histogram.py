"""A histogram as a picture, drawn without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s5engine.atomic import atomic_write

#: Letters that the font has not, and what is drawn for them.
_LETTERS = str.maketrans({"×": "x", "–": "-", "—": "-", "−": "-", "µ": "u", "σ": "s"})
#: Width and height of the plot itself, and the margins around it, px.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 768, 220, 70, 44, 40, 24
_PAPER, _INK, _BAR, _LINE = 255, 20, 110, 205


def write_histogram(panels: Sequence[tuple[str, np.ndarray]], top: float, path: Path) -> Path:
    """Write histograms under each other as a PNG, each under its caption.

    Parameters
    ----------
    panels : sequence of (caption, (bins,) ndarray of int)
        Counts of values in equal steps from 0 to ``top``. The first bin, which holds what is
        empty, may reach beyond the plot: the scale is that of the others.
    top : float
        Largest value.
    path : Path
        A ``.png`` file.
    """
    from PIL import Image, ImageDraw, ImageFont

    tall = _TOP + _HEIGHT + _BOTTOM
    picture = Image.new("L", (_LEFT + _WIDTH + _RIGHT, tall * len(panels)), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=15)
    for number, (caption, counts) in enumerate(panels):
        zero = number * tall + _TOP + _HEIGHT
        pen.text((_LEFT, number * tall + 12), drawable(caption), fill=_INK, font=font)
        share = counts / max(counts.sum(), 1)
        scale = float(share[1:].max()) if share[1:].any() else 1.0
        for part in range(5):
            x, y = _LEFT + part * _WIDTH // 4, zero - part * _HEIGHT // 4
            pen.line([(_LEFT, y), (_LEFT + _WIDTH, y)], fill=_LINE)
            pen.text((_LEFT - 8, y), f"{100 * scale * part / 4:.2g} %", _INK, font, anchor="rm")
            pen.line([(x, zero), (x, zero + 5)], fill=_INK)
            pen.text(
                (x, zero + 8),
                f"{round(top * part / 4, 2 if top <= 1 else None):g}",
                _INK,
                font,
                anchor="ma",
            )
        edges = _LEFT + np.linspace(0, _WIDTH, len(counts) + 1).round().astype(int)
        for left, right, value in zip(edges, edges[1:], share, strict=False):
            high = round(min(value / scale, 1) * _HEIGHT)
            if high:
                pen.rectangle([left, zero - high, max(right - 1, left), zero - 1], fill=_BAR)
        pen.line([(_LEFT, zero), (_LEFT + _WIDTH, zero)], fill=_INK)
    with atomic_write(path) as partial:
        picture.save(partial, format="PNG", optimize=True)
    return path


def drawable(caption: str) -> str:
    """Return a caption in letters that Pillow's own font has: it draws a box for any other."""
    known = caption.translate(_LETTERS)
    return "".join(letter if letter.isascii() or letter in "…·" else "?" for letter in known)
