"""Coarser levels of ink that is still being written, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import InvalidArgumentError
from s5engine.lock import alone_at
from s5engine.store.halve import halve
from s5engine.store.levels import (
    create_levels,
    find_base,
    full_resolution,
    open_levels,
    resolve_store,
)

if TYPE_CHECKING:
    import zarr


def reduce_blocks(store: str | Path, places: Sequence[tuple[slice, slice]]) -> None:
    """Bring finished blocks of a run's ink into all coarser levels, so that a going run is seen.

    The levels are made at the first call and not listed in the metadata: ``open_pyramid(store,
    partial=True)`` opens them, 0 where nothing is yet. Blocks may have any size and place, and
    come in any order, from several threads or processes: once all have come, every level is what
    `write_pyramid` makes, which lists it. Many at a time cost less: a chunk of a level is made
    once for all that reaches into it.

    Parameters
    ----------
    store : str or Path
        A run's folder or its ``ink.zarr``.
    places : sequence of (rows, columns)
        What is finished, slices of pixels of the stored array (from 0), all windows.

    Raises
    ------
    InvalidArgumentError
        If the store is not ink, or a block is not inside it.
    StoreError
        If nothing is there, or it cannot be written.
    """
    base = find_base(resolve_store(store))
    boxes = []
    for rows, columns in places:
        (y0, y1, _), (x0, x1, _) = rows.indices(base.shape[1]), columns.indices(base.shape[2])
        if not base.is_ink or y0 >= y1 or x0 >= x1:
            raise InvalidArgumentError(
                f"A block of ink is reduced, not {rows} × {columns} of {base.path} {base.shape}."
            )
        boxes.append((y0, y1, x0, x1))
    if not base.shapes or not boxes:
        return
    # A file that is never replaced.
    with alone_at(base.path / base.array / "zarr.json"):
        found = open_levels(base) or create_levels(base, base.heights[0])
        source = full_resolution(base)
        for target in found[1]:
            # What reaches into a block at all: its neighbours come from the level before.
            boxes = [(y0 // 2, -(-y1 // 2), x0 // 2, -(-x1 // 2)) for y0, y1, x0, x1 in boxes]
            for rows, columns in _touched_chunks(target, boxes):
                y, x = (slice(2 * s.start, 2 * s.stop) for s in (rows, columns))
                target[:, rows, columns] = halve(np.asarray(source[:, y, x]))
            source = target


def _touched_chunks(
    array: zarr.Array[Any], boxes: Sequence[tuple[int, int, int, int]]
) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each chunk that a box reaches into, once."""
    (_, height, width), (_, high, wide) = array.shape, array.chunks
    places = {
        place
        for y0, y1, x0, x1 in boxes
        for place in product(range(y0 // high, -(-y1 // high)), range(x0 // wide, -(-x1 // wide)))
    }
    for row, column in sorted(places):
        rows = slice(row * high, min((row + 1) * high, height))
        yield rows, slice(column * wide, min((column + 1) * wide, width))
