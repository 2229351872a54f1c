"""Tile predictions → ink: overlapping tiles weighted by the taper, divided by the weights' sum.

Tiles are added in raster order, so that a pixel sees the same additions in the same order however
the volume is cut into blocks: the ink is the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s5engine.geometry import TileAxis
from s5engine.infer.taper import Taper, taper_weights
from s5engine.infer.tiles import owned


@dataclass(frozen=True)
class BlendTask:
    """What every block does alike.

    Parameters
    ----------
    y, x : TileAxis
        The global grid along both axes.
    step_y, step_x : int
        Distance between block starts, px.
    taper : {"gaussian", "hann", "uniform"}
    """

    y: TileAxis
    x: TileAxis
    step_y: int
    step_x: int
    taper: Taper


def block_origins(axis: TileAxis, step: int, index: int, count: int) -> tuple[np.ndarray, int]:
    """Return where the tiles that reach into a block lie, relative to it, and the block's length.

    These are the tiles of the block before that reach over its end, then the block's own.
    """
    mine = owned(axis, step, index, count)
    first = max(mine.start - (axis.tile // axis.stride - 1), 0) if index else mine.start
    length = axis.length - index * step if index == count - 1 else step
    return axis.origins[first : mine.stop] - index * step, length


def blend_block(
    tiles: np.ndarray,
    *,
    task: BlendTask,
    block_id: tuple[int, ...],
    num_blocks: tuple[int, int],
) -> np.ndarray:
    """Return the ink of one block.

    Parameters
    ----------
    tiles : (windows, tile_y, tile_x, P/4, P/4) ndarray
        The block's tiles and those before it that reach into it; NaN where skipped.
    task : BlendTask
    block_id : tuple of int
        Position of the block (window, y, x, …).
    num_blocks : tuple of int
        Number of blocks (y, x).

    Returns
    -------
    (windows, h, w) float32 ndarray
        Ink in [0, 1]; 0 where no tile lies.
    """
    ys, height = block_origins(task.y, task.step_y, block_id[1], num_blocks[0])
    xs, width = block_origins(task.x, task.step_x, block_id[2], num_blocks[1])
    weights = taper_weights(task.taper, task.y.tile)
    ink = np.empty((len(tiles), height, width), np.float32)
    for window, maps in enumerate(tiles):
        ink[window] = blend_box(maps, ys, xs, weights, (height, width))
    return ink


def blend_box(
    maps: np.ndarray, ys: np.ndarray, xs: np.ndarray, weights: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Add the maps of one window in raster order and divide by the sum of their weights.

    Parameters
    ----------
    maps : (tile_y, tile_x, P/4, P/4) ndarray
        All tiles that reach into the box; NaN where skipped.
    ys, xs : (tile_y,), (tile_x,) int ndarrays
        Their first pixels, from the box's corner: more than a tile's side before it for none.
    weights : (P, P) float32 ndarray
        The taper.
    shape : (h, w)
        Of the box, px.

    Returns
    -------
    (h, w) float32 ndarray
        Ink in [0, 1]; 0 where no tile lies.
    """
    # A margin of one tile on every side: tiles that reach out of the box need no cutting.
    tile = len(weights)
    cells = maps.shape[-1]
    scale = tile // cells
    weights4 = weights.reshape(cells, scale, cells, scale)
    total = np.zeros((shape[0] + 2 * tile, shape[1] + 2 * tile), np.float32)
    norm = np.zeros_like(total)
    part = np.empty((cells, scale, cells, scale), np.float32)
    flat = part.reshape(tile, tile)
    active = ~np.isnan(maps[:, :, 0, 0])
    for i, j in np.argwhere(active):
        # Enlarged by repetition: each cell of the map meets scale × scale weights.
        np.multiply(maps[i, j][:, None, :, None], weights4, out=part)
        y, x = ys[i] + tile, xs[j] + tile
        total[y : y + tile, x : x + tile] += flat
        norm[y : y + tile, x : x + tile] += weights
    inner = (slice(tile, tile + shape[0]), slice(tile, tile + shape[1]))
    covered = norm[inner] > 0
    return np.divide(total[inner], norm[inner], out=np.zeros(shape, np.float32), where=covered)
