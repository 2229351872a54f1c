"""What a run will hold at most, and the block and batch that fit a budget."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s5engine.budget import current_rss, format_bytes, resolve_budget
from s5engine.errors import BudgetError
from s5engine.infer.arguments import choose_batches
from s5engine.infer.execute import GROUP, current_client, group_size

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.model.ink_model import InkModel

#: Block sizes that are tried, largest first, px.
BLOCK_SIZES = (1024, 512, 256, 128)
#: Copies of a batch of tiles beside what the network itself keeps: cut out, as floats, turned.
_BATCH_COPIES = 3
#: Values that a network of unknown inside is taken to keep for each value of its input.
_VALUES_OF_A_CALLABLE = 16
#: The batch at which a network is counted; others cost in proportion.
_COUNTED_BATCH = 2
#: What libraries set up on first use: threads, code made for a kernel, codecs.
_RUNTIME = 64 * 2**20
#: What a worker process holds before it has loaded a network.
_WORKER_BASE = 300 * 2**20
#: Share of what comes and goes that the allocator keeps back, beside what is in use.
_SLACK = 0.25


@dataclass(frozen=True)
class InferenceShape:
    """What the memory of a run depends on, but for block and batch.

    Parameters
    ----------
    layers : int
        Layers that are read.
    windows : int
        Maps for each pixel: layer windows, twice as many with their spread.
    tile, stride : int
        Tile and step, px.
    reduction : int
        Input pixels per ink pixel along a side.
    window_layers : int
        Layers of a tile.
    threads : int
        Blocks that are worked on at the same time.
    height, width : int
        The volume, px: no block is larger.
    itemsize : int
        Bytes of a pixel of the volume as it is stored.
    group : int
        Blocks that dask is given at a time for this process.
    """

    layers: int
    windows: int
    tile: int
    stride: int
    reduction: int
    window_layers: int
    threads: int
    height: int
    width: int
    itemsize: int = 1
    group: int = GROUP


@dataclass(frozen=True)
class InferenceMemory:
    """The sum that makes a run's projected peak.

    Attributes
    ----------
    block, batch : int
        Side of a block, px, and tiles per forward pass.
    base, network, source, tiles, blending : int
        Bytes: held already; the network at work on a batch; pixels of blocks in flight; their
        predictions; maps being blended. Predicting and blending do not happen at the same time.
    """

    block: int
    batch: int
    base: int
    network: int
    source: int
    tiles: int
    blending: int

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process, bytes."""
        busy = max(self.network + self.source + self.tiles, self.blending)
        return self.base + _RUNTIME + int(busy * (1 + _SLACK))

    def arithmetic(self) -> str:
        """Return the sum as text."""
        return (
            f"{format_bytes(self.base)} that the process has now + {format_bytes(_RUNTIME)} for "
            f"libraries at work + the larger of predicting "
            f"({format_bytes(self.network)} for the network at {self.batch} tiles a batch"
            f" + {format_bytes(self.source)} of pixels in blocks of {self.block} px"
            f" + {format_bytes(self.tiles)} of predictions) and blending "
            f"({format_bytes(self.blending)}), and {_SLACK:.0%} of that for the allocator"
            f" = {format_bytes(self.projected_peak)}"
        )


def project(
    shape: InferenceShape, block: int, batch: int, working_bytes: int, base: int
) -> InferenceMemory:
    """Return the projected memory of one process.

    Parameters
    ----------
    shape : InferenceShape
    block, batch : int
        Side of a block, px, and tiles per forward pass.
    working_bytes : int
        What the network keeps alive for such a batch, bytes.
    base : int
        Resident now, bytes.
    """
    rows, columns = (min(block, side) for side in (shape.height, shape.width))
    halo = shape.tile
    blocks = -(-shape.height // block) * -(-shape.width // block)
    group = min(shape.group, blocks)
    # A group goes down a column: its blocks and, for their halos, those of the next column.
    stored = min(2 * (group + 1), blocks) * shape.layers * rows * columns * shape.itemsize
    worked = (shape.threads + 1) * 2 * shape.layers * (rows + halo) * (columns + halo)
    maps = shape.windows * (shape.tile // shape.reduction) ** 2 * 4
    block_maps = maps * -(-rows // shape.stride) * -(-columns // shape.stride)
    reach = (1 + (shape.tile / shape.stride - 1) * shape.stride / max(rows, 1)) ** 2
    planes = (2 * 4 + 2 * 4 * shape.windows) * (rows + 2 * halo) * (columns + 2 * halo)
    tile_bytes = shape.window_layers * shape.tile**2 * 4
    return InferenceMemory(
        block=block,
        batch=batch,
        base=base,
        network=working_bytes + _BATCH_COPIES * batch * tile_bytes,
        source=stored + worked,
        tiles=(shape.threads + 1) * 2 * block_maps,
        # Tiles are read by dask block by block, with their neighbours' borders.
        blending=int(2 * (group + 1) * block_maps)
        + shape.threads * int(reach * block_maps + planes),
    )


def choose(
    shape: InferenceShape,
    batches: tuple[int, ...],
    working_bytes: Callable[[int], int],
    *,
    base: int,
    budget: int,
) -> InferenceMemory:
    """Return the largest block, and at it the largest batch, whose peak stays in the budget.

    Parameters
    ----------
    shape : InferenceShape
    batches : tuple of int
        Tiles per forward pass that may be chosen, best first.
    working_bytes : callable
        Batch → bytes that the network keeps alive for it.
    base, budget : int
        Resident now, and allowed in all, bytes.

    Raises
    ------
    BudgetError
        If nothing fits; with the arithmetic and the smallest budget that would do.
    """
    refused = []
    for batch in batches:
        for block in BLOCK_SIZES:
            memory = project(shape, block, batch, working_bytes(batch), base)
            if memory.projected_peak <= budget:
                return memory
            refused.append(memory)
    least = min(refused, key=lambda memory: memory.projected_peak)
    # A little more than the sum: the process will not be exactly as large at the next start.
    enough = -(-least.projected_peak * 21 // 20) // 2**20 + 1
    raise BudgetError(
        f"The run does not fit into {format_bytes(budget)}: {least.arithmetic()}.",
        f'Give a budget of at least "{enough} MiB", fewer windows, or a smaller batch.',
    )


def plan_memory(
    volume: xr.DataArray,
    model: InkModel,
    *,
    maps: int,
    stride: int,
    batch: int | None,
    budget: int | str | None,
) -> InferenceMemory:
    """Return the memory of predicting a volume, with the block and batch that fit the budget.

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
        layers=volume.sizes["layer"], windows=maps, tile=model.tile, stride=stride,
        reduction=model.reduction, window_layers=model.layers,
        threads=max(workers, default=dask_threads()),
        height=volume.sizes["y"], width=volume.sizes["x"], itemsize=volume.dtype.itemsize,
        # Workers share a group, not always evenly.
        group=-(-group_size()[1] // len(workers)) + 1 if len(workers) > 1 else GROUP,
    )  # fmt: skip
    base, allowed = current_rss(), resolve_budget(budget)
    if workers:  # this process only waits for them
        base, allowed = _WORKER_BASE + weight_bytes(model), (allowed - base) // len(workers)
    return choose(
        shape, choose_batches(model, batch), functools.partial(working_bytes, model),
        base=base, budget=allowed,
    )  # fmt: skip


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
    alive = cost.working_bytes * -(-batch // _COUNTED_BATCH)
    if model.backend == "openvino":
        from s5engine.model import openvino_backend

        return openvino_backend.working_bytes(cost.weight_bytes, alive)
    return alive


def dask_threads() -> int:
    """Return how many blocks dask works on at the same time in this process."""
    import dask

    return int(dask.config.get("num_workers", None) or os.cpu_count() or 1)
