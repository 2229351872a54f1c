"""Compute the blocks of a lazy array one group at a time, and say when each is done.

A group bounds what dask may hold at once: its own blocks and their neighbours' borders, however
large the whole array is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from s5engine.infer.culling import Index, culled
from s5engine.infer.pinning import named_steps, needed_resources
from s5engine.model.device_thread import stop_inference
from s5engine.runtime.clients import current_client

if TYPE_CHECKING:
    import dask.array as da

#: Blocks in one group, at least; where there are many workers each gets two.
GROUP = 16


def compute_blocks(
    array: da.Array,
    indices: Sequence[Index],
    done: Callable[[Index], None],
    device: str | None = None,
) -> None:
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


def _compute_group(
    pieces: dict[Index, da.Array], done: Callable[[Index], None], device: str | None
) -> None:
    """Compute one group, each block given as an array of its own."""
    import dask

    client = current_client()
    if client is not None:
        from distributed import as_completed

        resources = needed_resources(client, device)
        steps = [named_steps(piece, resources) for piece in pieces.values()]
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


def _then(block: Any, done: Callable[[Index], None], index: Index) -> Any:
    """Call ``done`` once the block is there."""
    if block.size:
        done(index)
    return block
