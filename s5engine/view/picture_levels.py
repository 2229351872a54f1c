"""Levels of a pyramid, cut in tiles that are read one by one; coarser ones are made up if missing.

A store without coarser levels, or a run that is still going, is shown as well: what lies above its
coarsest level is averaged from it when a tile is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.ops.reduce import block_mean

if TYPE_CHECKING:
    import xarray as xr

Pixels = npt.NDArray[Any]

#: Least side of a tile, in pixels of the level that is read, where its chunks are smaller.
TILE = 512
#: The same where a chunk holds so many planes or more, because all of them are decoded.
DEEP_TILE, DEEP = 256, 8
#: A picture whose longer side is at most this needs no coarser level, px.
COARSE_ENOUGH = 512


@dataclass(frozen=True)
class Level:
    """One level (plane, y, x): stored, or averaged from a stored one while it is read.

    Attributes
    ----------
    data : (plane, y, x) dask array
        The stored level.
    stored : float
        Segment pixels along a pixel of ``data``.
    further : int
        Pixels of ``data`` along a pixel of this level; 1 where it is stored.
    side : (int, int)
        Rows and columns of a tile, in pixels of this level.
    depth : int
        Planes that lie in one chunk, and are decoded together.
    """

    data: Any
    stored: float
    further: int
    side: tuple[int, int]
    depth: int = 1

    @property
    def reduction(self) -> float:
        """Segment pixels along a pixel of this level."""
        return self.stored * self.further

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; the last ones may stand for fewer pixels."""
        height, width = self.data.shape[1:]
        return -(-height // self.further), -(-width // self.further)

    def read(self, planes: slice, tile: tuple[int, int], count: int = 1) -> Pixels:
        """Return tiles (plane, y, x) of some planes, in the stored type or averaged as float32.

        Parameters
        ----------
        planes : slice
        tile : (row, column)
            Of the grid of tiles.
        count : int
            So many tiles from there to the right: one long read is faster than several short ones.
        """
        spans = [
            slice(index * side * self.further, (index + length) * side * self.further)
            for index, length, side in zip(tile, (1, count), self.side, strict=True)
        ]
        block = np.asarray(self.data[(planes, *spans)].compute(scheduler="synchronous"))
        return block if self.further == 1 else block_mean(block, self.further)


def levels_of(
    pyramid: Sequence[xr.DataArray], chunks: Sequence[tuple[int, int, int]] = ()
) -> list[Level]:
    """Return the levels of an opened pyramid, finest first, with those that it lacks.

    Parameters
    ----------
    pyramid : sequence of (plane, y, x) DataArray
        As `s5engine.store.pyramid.open_pyramid` gives them; one is enough.
    chunks : sequence of (planes, rows, columns)
        What is decoded at once of each level, where that is known to be less than a block.
    """
    levels: list[Level] = []
    for number, array in enumerate(pyramid):
        lazy = (array if array.chunks is not None else array.chunk()).data
        unit = chunks[number] if number < len(chunks) else lazy.chunksize
        stored = float(array.attrs.get("reduction", 1))
        levels.append(Level(lazy, stored, 1, _tile_side(unit, 1), int(unit[0])))
    last = levels[-1]
    unit = chunks[len(levels) - 1] if len(chunks) >= len(levels) else last.data.chunksize
    further = 2
    while max(last.data.shape[1:]) / further * 2 > COARSE_ENOUGH:
        side = _tile_side(unit, further)
        levels.append(Level(last.data, last.stored, further, side, last.depth))
        further *= 2
    return levels


def _tile_side(unit: Sequence[int], further: int) -> tuple[int, int]:
    """Return a tile's side in pixels of the level: whole chunks, about `TILE` px or more."""
    least = DEEP_TILE if unit[0] >= DEEP else TILE
    chunks = (min(int(size), 2 * TILE) for size in unit[1:])
    read = [size * max(1, least // size) for size in chunks]
    return max(1, read[0] // further), max(1, read[1] // further)
