"""Groups of blocks are culled out of a neighbourhood of the graph, not out of all of it."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from s5engine.infer import culling
from s5engine.infer.culling import Index, Neighbourhoods, culled
from s5engine.infer.execute import compute_blocks
from s5engine.infer.surgery import down_columns


def overlapping(rows: int, columns: int) -> da.Array:
    """Return an array whose blocks need their neighbours: what each pixel and those beside it add
    up to.
    """
    pixels = da.from_array(
        np.arange(2 * rows * columns * 16).reshape(2, rows * 4, columns * 4), chunks=(1, 4, 4)
    )
    return pixels.map_overlap(
        lambda block: block + np.roll(block, 1, 2), depth={2: 1}, boundary=0, dtype=int
    )


def groups_of(array: da.Array, size: int) -> list[list[Index]]:
    order = sorted(np.ndindex(*array.numblocks), key=down_columns)
    return [order[i : i + size] for i in range(0, len(order), size)]


@pytest.mark.parametrize("near", [1, 12, 40, 10**6])
def test_a_neighbourhood_gives_the_same_blocks(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culling, "NEIGHBOURS", near)
    array = overlapping(3, 11)
    whole, around = array.compute(), Neighbourhoods(array)
    groups = groups_of(array, 5)
    for group in [*groups, *groups[::-1]]:  # a run that goes on meets them in another order
        part = around.around(group)
        for window, y, x in group:
            there = (slice(window, window + 1), slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4))
            np.testing.assert_array_equal(part.blocks[window, y, x].compute(), whole[there])


def test_the_graph_is_gone_through_once_for_each_neighbourhood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(culling, "NEIGHBOURS", 30)
    array = overlapping(3, 40)
    sizes = []
    monkeypatch.setattr(
        culling, "culled", lambda a, i: sizes.append(len(dict(a.dask))) or culled(a, i)
    )
    around, done = Neighbourhoods(array), []
    for group in groups_of(array, 6):  # 40 of them, 8 neighbourhoods
        compute_blocks(around.around(group), group, done.append)
    assert sorted(done) == sorted(np.ndindex(*array.numblocks))
    whole = len(dict(array.dask))
    assert sizes.count(whole) == 8
    assert all(size < whole / 4 for size in sizes if size != whole)
