"""Cut what a few blocks of a lazy array need out of its graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dask.array as da

Index = tuple[int, ...]

#: Blocks whose part of the graph is kept at hand, about.
NEIGHBOURS = 256


class Neighbourhoods:
    """Parts of a lazy array's graph, each of some hundred blocks that lie together.

    Even culling a group out of the graph goes through all of it, so that the time of all groups
    grew with the square of their number: a group is culled out of its neighbourhood instead.

    Parameters
    ----------
    array : dask Array
        With three axes or more; blocks follow each other down columns.
    """

    def __init__(self, array: da.Array) -> None:
        self._array = array
        self._rows = max(1, array.numblocks[1])
        self._columns = max(1, NEIGHBOURS // (array.numblocks[0] * self._rows))
        self._held: tuple[set[int], da.Array] | None = None

    def around(self, indices: Sequence[Index]) -> da.Array:
        """Return the array with what these blocks and others beside them are computed from."""
        wanted = {index[2] // self._columns for index in indices}
        if self._array.npartitions <= NEIGHBOURS:
            return self._array
        if self._held is None or not wanted <= self._held[0]:
            self._held = wanted, culled(self._array, self._blocks(wanted))
        return self._held[1]

    def _blocks(self, runs: set[int]) -> list[Index]:
        """Return all blocks whose columns are in these runs of columns."""
        counts = self._array.numblocks
        columns = [x for x in range(counts[2]) if x // self._columns in runs]
        rest = (range(n) for n in counts[3:])
        return [*product(range(counts[0]), range(self._rows), columns, *rest)]


def culled(array: da.Array, indices: Sequence[Index]) -> da.Array:
    """Return the array with only what some of its blocks are computed from.

    dask works through all of a graph for each array that it optimizes: with the thousands of
    blocks of a whole segment that took it most of a second for every block.
    """
    import dask.array as da
    from dask.blockwise import optimize_blockwise
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    keys = [(array.name, *index) for index in indices]
    needed = optimize_blockwise(array.dask, keys=keys).cull(set(keys)).to_dict()
    # Culling renames layers; an array wants one that is called as it is.
    graph = HighLevelGraph({array.name: MaterializedLayer(needed)}, {array.name: set()})
    return da.Array(graph, array.name, array.chunks, dtype=array.dtype, meta=array._meta)
