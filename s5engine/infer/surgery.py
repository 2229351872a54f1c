"""Find the tile predictions inside lazy ink, and put stored ones in their place.

Ink may have been sliced or otherwise worked on by xarray's verbs: its graph still holds the step
that runs the network. A run stores that step's blocks and lets the rest of the graph read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.geometry import TileAxis
from s5engine.infer.culling import Index
from s5engine.infer.graph import BLEND_STEP
from s5engine.infer.pinning import PREDICT_STEP, step_of
from s5engine.infer.tile_array import tiles_array
from s5engine.infer.tiles import STATISTICS

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

#: What the step that reads stored predictions is called in dask graphs and on the dashboard.
READ_STEP = "read-tiles"
#: Attributes that blending adds, or that tell which statistic was blended.
_OF_BLENDING = ("taper", "statistic")


def recover_tiles(ink: xr.DataArray) -> xr.DataArray | None:
    """Return the lazy tile predictions that lazy ink is blended from, or None if there are none.

    Ink that lost its ``attrs`` on the way, or holds the network more than once, has none.
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    attrs = ink.attrs
    graph = getattr(ink.data, "dask", None)
    step = _predict_layer(graph)
    if graph is None or step is None or not {"block", "tile", "windows", "reduction"} <= set(attrs):
        return None
    layer, name = step
    axes = [
        TileAxis(attrs[side], attrs["tile"], attrs["stride"], attrs["edge"])
        for side in ("height", "width")
    ]
    size = (attrs["tile"] // attrs["reduction"],)
    inner = (size, size, (len(STATISTICS),)) if attrs.get("spread") else (size, size)
    counts = [axis.blocks(step).tiles for axis, step in zip(axes, attrs["block"], strict=True)]
    # A culled graph renames its layers, not its keys; an array wants both alike.
    whole = HighLevelGraph(
        dict(graph.layers) | {name: graph.layers[layer]},
        dict(graph.dependencies) | {name: graph.dependencies[layer]},
    )
    data = da.Array(whole, name, ((len(attrs["windows"]),), *counts, *inner), dtype=np.float32)
    return tiles_array(data, {k: v for k, v in attrs.items() if k not in _OF_BLENDING}, axes)


def needed_tiles(ink: da.Array, tiles: str | None) -> dict[Index, frozenset[Index]]:
    """Return which blocks of tile predictions each block of ink is made from.

    Parameters
    ----------
    ink : dask Array
        Ink from stored predictions, see `replace_tiles`; its graph holds no volume.
    tiles : str or None
        What the predictions are called in its graph, see `read_name`; None if it holds none.

    Returns
    -------
    dict of block index to frozenset of block index
        In the order in which ink is written: down the columns, the shorter way across a segment, so
        that neighbours that share borders come together.
    """
    from dask.core import flatten

    keys = sorted(flatten(ink.__dask_keys__()), key=lambda key: down_columns(key[1:]))
    if tiles is None:
        return {key[1:]: frozenset() for key in keys}
    needs = ink.dask.cull(set(keys)).get_all_dependencies()
    found: dict[Any, frozenset[Index]] = {}

    def below(key: Any) -> frozenset[Index]:
        if key not in found:
            mine = isinstance(key, tuple) and key[0] == tiles
            found[key] = (
                frozenset([key[1:]]) if mine else frozenset().union(*map(below, needs[key]))
            )
        return found[key]

    return {key[1:]: below(key) for key in keys}


def down_columns(index: Index) -> tuple[int, int]:
    """Return what blocks (window, y, x, …) are sorted by to go down the columns."""
    return index[2], index[1]


def replace_tiles(ink: xr.DataArray, tiles: xr.DataArray, stored: Any) -> xr.DataArray:
    """Return the same ink, made from stored predictions instead of the network's.

    The tasks that read are called as what they do, not as those that run the network.

    Parameters
    ----------
    ink, tiles : DataArray
        As `recover_tiles` took and gave them.
    stored : zarr Array
        The predictions, same shape as ``tiles``.
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    graph = ink.data.dask
    step = _predict_layer(graph)
    if step is None:
        return ink
    layer, old = step
    name = read_name(old)
    source = da.from_array(stored, chunks=tiles.chunks, name=name, inline_array=True)
    layers, needs = dict(graph.layers), dict(graph.dependencies)
    del layers[layer], needs[layer]
    layers[name], needs[name] = MaterializedLayer(source.dask.to_dict()), set()
    for above in graph.dependents[layer]:
        tasks = {key: _renamed(task, old, name) for key, task in dict(layers[above]).items()}
        layers[above] = MaterializedLayer(tasks)
        needs[above] = needs[above] - {layer} | {name}
    data = da.Array(
        HighLevelGraph(layers, needs), ink.data.name, ink.data.chunks, dtype=ink.data.dtype
    )
    return ink.copy(data=data)


def read_name(tiles: str) -> str:
    """Return what stored predictions are called in a graph, in place of those to be made."""
    return f"{READ_STEP}-{tiles.rpartition('-')[2]}"


def _renamed(task: Any, old: str, new: str) -> Any:
    """Return a task that needs the blocks of another array."""
    if hasattr(task, "substitute"):  # what a layer of dask's is made of
        needs = {key: (new, *key[1:]) for key in task.dependencies if step_of(key) == old}
        return task.substitute(needs)
    if isinstance(task, tuple | list):  # what overlaps are still made of
        if task and isinstance(task, tuple) and task[0] == old:
            return (new, *task[1:])
        return type(task)(_renamed(piece, old, new) for piece in task)
    return task


def verbs_after_blend(ink: da.Array) -> list[str]:
    """Return what was done to ink after it was blended, other than cutting and rechunking.

    Parameters
    ----------
    ink : dask Array
        Lazy ink.

    Returns
    -------
    list of str
        The verbs by the names that dask gives them, such as ``"rsub"``; empty if the ink holds no
        blending step.
    """
    graph = getattr(ink, "dask", None)
    needs = getattr(graph, "dependencies", {})
    blended = [name for name in needs if name.startswith(f"{BLEND_STEP}-")]
    if not blended:
        return []
    before, todo = set(), blended
    while todo:
        name = todo.pop()
        if name not in before:
            before.add(name)
            todo.extend(needs[name])
    verbs = [name.rpartition("-")[0] for name in needs if name not in before]
    return [verb for verb in verbs if not verb.startswith(("getitem", "rechunk"))]


def _predict_layer(graph: Any) -> tuple[str, str] | None:
    """Return the name of the graph's layer that runs the network, and of its keys."""
    layers = getattr(graph, "layers", {})
    names = [name for name in layers if name.startswith(f"{PREDICT_STEP}-")]
    if len(names) != 1:
        return None
    key = next(iter(layers[names[0]].get_output_keys()), None)
    return None if key is None else (names[0], key[0])
