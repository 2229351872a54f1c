"""Names of steps in dask graphs, and the steps that go to workers with a GPU alone.

What a task asks of a worker is forgotten where dask merges chains of tasks, and so are the names
by which a dashboard can be understood: graphs are optimized here without that.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

#: What the step that runs the network is called in dask graphs and on the dashboard.
PREDICT_STEP = "predict-tiles"
#: What a layer's annotation that names the device of its tasks is called.
_MARK = "s5engine-device"
#: Of a device, for each task: one runs there, and the next one is at hand when it ends.
_SHARE_OF_GPU = 0.5


def needed_resources(client: Any, device: str | None) -> dict[str, float]:
    """Return what a task that runs the network asks of a worker; nothing where none has it.

    Parameters
    ----------
    client : distributed.Client
    device : str or None
        Such as ``"cuda:0"``.
    """
    if not str(device).startswith("cuda"):
        return {}
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    there = any(worker["resources"].get("GPU") for worker in known)
    return {"GPU": _SHARE_OF_GPU} if there else {}


def named_steps(piece: da.Array, resources: dict[str, float]) -> da.Array:
    """Return the block's graph, culled and with its blockwise layers merged, but not its chains.

    Merging chains of tasks would give each a name made of all of theirs, and a dashboard on which
    no step of the line can be recognized. Nor would what a task asks of a worker survive it.
    """
    import dask.array as da
    from dask.blockwise import optimize_blockwise
    from dask.core import flatten

    keys = list(flatten(piece.__dask_keys__()))
    graph = optimize_blockwise(piece.dask, keys=keys).cull(set(keys))
    if resources:
        running = {k for k in graph.to_dict() if step_of(k).startswith(f"{PREDICT_STEP}-")}
        graph = _pinned(graph, running, piece.name, resources)
    return da.Array(graph, piece.name, piece.chunks, dtype=piece.dtype, meta=piece._meta)


def marked(device: str) -> AbstractContextManager[Any]:
    """Return a context in which the steps of lazy arrays remember that they need a CUDA device.

    For `optimize_pinned`, where somebody computes them as they are. Any other device is everywhere.
    """
    import dask

    return dask.annotate(**{_MARK: device}) if device.startswith("cuda") else nullcontext()


def optimize_pinned(graph: Any, keys: Any, *, resources: dict[str, float]) -> Any:
    """Optimize a graph as dask does for arrays, but keep the network on workers with a device.

    dask merges chains of tasks at last, and forgets what they asked for. Where a step is `marked`
    nothing is merged but blockwise layers.

    Parameters
    ----------
    graph : HighLevelGraph
    keys : list of keys
        That are wanted, nested or not.
    resources : dict of str to float
        What a marked task asks of a worker.

    Returns
    -------
    HighLevelGraph or dict
    """
    from dask.array.optimization import optimize
    from dask.blockwise import optimize_blockwise
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph

    if not isinstance(graph, HighLevelGraph) or not _marked_keys(graph):
        return optimize(graph, keys)
    wanted = set(flatten(keys))
    merged = optimize_blockwise(graph, keys=wanted).cull(wanted)
    return _pinned(merged, _marked_keys(merged), "rest", resources)


def _marked_keys(graph: HighLevelGraph) -> set[Any]:
    """Return the tasks of a graph that need a CUDA device."""
    layers = [layer for layer in graph.layers.values() if _MARK in (layer.annotations or {})]
    return {key for layer in layers for key in layer}


def _pinned(
    graph: HighLevelGraph, running: set[Any], name: str, resources: dict[str, float]
) -> HighLevelGraph:
    """Return the graph with the tasks that run the network in a layer of their own, which asks.

    What they need is a layer below, what needs them one above.
    """
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    tasks, needs = graph.to_dict(), graph.get_all_dependencies()
    below: set[Any] = set()
    todo = [need for key in running for need in needs[key]]
    while todo:
        key = todo.pop()
        if key not in below:
            below.add(key)
            todo.extend(needs[key])
    parts = {
        f"below-{name}": below - running,
        f"network-{name}": running,
        name: {*tasks} - running - below,
    }
    layers = {
        layer: MaterializedLayer(
            {key: tasks[key] for key in keys},
            annotations={"resources": resources} if keys is running else None,
        )
        for layer, keys in parts.items()
    }
    names = list(parts)
    return HighLevelGraph(layers, {layer: set(names[:n]) for n, layer in enumerate(names)})


def step_of(key: Any) -> str:
    """Return the first part of a task's key: what its array is called."""
    return str(key[0] if isinstance(key, tuple) else key)
