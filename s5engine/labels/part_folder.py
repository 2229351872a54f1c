"""The folder of a part's label files: where a run lies in it, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5engine.address import local_file
from s5engine.errors import InvalidArgumentError, SourceNotFoundError
from s5engine.geometry import PART_WIDTH, Box
from s5engine.labels.relabel_rule import near_drawn
from s5engine.source.mask_rows import Mask, mask_rows, read_header
from s5engine.training.labelled import IGNORE, LABEL, MASK

#: Rows that are decoded at a time.
_ROWS = 128


@dataclass(frozen=True)
class PartFolder:
    """A part's files and the place of a run's ink in it.

    Attributes
    ----------
    files : dict of str to Path
        Those of label.png, ignore.png and mask.png that are there.
    shape : (int, int)
        Rows and columns of the part.
    place : Box
        Where the ink lies, in the part's own pixels.
    """

    files: dict[str, Path]
    shape: tuple[int, int]
    place: Box


def find_part(folder: str | Path, ink: Box, number: int | None) -> PartFolder:
    """Find a part's files and the ink's place in it; reads the files' headers alone.

    The files have the ink's size, or that of the whole part. The whole part begins at 0 or, if it
    does not hold the ink there, at the column of part ``number`` of the 10,000-px grid (or of the
    part in which the ink begins).

    Parameters
    ----------
    folder : str or Path
    ink : Box
        In the pixels of the volume that was predicted.
    number : int or None
        The part's number, if the run knows it.

    Raises
    ------
    SourceNotFoundError
        If there is no such folder.
    InvalidArgumentError
        If the files' sizes differ, or the ink does not fit in.
    SourceError
        If a file is not a PNG.
    """
    folder = local_file(folder, "part")
    if not folder.is_dir():
        raise SourceNotFoundError(
            f"The part's folder {folder} does not exist.",
            f"Name the folder of {LABEL}; an empty one begins a new label.",
        )
    files = {n: folder / n for n in (LABEL, IGNORE, MASK) if (folder / n).exists()}
    shapes = {name: read_header(file).shape for name, file in files.items()}
    if len(set(shapes.values())) > 1:
        raise InvalidArgumentError(
            f"The files in {folder} differ in size (y, x): {shapes}.", "Draw them at one size."
        )
    shape = next(iter(shapes.values()), ink.shape)
    origins = [(ink.y0, ink.x0)] if shape == ink.shape else _origins(ink, number)
    for y0, x0 in origins:
        place = Box(ink.y0 - y0, ink.y1 - y0, ink.x0 - x0, ink.x1 - x0)
        if place.y0 >= 0 and place.x0 >= 0 and place.y1 <= shape[0] and place.x1 <= shape[1]:
            return PartFolder(files, shape, place)
    raise InvalidArgumentError(
        f"The run's ink is y {ink.y0}:{ink.y1}, x {ink.x0}:{ink.x1}, and the files in {folder} "
        f"are {shape[0]} × {shape[1]} px (y, x): it does not lie inside them.",
        "Name the folder of the part that was predicted, with files of the part's or the ink's "
        "size.",
    )


def _origins(ink: Box, number: int | None) -> list[tuple[int, int]]:
    """Return where a part that is larger than the ink may begin, likeliest first."""
    column = ink.x0 // PART_WIDTH if number is None else number - 1
    return [(0, column * PART_WIDTH), (0, 0)]


class Rows:
    """The rows of a mask file, taken from the top in bands of any height.

    Parameters
    ----------
    path : Path or None
        None reads as ``missing`` everywhere.
    width, threshold : int
    missing : bool
    """

    def __init__(self, path: Path | None, width: int, threshold: int, missing: bool) -> None:
        self._bands: Iterator[tuple[int, Mask]] | None = (
            None if path is None else mask_rows(path, _ROWS, threshold=threshold)
        )
        self._rest = np.empty((0, width), bool)
        self._width, self._missing = width, missing

    def take(self, count: int) -> Mask:
        """Return the next ``count`` rows."""
        if self._bands is None:
            return np.full((count, self._width), self._missing)
        pieces = [self._rest]
        while (lacking := count - sum(map(len, pieces))) > 0:
            pieces.append(next(self._bands)[1])
        kept = len(pieces[-1]) + min(lacking, 0)
        self._rest = pieces[-1][kept:]
        return np.concatenate([*pieces[:-1], pieces[-1][:kept]])

    def finish(self) -> None:
        """Let the file's end be checked, once all rows are taken."""
        if self._bands is not None:
            next(self._bands, None)


class NearRows:
    """Which pixels are near drawn ink, taken from the top in bands of any height.

    Parameters
    ----------
    rows : Rows
        The label, read for this alone.
    height : int
        Rows of the file.
    margin : int
        See `near_drawn`; so many rows above and below a band are held with it.
    """

    def __init__(self, rows: Rows, height: int, margin: int) -> None:
        self._rows, self._height, self._margin = rows, height, margin
        self._held = rows.take(0)
        self._first = self._taken = 0

    def take(self, count: int) -> Mask | None:
        """Return the next ``count`` rows; None if the margin is 0."""
        if not self._margin:
            return None
        start, stop = self._taken, self._taken + count
        have = self._first + len(self._held)
        more = self._rows.take(min(stop + self._margin, self._height) - have)
        first = max(start - self._margin, 0)
        self._held = np.concatenate([self._held[first - self._first :], more])
        self._first, self._taken = first, stop
        return near_drawn(self._held, self._margin)[start - first : stop - first]
