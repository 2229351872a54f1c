"""Small pictures of large arrays, from a pyramid's coarse level where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.ops.reduce import block_mean

if TYPE_CHECKING:
    import xarray as xr

#: About how many rows and columns are read at a time, px.
_SQUARE = 1024


def pick_level(levels: Sequence[xr.DataArray], side: int) -> xr.DataArray:
    """Return the coarsest level whose longer side is still ``side`` px or more; else the finest."""
    fitting = [level for level in levels if max(level.shape[1:]) >= side]
    return fitting[-1] if fitting else levels[0]


def shrink(array: xr.DataArray, side: int) -> np.ndarray:
    """Return all layers or windows reduced by mean to at most ``side`` px, read square by square.

    Parameters
    ----------
    array : (n, y, x) DataArray, lazy or not
    side : int
        Longest side of the result, px.

    Returns
    -------
    (n, ⌈y / f⌉, ⌈x / f⌉) float32 ndarray
        Means of f × f pixels, f the smallest whole number that fits; at the far borders of what
        there is.
    """
    layers, height, width = array.shape
    factor = max(1, -(-max(height, width) // side))
    small = np.empty((layers, -(-height // factor), -(-width // factor)), np.float32)
    step = max(1, _SQUARE // factor)
    for y in range(0, small.shape[1], step):
        for x in range(0, small.shape[2], step):
            rows = slice(y * factor, min((y + step) * factor, height))
            columns = slice(x * factor, min((x + step) * factor, width))
            square: Any = array[:, rows, columns].values
            small[:, y : y + step, x : x + step] = block_mean(square, factor)
    return small


def count_values(array: xr.DataArray, bins: int, top: float) -> np.ndarray:
    """Return a histogram of all values in [0, top], read square by square.

    Parameters
    ----------
    array : (n, y, x) DataArray, lazy or not
    bins : int
        Of equal width; ``top`` itself falls into the last one.
    top : float
    """
    total = np.zeros(bins, np.int64)
    for y in range(0, array.shape[1], _SQUARE):
        for x in range(0, array.shape[2], _SQUARE):
            for layer in array[:, y : y + _SQUARE, x : x + _SQUARE].values:
                total += np.histogram(layer, bins=bins, range=(0, top))[0]
    return total
