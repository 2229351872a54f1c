"""Compute the blocks of a lazy array one group at a time, and say when each is done.

A group bounds what dask may hold at once: its own blocks and their neighbours' borders, however
large the whole array is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from s5engine.model.owner import stop_inference
from s5engine.store.band_tasks import current_client

if TYPE_CHECKING:
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

Index = tuple[int, ...]

#: What the step that runs the network is called in dask graphs and on the dashboard.
PREDICT_STEP = "predict-tiles"
#: Of a device, for each task: one runs there, and the next one is at hand when it ends.
_SHARE_OF_GPU = 0.5
#: Blocks in one group, at least; where there are many workers each gets two.
GROUP = 16
#: Blocks whose part of the graph is kept at hand, about.
NEIGHBOURS = 256


def compute_blocks(
    array: da.Array, indices: Sequence[Index], done: Callable[[Index], None],
    device: str | None = None,
) -> None:  # fmt: skip
    """Compute some blocks of ``array`` for their effect, calling ``done`` after each.

    Runs on the current distributed client if there is one, else on the local scheduler. ``done``
    is called as soon as the block is finished, perhaps in another thread of this process.

    Parameters
    ----------
    array : dask Array
        Its blocks write what they compute, and answer something small.
    indices : sequence of tuple of int
        The wanted blocks.
    done : callable
        Gets the index of each finished block.
    device : str, optional
        Where the network runs, if one does. On CUDA its tasks go to the workers that have the
        resource ``GPU``, if there are such workers; all other tasks go anywhere.
    """
    most = group_size()[1]
    try:
        for start in range(0, len(indices), most):
            group = indices[start : start + most]
            near = culled(array, group)
            _compute_group({index: near.blocks[index] for index in group}, done, device)
    except BaseException:
        # Ctrl-C among them: what is at work in other threads ends after its present batch.
        stop_inference()
        raise


def group_size() -> tuple[int, int]:
    """Return how many blocks keep all workers busy, and how many are computed at once at most."""
    client = current_client()
    workers = 0 if client is None else len(client.scheduler_info(n_workers=-1)["workers"])
    return max(1, workers), max(GROUP, 2 * workers)


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


def _compute_group(
    pieces: dict[Index, da.Array], done: Callable[[Index], None], device: str | None
) -> None:
    """Compute one group, each block given as an array of its own."""
    import dask

    client = current_client()
    if client is not None:
        from distributed import as_completed

        resources = needed_resources(client, device)
        steps = [_named_steps(piece, resources) for piece in pieces.values()]
        computing = client.compute(steps, optimize_graph=False)
        places = {future.key: index for future, index in zip(computing, pieces, strict=True)}
        waiting = as_completed(computing)
        del computing
        try:
            for future in waiting:
                future.result()
                done(places[future.key])
                # What nobody holds is not computed again when the worker that did it dies.
                future.release()
        except BaseException:
            client.cancel(list(waiting.futures))
            raise
        return
    # Threads of this process: the last step of each block says itself that it is done.
    dask.compute(
        *(
            piece.map_blocks(_then, done, index, name=f"done-{piece.name}", dtype=piece.dtype)
            for index, piece in pieces.items()
        )
    )


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


def _named_steps(piece: da.Array, resources: dict[str, float]) -> da.Array:
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
        graph = _pinned(graph, piece.name, resources)
    return da.Array(graph, piece.name, piece.chunks, dtype=piece.dtype, meta=piece._meta)


def _pinned(graph: HighLevelGraph, name: str, resources: dict[str, float]) -> HighLevelGraph:
    """Return the graph with the tasks that run the network in a layer of their own, which asks.

    What they need is a layer below, what needs them one above.
    """
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    tasks, needs = graph.to_dict(), graph.get_all_dependencies()
    running = {key for key in tasks if _step(key).startswith(f"{PREDICT_STEP}-")}
    below: set[Any] = set()
    todo = [need for key in running for need in needs[key]]
    while todo:
        key = todo.pop()
        if key not in below:
            below.add(key)
            todo.extend(needs[key])
    parts = {
        f"below-{name}": below - running, f"network-{name}": running,
        name: {*tasks} - running - below,
    }  # fmt: skip
    layers = {
        layer: MaterializedLayer(
            {key: tasks[key] for key in keys},
            annotations={"resources": resources} if keys is running else None,
        )
        for layer, keys in parts.items()
    }
    names = list(parts)
    return HighLevelGraph(layers, {layer: set(names[:n]) for n, layer in enumerate(names)})


def _step(key: Any) -> str:
    """Return the first part of a task's key: what its array is called."""
    return str(key[0] if isinstance(key, tuple) else key)


def _then(block: Any, done: Callable[[Index], None], index: Index) -> Any:
    """Call ``done`` once the block is there."""
    if block.size:
        done(index)
    return block
