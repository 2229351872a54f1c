"""Segments of true size that need little memory and no disk.

Rows (or tile rows, or tiles) come from a small library of distinct encoded ones and repeat by a
rule, so that every offset in a 4 GB file follows by addition and every pixel is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.geometry import as_box
from s5engine.phantom.layouts import Layout, encoder, make_layout
from s5engine.phantom.noise import hash_grid
from s5engine.phantom.papyrus import Phantom
from s5engine.phantom.tiff_writer import tiff_file
from s5engine.phantom.virtual import VirtualFile

#: Tiles are empty in squares of so many tiles, and this share of the squares is.
_EMPTY_SQUARE, _EMPTY_SHARE = 8, 0.25
#: How far the library's number moves from one row, tile column or layer to the next. The library
#: has a prime number of pieces that divides none of these, nor their successors.
_ROW_STEP, _COLUMN_STEP, _LAYER_STEP = 5, 11, 7
_SMALLEST = 13
#: Layers that are taken from each place of the papyrus.
_DEPTH = 21


@dataclass(frozen=True, eq=False)
class TrueScaleSegment:
    """A segment whose layer files exist only as a rule; see `true_scale_segment`.

    Parameters
    ----------
    height, width, layers : int
        Size.
    files : dict of str to VirtualFile
        The layers, ``{"00.tif": …}``.
    pieces : (n, rows, columns) ndarray
        The distinct pieces; the last one is all zero where tiles can be empty.
    seed : int
        Which tiles are empty.
    """

    height: int
    width: int
    layers: int
    files: dict[str, VirtualFile]
    pieces: npt.NDArray[Any]
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, height and width."""
        return self.layers, self.height, self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.pieces.dtype

    @property
    def _tiled(self) -> bool:
        return bool(self.pieces.shape[2] < self.width)

    def expected(
        self,
        layers: Sequence[int] | None = None,
        box: Sequence[int] | None = None,
    ) -> npt.NDArray[Any]:
        """Return what the layers hold in a box, without looking into the files.

        Parameters
        ----------
        layers : sequence of int, optional
            Layer numbers from 0; all by default.
        box : (y0, y1, x0, x1), optional
            Half-open, segment pixels; everything by default, which is too much at true size.

        Returns
        -------
        (n, h, w) ndarray

        Raises
        ------
        InvalidArgumentError
            If a layer or the box lies outside.
        """
        where = as_box(box, self.height, self.width)
        numbers = list(range(self.layers)) if layers is None else [int(n) for n in layers]
        if not all(0 <= number < self.layers for number in numbers):
            raise InvalidArgumentError(
                f"The segment has layers 0 to {self.layers - 1}, not all of {numbers}."
            )
        y = np.arange(where.y0, where.y1)
        row, inside_y = np.divmod(y, self.pieces.shape[1])
        out = np.empty((len(numbers), *where.shape), self.dtype)
        for k, number in enumerate(numbers):
            if not self._tiled:
                piece = _pick(number, row, 0, self._distinct)
                out[k] = self.pieces[piece, inside_y, where.x0 : where.x1]
                continue
            x = np.arange(where.x0, where.x1)
            column, inside_x = np.divmod(x, self.pieces.shape[2])
            piece = _tile_order(number, row[:, None], column, self._distinct, self.seed)
            out[k] = self.pieces[piece, inside_y[:, None], inside_x]
        return out

    @property
    def _distinct(self) -> int:
        """Pieces that the rule goes through, without the empty one."""
        return len(self.pieces) - self._tiled


def true_scale_segment(
    height: int = 13_780,
    width: int = 289_380,
    layers: int = 21,
    *,
    layout: str | Layout = "rows-lzw",
    distinct: int | None = None,
    dtype: str = "uint8",
    seed: int = 0,
    pad: int = 2,
    **knobs: Any,
) -> TrueScaleSegment:
    """Return a segment of true size as virtual files, by default that of 03192025.

    Rows of one layer that lie next to each other differ, and so do the same rows of two layers.

    Parameters
    ----------
    height, width, layers : int
        Size.
    layout : str or Layout
        A name in `LAYOUTS`, or a layout.
    distinct : int, optional
        How many different rows, tile rows or tiles there are at least (rounded up to a prime not
        below ``layers``). By default 127 rows, 23 tile rows or 499 tiles.
    dtype : {"uint8", "uint16"}
        Of the pixels.
    seed : int
        Which papyrus.
    pad : int
        Digits in a file name.
    **knobs
        Fields of `Layout` to change.

    Raises
    ------
    InvalidArgumentError
        If the layout has compressed strips of many rows that are not tiles (their content cannot
        repeat), or is sparse.
    """
    chosen = make_layout(layout, **knobs)
    frame = chosen.frame(height, width, dtype)
    whole_strip = not frame.tile[0] and frame.rows == height and height > 1
    if (whole_strip and chosen.compression != "none") or chosen.sparse:
        raise InvalidArgumentError(
            "A compressed single strip, or a sparse file, cannot be made from repeating pieces.",
            "Use compression='none', more strips, or encode_layer for a small image.",
        )
    # One piece: a row of a strip that is not compressed, or a whole strip or tile.
    rows, columns = frame.tile if frame.tile[0] else (1 if whole_strip else frame.rows, width)
    if not frame.tile[0] and height % rows:
        raise InvalidArgumentError(
            f"Strips of {rows} rows leave a shorter last one in {height} rows.",
            "Choose a number of rows that divides the height.",
        )
    tiled = columns < width
    default = 499 if tiled else 23 if rows > 4 else 127
    count = _prime(max(distinct or default, layers, _SMALLEST))
    library = (_tiles if tiled else _bands)(count, rows, columns, (height, width), dtype, seed)
    encode = encoder(frame)
    encoded = [encode(piece) for piece in library]
    row, column = np.arange(-(-height // rows)), np.arange(-(-width // columns))
    files = {}
    for number in range(layers):
        if tiled:
            order = _tile_order(number, row[:, None], column, count, seed).ravel()
        else:
            order = _pick(number, row, 0, count)
        per_segment = height if whole_strip else 1
        files[f"{number:0{pad}d}.tif"] = tiff_file(frame, encoded, order, per_segment=per_segment)
    return TrueScaleSegment(height, width, layers, files, library, seed)


def _pick(
    layer: int, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64] | int, count: int
) -> npt.NDArray[np.int64]:
    """Return which piece of the library lies where.

    The quotients keep the pattern from repeating after ``count`` rows or columns.
    """
    at_row = _ROW_STEP * row + row // count
    at_column = _COLUMN_STEP * column + column // count
    return (at_row + at_column + _LAYER_STEP * layer) % count


def _tile_order(
    layer: int,
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    count: int,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Return which tile lies where; number ``count`` is the empty one, in all layers alike."""
    square = hash_grid(row // _EMPTY_SQUARE, column // _EMPTY_SQUARE, seed)
    empty = square < np.uint64(_EMPTY_SHARE * 2**64)
    return np.where(empty, count, _pick(layer, row, column, count))


def _bands(
    count: int, rows: int, columns: int, size: tuple[int, int], dtype: str, seed: int
) -> npt.NDArray[Any]:
    """Return ``count`` bands of papyrus, ``(count, rows, columns)``: layers of a few places."""
    groups = -(-count // _DEPTH)
    tall = max(size[0], groups * rows + 64)
    papyrus = Phantom(tall, columns, layers=_DEPTH, dtype=dtype, seed=seed, text=None)
    first = (tall - groups * rows) // 2
    out = np.empty((count, rows, columns), dtype)
    for group in range(groups):
        y, start = first + group * rows, group * _DEPTH
        numbers = range(min(_DEPTH, count - start))
        out[start : start + len(numbers)] = papyrus.read((y, y + rows, 0, columns), numbers)
    return out


def _tiles(
    count: int, rows: int, columns: int, size: tuple[int, int], dtype: str, seed: int
) -> npt.NDArray[Any]:
    """Return ``count`` tiles of papyrus and an empty one, ``(count + 1, rows, columns)``."""
    tall, wide = max(size[0], 8 * rows), max(size[1], 8 * columns)
    papyrus = Phantom(tall, wide, layers=_DEPTH, dtype=dtype, seed=seed, text=None)
    out = np.zeros((count + 1, rows, columns), dtype)
    done = attempt = 0
    while done < count:
        at_y, at_x = (int(v) for v in hash_grid([attempt, attempt], [0, 1], seed))
        attempt += 1
        y, x = at_y % (tall - rows + 1), at_x % (wide - columns + 1)
        box = (y, y + rows, x, x + columns)
        if papyrus.papyrus(box).mean() < 0.3:
            continue
        found = papyrus.read(box, range(min(_DEPTH, count - done)))
        out[done : done + len(found)] = found
        done += len(found)
    return out


def _prime(least: int) -> int:
    """Return the smallest prime that is not below ``least``."""
    while any(least % k == 0 for k in range(2, math.isqrt(least) + 1)):
        least += 1
    return least
