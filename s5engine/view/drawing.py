"""What was drawn on a part, written as its label or ignore mask."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from s5engine.errors import InvalidArgumentError, S5Error, SourceNotFoundError, StoreError
from s5engine.geometry import Box
from s5engine.lock import alone_at
from s5engine.source.images import check_threshold
from s5engine.source.mask_rows import mask_rows, read_header
from s5engine.store.backups import move_in
from s5engine.store.png import write_gray_png
from s5engine.training.labelled import IGNORE, LABEL, MASK
from s5engine.view.shapes import Polygon as Polygon
from s5engine.view.shapes import Shape, paint
from s5engine.view.shapes import Stroke as Stroke

Kind = Literal["label", "ignore"]

#: Rows that are drawn at a time.
_ROWS = 128
#: Folder in the part's own where a file is made.
_MADE = ".drawing"


def write_drawing(
    part_folder: str | Path,
    kind: Kind,
    shapes: Sequence[Shape],
    box: Sequence[int],
    *,
    start: str | Path | None = None,
    threshold: int = 255,
) -> Path:
    """Draw shapes into a part's ``label.png`` or ``ignore.png``, one after the other.

    The new file is 8-bit gray, 0 and 255, and whole or not there at all; the former one stays as a
    numbered backup, ``label.1.png``. `read_mask` of the new one gives back what was drawn.

    Parameters
    ----------
    part_folder : str or Path
        Folder of the part's label files; it is made if the folder above it is there.
    kind : {"label", "ignore"}
    shapes : sequence of Polygon or Stroke
        In segment pixels; what lies outside the part is left out.
    box : (y0, y1, x0, x1)
        The part in segment pixels: the file is of this size.
    start : str or Path, optional
        A PNG of the same size to draw on instead of the part's own file, such as the label that
        `relabel` proposes. Without either, drawing begins blank.
    threshold : int
        Gray value, 1…255, from which a pixel of the file that is drawn on counts as 1.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    InvalidArgumentError
        If the kind is another one, or the part's files or ``start`` are not of the box's size.
    SourceError
        If a file that is drawn on is missing or damaged.
    StoreError
        If the folder cannot be written.
    """
    names = {"label": LABEL, "ignore": IGNORE}
    if kind not in names:
        raise InvalidArgumentError(f'kind is "label" or "ignore", not {kind!r}.')
    check_threshold(threshold)
    place, folder, name = Box(*(int(v) for v in box)), Path(part_folder), names[kind]
    if place.height < 1 or place.width < 1:
        raise InvalidArgumentError(f"The part's box {tuple(place)} is empty.")
    if start is not None and not Path(start).exists():
        raise SourceNotFoundError(f"The file to draw on, {start}, does not exist.")
    try:
        if folder.parent.is_dir():
            folder.mkdir(exist_ok=True)
        # One drawing after the other, so that each is drawn on the one before.
        with alone_at(folder):
            _check_sizes(folder, place, start)
            own = folder / name if (folder / name).exists() else None
            base = own if start is None else Path(start)
            _write(folder, name, _drawn(base, place, shapes, threshold), place)
    except S5Error:
        raise
    except OSError as error:
        raise StoreError(
            f"{folder / name} cannot be written: {error.strerror or error}.",
            "Check that the folder is there and writable, and that there is room.",
        ) from error
    return folder / name


def _check_sizes(folder: Path, box: Box, start: str | Path | None) -> None:
    """Refuse a part whose files, or the one that is drawn on, are of another size."""
    files = [folder / name for name in (LABEL, IGNORE, MASK) if (folder / name).exists()]
    for file in files if start is None else [*files, Path(start)]:
        if (shape := read_header(file).shape) != box.shape:
            raise InvalidArgumentError(
                f"{file} is {shape[0]} × {shape[1]} px (y, x) and the part {box.height} × "
                f"{box.width}.",
                "Draw on files of the part's size.",
            )


def _drawn(
    base: Path | None, box: Box, shapes: Sequence[Shape], threshold: int
) -> Iterator[np.ndarray]:
    """Yield the new picture from the top, a few rows at a time."""
    if base is None:
        starts = range(0, box.height, _ROWS)
        blank = ((y, np.zeros((min(_ROWS, box.height - y), box.width), bool)) for y in starts)
    bands = blank if base is None else mask_rows(base, _ROWS, threshold=threshold)
    for y, band in bands:
        paint(band, box.y0 + y, box.x0, shapes)
        yield band.astype(np.uint8) * np.uint8(255)


def _write(folder: Path, name: str, bands: Iterator[np.ndarray], box: Box) -> None:
    """Write the file beside its place, and then to it."""
    made = folder / _MADE
    # One that a killed attempt left is used again: the lock says that nobody is at work in it.
    made.mkdir(exist_ok=True)
    try:
        write_gray_png(made / name, box.shape, bands)
        move_in(made, folder, [name])
    finally:
        shutil.rmtree(made, ignore_errors=True)
