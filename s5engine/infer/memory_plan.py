"""The block, batch and threads of a prediction that fit its budget, on what dask uses now."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from s5engine.budget import current_rss, resolve_budget
from s5engine.errors import BudgetError
from s5engine.infer.arguments import choose_batches
from s5engine.infer.memory import (
    BLOCK_SIZES,
    InferenceMemory,
    InferenceShape,
    choose,
    pyramid_bytes,
)
from s5engine.runtime.clients import current_client, share_error, threads_here
from s5engine.store.levels import INK_HEIGHTS
from s5engine.store.pixel_source import source_of
from s5engine.store.pyramid import plan_levels
from s5engine.store.pyramid_plan import MOST_AT_ONCE

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.model.ink_model import InkModel

#: Values that a network of unknown inside is taken to keep for each value of its input.
_VALUES_OF_A_CALLABLE = 16
#: The batch at which a network is counted; others cost in proportion.
_COUNTED_BATCH = 2
#: What a worker process holds before it has loaded a network.
_WORKER_BASE = 300 * 2**20


def plan_memory(
    volume: xr.DataArray,
    model: InkModel,
    *,
    maps: int,
    stride: int,
    batch: int | None,
    budget: int | str | None,
) -> InferenceMemory:
    """Return the memory of predicting a volume: block, batch and threads that fit the budget.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
        The layers that are read.
    model : InkModel
    maps : int
        Maps for each pixel: layer windows, twice as many with their spread.
    stride : int
        Step between tiles, px.
    batch : int or None
        Tiles per forward pass; None lets the device and the budget choose.
    budget : int, str or None

    Raises
    ------
    BudgetError
        If nothing fits.
    """
    workers = _workers()
    shape = InferenceShape(
        layers=volume.sizes["layer"],
        windows=maps,
        tile=model.tile,
        stride=stride,
        reduction=model.reduction,
        window_layers=model.layers,
        threads=max(workers, default=threads_here()),
        height=volume.sizes["y"],
        width=volume.sizes["x"],
        itemsize=_itemsize(volume),
        chunk=_blocks_of(volume),
    )
    base, allowed = current_rss(), resolve_budget(budget)
    if workers:
        allowed = (allowed - waiting_bytes()) // len(workers)
        base = _WORKER_BASE + weight_bytes(model)
    try:
        chosen = choose(
            shape,
            choose_batches(model, batch),
            functools.partial(working_bytes, model),
            base=base,
            budget=allowed,
            kept_bytes=functools.partial(kept_bytes, model),
            fewer_threads=not workers,
        )
    except BudgetError as error:
        raise share_error(error, len(workers), allowed) if workers else error from None
    at_once = min(MOST_AT_ONCE, *workers) if workers else MOST_AT_ONCE
    return replace(chosen, pyramid=_pyramid_bytes(chosen, allowed, at_once))


def _itemsize(volume: xr.DataArray) -> int:
    """Return the bytes of a pixel of a volume as it is read."""
    source = source_of(volume)
    return volume.dtype.itemsize if source is None else source.itemsize


def _blocks_of(volume: xr.DataArray) -> tuple[int, int]:
    """Return the largest blocks in which a volume is read, px; one pixel if in boxes as wanted."""
    source = source_of(volume)
    if volume.chunks is None or (source is not None and not source.is_lazy):
        return 1, 1
    return max(volume.chunksizes["y"]), max(volume.chunksizes["x"])


def _pyramid_bytes(memory: InferenceMemory, budget: int, at_once: int) -> int:
    """Return what the coarser levels of the ink will take where so much is allowed, bytes."""
    held = memory.base + memory.kept
    ink = (1, memory.block, memory.block)
    levels = plan_levels(
        1,
        np.dtype(np.float32),
        ink,
        is_ink=True,
        heights=INK_HEIGHTS,
        base=held,
        budget=budget,
        threads=at_once,
    )
    return levels.projected_peak - held


def waiting_bytes() -> int:
    """Return what this process holds while workers predict, and it halves ink of a going run."""
    return current_rss() + levels_least()


def levels_least() -> int:
    """Return the bytes that a run's coarser levels may take in any case: for the lowest blocks.

    What was planned for is not refused at the end of a run because a process has grown a little.
    """
    return pyramid_bytes(BLOCK_SIZES[0])


def count_workers() -> int:
    """Return the worker processes that dask would use now: 0 where this one's threads work."""
    return len(_workers())


def _workers() -> list[int]:
    """Return the threads of each worker of the current distributed client; none without one."""
    client = current_client()
    if client is None:
        return []
    known = client.scheduler_info(n_workers=-1)["workers"]
    return [int(worker["nthreads"]) for worker in known.values()]


def weight_bytes(model: InkModel) -> int:
    """Return what a process of its own holds once it has loaded the network, bytes."""
    if model.config is None or model.device.type != "cpu":
        return 0
    from s5engine.model.cost import network_cost

    # Twice while it is rewritten for inference.
    return 2 * network_cost(model.config, _COUNTED_BATCH).weight_bytes


def working_bytes(model: InkModel, batch: int) -> int:
    """Return what the network keeps alive in this process's memory for a batch, bytes.

    Counted for networks whose sizes are known; a wrapped callable is taken to keep 16 values for
    each value of its input. On a GPU it is not this process's memory.
    """
    if model.device.type != "cpu":
        return 0
    if model.config is None:
        return batch * _VALUES_OF_A_CALLABLE * model.layers * model.tile**2 * 4
    from s5engine.model.cost import network_cost

    cost = network_cost(model.config, _COUNTED_BATCH)
    return cost.working_bytes * -(-batch // _COUNTED_BATCH)


def kept_bytes(model: InkModel, batch: int) -> int:
    """Return what of its working bytes the network keeps when a batch is done."""
    if model.device.type != "cpu" or model.config is None:
        return 0
    from s5engine.model.cost import network_cost

    return network_cost(model.config, _COUNTED_BATCH).kept_bytes * -(-batch // _COUNTED_BATCH)
