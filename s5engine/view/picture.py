"""Pictures on disk: one composite, or several panels side by side with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from s5engine.address import local_file
from s5engine.atomic import atomic_write
from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.store.png import write_gray_png
from s5engine.view.composite import to_gray
from s5engine.view.histogram import drawable

#: Space between panels and the height of a caption's line, px.
_GAP, _LINE = 12, 26
_PAPER, _WORDS = 255, 20


def write_picture(picture: np.ndarray, path: str | Path) -> Path:
    """Write a picture in [0, 1] as an 8-bit gray PNG, whole or not at all.

    Parameters
    ----------
    picture : (y, x) float ndarray
        Values in [0, 1]; they are truncated to 8 bits, as in 2025.
    path : str or Path
        A ``.png`` file; its folder is made if need be.

    Returns
    -------
    Path

    Raises
    ------
    InvalidArgumentError
        If it is no picture, or the name does not end in ``.png``.
    StoreError
        If the file cannot be written.
    """
    target = local_file(path, "picture")
    if np.ndim(picture) != 2 or target.suffix.lower() != ".png":
        raise InvalidArgumentError(
            f"A picture (y, x) is written to a .png file, not {np.shape(picture)} to {target}."
        )
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_gray_png(target, picture.shape, [to_gray(picture)])
    return target


def write_sheet(
    panels: Sequence[tuple[str, np.ndarray]], path: str | Path, *, columns: int = 1
) -> Path:
    """Write several pictures in [0, 1], each under its caption, as one PNG.

    Parameters
    ----------
    panels : sequence of (caption, (y, x) float ndarray)
        In reading order; each column is as wide as its widest panel.
    path : str or Path
        A ``.png`` file.
    columns : int
        Panels in a row.

    Returns
    -------
    Path
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    width = max(picture.shape[1] for _, picture in panels)
    heights = [max(picture.shape[0] for _, picture in row) for row in rows]
    size = (
        columns * (width + _GAP) + _GAP,
        sum(heights) + len(rows) * (_LINE + _GAP) + _GAP,
    )
    sheet = Image.new("L", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_LINE * 0.65)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (caption, picture) in enumerate(row):
            left = _GAP + column * (width + _GAP)
            pen.text((left, top), drawable(caption), fill=_WORDS, font=font)
            sheet.paste(Image.fromarray(to_gray(picture)), (left, top + _LINE))
        top += height + _LINE + _GAP
    target = local_file(path, "picture")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as partial:
            sheet.save(partial, format="PNG", optimize=True)
    return target


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Tell in one sentence that a picture could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The picture {target} cannot be written: {error}.", "Choose a writable place."
        ) from error
