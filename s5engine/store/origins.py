"""Which lazy arrays are pixels of a store and nothing else, and of which store.

Opening a store notes the names of the array's graph. An array made of these and of slices alone
needs no step but reading. Nothing is put into ``attrs``: they outlive whatever is done to pixels.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

#: So many layers of graphs are remembered, the latest ones.
MOST = 4096
_PLACES: OrderedDict[str, str] = OrderedDict()
_LOCK = threading.Lock()
#: What dask calls the layer of a slice.
_SLICE = "getitem"


def remember(array: xr.DataArray, store: str | Path) -> xr.DataArray:
    """Note that an array was opened from a store; return it."""
    if array.chunks is not None:
        with _LOCK:
            for name in _names(array):
                _PLACES[name] = str(store)
                _PLACES.move_to_end(name)
            while len(_PLACES) > MOST:
                _PLACES.popitem(last=False)
    return array


def store_of(array: xr.DataArray) -> str | None:
    """Return the store whose pixels, sliced or not, an array is; None if anything is computed."""
    if array.chunks is None:
        return None
    names = _names(array)
    with _LOCK:
        places = {_PLACES[name] for name in names if name in _PLACES}
        others = [name for name in names if name not in _PLACES]
    plain = all(name.rpartition("-")[0] == _SLICE for name in others)
    return places.pop() if len(places) == 1 and plain else None


def stores_below(array: xr.DataArray) -> list[str]:
    """Return the stores that an array is made from, whatever is computed from their pixels."""
    names = [] if array.chunks is None else _names(array)
    with _LOCK:
        return sorted({_PLACES[name] for name in names if name in _PLACES})


def _names(array: xr.DataArray) -> list[str]:
    """Return the names of the arrays that a lazy one is computed from, and its own."""
    from dask.highlevelgraph import HighLevelGraph

    graph = array.data.dask
    if isinstance(graph, HighLevelGraph):
        return [str(name) for name in graph.layers]
    # An expression: its graph is a plain dictionary of tasks.
    return list({str(key[0]): None for key in graph if isinstance(key, tuple)})
