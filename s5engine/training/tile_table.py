"""Which tiles of a part are worth training on: arithmetic on its masks, band by band.

The rules are those of the 2025 system. Two facts make them cheap. Reducing to a quarter by nearest
neighbour (skimage's ``resize`` with order 0) takes pixel 4 i + 2 of each axis; tiles begin at
multiples of 4, so a tile's reduced map is a cut from the part's, which is made once. And a tile is
all papyrus if all cells of a grid are that both its size and the stride are multiples of. Padding
the part with zeros, as 2025 did, adds no tile: a tile that reaches into it is not all papyrus.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.source.mask_rows import Mask

#: The network's answer, and so label and keep, have a quarter of the tile's side.
REDUCTION = 4
#: Rows of a band are about this many: turning colours to gray takes 40 bytes a pixel.
_BAND = 64

Ints = npt.NDArray[np.int64]
Bands = Iterable[tuple[int, Mask]]


@dataclass(frozen=True)
class TileRules:
    """Where tiles may lie and which are taken.

    Parameters
    ----------
    tile, stride : int
        Size and step, px; multiples of 4.
    min_keep : int
        The least share of a tile that is kept, percent.

    Raises
    ------
    InvalidArgumentError
        If these do not fit.
    """

    tile: int = 128
    stride: int = 64
    min_keep: int = 5

    def __post_init__(self) -> None:
        for name, value in (("tile size", self.tile), ("stride", self.stride)):
            if value < REDUCTION or value % REDUCTION:
                raise InvalidArgumentError(
                    f"The {name} of {value} px is not a positive multiple of {REDUCTION}, by which "
                    "labels are reduced.",
                    "The usual tile is 128 px, the usual stride 64 px.",
                )
        if not 0 <= self.min_keep <= 100:
            raise InvalidArgumentError(f"min_keep is 0…100 percent, not {self.min_keep}.")

    @property
    def cell(self) -> int:
        """Side of the largest cells that every tile is made of, px."""
        return math.gcd(self.tile, self.stride)

    @property
    def band(self) -> int:
        """Rows of a band: whole cells."""
        return -(-_BAND // self.cell) * self.cell

    def origins(self, length: int) -> Ints:
        """Return where tiles begin along an axis of ``length`` px."""
        return np.arange(0, length - self.tile + 1, self.stride, dtype=np.int64)


@dataclass(frozen=True)
class TileTable:
    """The tiles of one part, from top to bottom and left to right.

    Attributes
    ----------
    y, x : ndarray
        First row and column in the part, px.
    ink_percent, ignore_percent : ndarray
        Share of ink and of ignored pixels on the reduced maps, 0…100.
    on_grid, on_papyrus : int
        How many tiles the grid has, and how many of them are all papyrus.
    """

    y: Ints
    x: Ints
    ink_percent: Ints
    ignore_percent: Ints
    on_grid: int
    on_papyrus: int


def reduce_map(bands: Bands, shape: tuple[int, int]) -> Mask:
    """Return a mask of ``shape`` (y, x) px at a quarter of its size: pixel 4 i + 2 of each axis.

    Bands begin at multiples of 4. A rest of fewer than 3 rows or columns has no pixel.
    """
    middle = REDUCTION // 2
    height, width = ((n - middle + REDUCTION - 1) // REDUCTION for n in shape)
    reduced = np.zeros((height, width), np.bool_)
    for y0, band in bands:
        taken = band[middle::REDUCTION, middle::REDUCTION]
        reduced[y0 // REDUCTION :][: len(taken)] = taken
    return reduced


def full_cells(bands: Bands, shape: tuple[int, int], cell: int) -> Mask:
    """Return which whole cells of ``cell`` × ``cell`` px are 1 everywhere.

    Bands begin at multiples of ``cell``. What is less than a cell at the far borders is left out.
    """
    rows, columns = (n // cell for n in shape)
    full = np.zeros((rows, columns), np.bool_)
    for y0, band in bands:
        whole = len(band) // cell
        cut = band[: whole * cell, : columns * cell].reshape(whole, cell, columns, cell)
        full[y0 // cell :][:whole] = cut.all(axis=(1, 3))
    return full


def window_sums(values: npt.NDArray[np.generic], side: int, step: int) -> npt.NDArray[np.int32]:
    """Return the sums of all ``side`` × ``side`` windows at multiples of ``step``, cumulated.

    The result has one entry for each window that lies inside.
    """
    sums: npt.NDArray[np.int32] = values.astype(np.int32)
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis] - side + 1, step)
        zero = np.zeros([1 if i == axis else n for i, n in enumerate(sums.shape)], np.int32)
        total = np.concatenate([zero, np.cumsum(sums, axis=axis, dtype=np.int32)], axis=axis)
        sums = total.take(starts + side, axis) - total.take(starts, axis)
    return sums


def find_tiles(
    label: Mask, keep: Mask, full: Mask, shape: tuple[int, int], rules: TileRules
) -> TileTable:
    """Return the tiles that are all papyrus and of which enough is kept.

    Parameters
    ----------
    label, keep : (y/4, x/4) ndarray of bool
        From `reduce_map`; the label is 0 where nothing is kept.
    full : (y/cell, x/cell) ndarray of bool
        From `full_cells` of the papyrus mask.
    shape : (int, int)
        Of the part, px.
    rules : TileRules
    """
    ys, xs = (rules.origins(n) for n in shape)
    if not len(ys) or not len(xs):
        none = np.empty(0, np.int64)
        return TileTable(none, none, none, none, 0, 0)
    count = rules.tile // rules.cell
    papyrus = window_sums(full, count, rules.stride // rules.cell) == count**2
    side, step = rules.tile // REDUCTION, rules.stride // REDUCTION
    # Grids of the reduced maps may have one more window than fits into the part.
    cut = (slice(len(ys)), slice(len(xs)))
    ink = 100 * window_sums(label, side, step)[cut].astype(np.int64) // side**2
    kept = 100 * window_sums(keep, side, step)[cut].astype(np.int64) // side**2
    row, column = np.nonzero(papyrus & (kept >= rules.min_keep))
    return TileTable(
        y=ys[row],
        x=xs[column],
        ink_percent=ink[row, column],
        ignore_percent=100 - kept[row, column],
        on_grid=papyrus.size,
        on_papyrus=int(papyrus.sum()),
    )


def covered_cells(y: Ints, x: Ints, shape: tuple[int, int], rules: TileRules) -> Mask:
    """Return which cells lie under tiles, (y/cell, x/cell) rounded up."""
    cell, count = rules.cell, rules.tile // rules.cell
    rows, columns = (-(-n // cell) for n in shape)
    origins = np.zeros((rows + count - 1, columns + count - 1), np.bool_)
    origins[y // cell + count - 1, x // cell + count - 1] = True
    covered: Mask = window_sums(origins, count, 1) > 0
    return covered
