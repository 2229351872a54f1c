"""Means of square cells of pixels, block by block: what every reduced picture is made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.generic]
Sums = npt.NDArray[Any]


class CellSums(NamedTuple):
    """What a block adds to the cells that it touches.

    Attributes
    ----------
    rows, columns : slice
        The cells, in the grid of the whole picture.
    sums : ndarray
        Of the block's pixels in each cell, in the block's own order of axes.
    counts : (rows, columns) int ndarray
        How many pixels that are.
    """

    rows: slice
    columns: slice
    sums: Sums
    counts: npt.NDArray[np.int64]


def cell_sums(
    block: Pixels,
    factor: int,
    *,
    first: tuple[int, int] = (0, 0),
    axes: tuple[int, int] = (1, 2),
    dtype: npt.DTypeLike = np.float64,
) -> CellSums:
    """Add up the pixels of each factor × factor cell that a block touches.

    Parameters
    ----------
    block : ndarray
        Part of a picture.
    factor : int
        Side of a cell, px.
    first : (y, x)
        Where the block begins in the picture, px.
    axes : (int, int)
        Which of its axes are y and x.
    dtype : dtype
        What is added in.

    Examples
    --------
    >>> found = cell_sums(np.ones((1, 3, 4)), 2, first=(1, 0))
    >>> found.sums.tolist(), found.rows
    ([[[2.0, 2.0], [4.0, 4.0]]], slice(0, 2, None))
    """
    spans, counts = [], []
    sums = block
    for axis, start in zip(axes, first, strict=True):
        cells = np.arange(start, start + block.shape[axis]) // factor
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        sums = np.add.reduceat(sums, starts, axis=axis, dtype=dtype)
        counts.append(np.diff(starts, append=block.shape[axis]))
        spans.append(slice(int(cells[0]), int(cells[-1]) + 1))
    return CellSums(spans[0], spans[1], sums, np.outer(*counts))


def block_mean(block: Pixels, factor: int) -> npt.NDArray[np.float32]:
    """Return the means of factor × factor pixels; the last ones are of what there is.

    Parameters
    ----------
    block : (n, y, x) ndarray
    factor : int

    Returns
    -------
    (n, ⌈y / factor⌉, ⌈x / factor⌉) float32 ndarray
    """
    found = cell_sums(block, factor)
    return (found.sums / found.counts).astype(np.float32)
