"""What a run will hold at most, and the block, batch and threads that fit a budget: arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from s5engine.budget import enough_for, format_bytes
from s5engine.errors import BudgetError
from s5engine.infer.execute import GROUP
from s5engine.store.levels import INK_HEIGHTS
from s5engine.store.pyramid_plan import PyramidPlan

#: Block sizes that are tried, largest first, px.
BLOCK_SIZES = (1024, 512, 256, 128)
#: Copies of a batch of tiles beside what the network itself keeps: cut out, as floats, turned.
_BATCH_COPIES = 3
#: What libraries set up on first use: threads, code made for a kernel, codecs.
_RUNTIME = 64 * 2**20
#: Blocks become smaller than this only after fewer of them are worked on at a time, px.
_FINE_BLOCK = 512
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
    shared : bool
        Whether other processes work on blocks of the same group, and are sent their neighbours.
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
    shared: bool = False


@dataclass(frozen=True)
class InferenceMemory:
    """The sum that makes a run's projected peak.

    Attributes
    ----------
    block, batch, threads : int
        Side of a block, px, tiles per forward pass, and blocks worked on at the same time.
    base, network, source, tiles, blending, kept, pyramid : int
        Bytes: held already; the network at work on a batch; pixels of blocks in flight; their
        predictions; maps being blended; what the network keeps between batches; the coarser levels
        being made. Predicting, blending and the pyramid do not happen at the same time.
    """

    block: int
    batch: int
    threads: int
    base: int
    network: int
    source: int
    tiles: int
    blending: int
    kept: int = 0
    pyramid: int = 0

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process, bytes."""
        busy = max(self.network + self.source + self.tiles, self.kept + self.blending)
        busy = max(int(busy * (1 + _SLACK)), self.kept + self.pyramid)
        return self.base + _RUNTIME + busy

    def arithmetic(self) -> str:
        """Return the sum as text."""
        return (
            f"{format_bytes(self.base)} that the process has now + {format_bytes(_RUNTIME)} for "
            f"libraries at work + the largest of predicting "
            f"({format_bytes(self.network)} for the network at {self.batch} tiles a batch"
            f" + {format_bytes(self.source)} of pixels in blocks of {self.block} px"
            f" + {format_bytes(self.tiles)} of predictions), blending "
            f"({format_bytes(self.kept + self.blending)}), each and {_SLACK:.0%} of it for the "
            f"allocator, and the pyramid ({format_bytes(self.kept + self.pyramid)})"
            f" = {format_bytes(self.projected_peak)}"
        )


def project(
    shape: InferenceShape,
    block: int,
    batch: int,
    working_bytes: int,
    base: int,
    kept_bytes: int = 0,
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
    kept_bytes : int
        What of that it keeps when the batch is done.
    """
    rows, columns = (min(block, side) for side in (shape.height, shape.width))
    halo = shape.tile
    held = blocks_held(shape, -(-shape.height // block), -(-shape.width // block))
    stored = held * shape.layers * rows * columns * shape.itemsize
    worked = (shape.threads + 1) * 2 * shape.layers * (rows + halo) * (columns + halo)
    maps = shape.windows * (shape.tile // shape.reduction) ** 2 * 4
    block_maps = maps * -(-rows // shape.stride) * -(-columns // shape.stride)
    reach = (1 + (shape.tile / shape.stride - 1) * shape.stride / max(rows, 1)) ** 2
    planes = (2 * 4 + 2 * 4 * shape.windows) * (rows + 2 * halo) * (columns + 2 * halo)
    tile_bytes = shape.window_layers * shape.tile**2 * 4
    return InferenceMemory(
        block=block,
        batch=batch,
        threads=shape.threads,
        base=base,
        network=working_bytes + _BATCH_COPIES * batch * tile_bytes,
        source=stored + worked,
        tiles=(shape.threads + 1) * 2 * block_maps,
        # Tiles are read by dask block by block, with their neighbours' borders.
        blending=2 * held * block_maps + shape.threads * int(reach * block_maps + planes),
        kept=kept_bytes,
        pyramid=pyramid_bytes(block),
    )


def blocks_held(shape: InferenceShape, down: int, across: int) -> int:
    """Return how many blocks are held at most, for themselves and for their neighbours' borders.

    Parameters
    ----------
    shape : InferenceShape
    down, across : int
        Blocks of the volume along y and x.

    Notes
    -----
    dask takes the blocks of a group in an order in which few wait for neighbours: what it holds of
    grids of 1 to 27 rows of blocks, on 1 to 16 threads, is in ``tests/memory/test_blocks_held.py``.
    """
    group = min(shape.group, down * across)
    if shape.shared:
        # Any of them may be anywhere: a group goes down the columns, its blocks and, for their
        # borders, one more column.
        return min(group + min(down, group) + 2, down * across)
    if min(down, across) == 1:
        return min(2 * shape.threads + 1, down * across)
    return min(group + shape.threads, down * across)


def pyramid_bytes(block: int) -> int:
    """Return what the coarser levels of ink in blocks of this side take at least, bytes."""
    plans = [
        PyramidPlan(1, height, height, np.dtype(np.float32), 4 * block**2, 1, base=0, budget=0)
        for height in INK_HEIGHTS
    ]
    return min(plan.projected_peak for plan in plans)


def _ways(threads: int, fewer: bool) -> Iterator[tuple[int, int]]:
    """Yield the threads and block sizes that may be chosen, best first.

    Large blocks read fewer borders twice, so that threads are given up before blocks become small;
    but one is cut out while another waits for the network.
    """
    halved = [threads >> n for n in range(threads.bit_length())] if fewer else [threads]
    shared = [n for n in halved if n >= min(2, threads)]
    coarse = [block for block in BLOCK_SIZES if block >= _FINE_BLOCK]
    fine = [block for block in BLOCK_SIZES if block < _FINE_BLOCK]
    yield from product(shared, coarse)
    yield from product(shared, fine)
    yield from product((n for n in halved if n not in shared), BLOCK_SIZES)


def choose(
    shape: InferenceShape,
    batches: tuple[int, ...],
    working_bytes: Callable[[int], int],
    *,
    base: int,
    budget: int,
    kept_bytes: Callable[[int], int] = lambda batch: 0,
    fewer_threads: bool = False,
) -> InferenceMemory:
    """Return the best batch, threads and block, in this order, whose peak stays in the budget.

    Parameters
    ----------
    shape : InferenceShape
        With the most threads that there are.
    batches : tuple of int
        Tiles per forward pass that may be chosen, best first.
    working_bytes : callable
        Batch → bytes that the network keeps alive for it.
    base, budget : int
        Resident now, and allowed in all, bytes.
    kept_bytes : callable
        Batch → bytes of those that it keeps when a batch is done.
    fewer_threads : bool
        Whether fewer blocks may be worked on at the same time than there are threads.

    Raises
    ------
    BudgetError
        If nothing fits; with the arithmetic and the smallest budget that would do.
    """
    refused = []
    for batch in batches:
        for threads, block in _ways(shape.threads, fewer_threads):
            memory = project(
                replace(shape, threads=threads),
                block,
                batch,
                working_bytes(batch),
                base,
                kept_bytes(batch),
            )
            if memory.projected_peak <= budget:
                return memory
            refused.append(memory)
    least = min(refused, key=lambda memory: memory.projected_peak)
    raise BudgetError(
        f"The run does not fit into {format_bytes(budget)}: {least.arithmetic()}.",
        f"Give a budget of at least {enough_for(least.projected_peak)}, fewer windows, or a "
        "smaller batch.",
    )
