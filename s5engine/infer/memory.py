"""What a run will hold at most, and the block, batch and threads that fit a budget: arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from s5engine.budget import enough_for, format_bytes
from s5engine.errors import BudgetError
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
#: Of four blocks of ink that become one of the next level: themselves, and what is made of them.
_LEVEL_COPIES = 1.5
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
    chunk : (int, int)
        Blocks in which the volume is read, px along y and x.
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
    chunk: tuple[int, int] = (1024, 1024)


@dataclass(frozen=True)
class InferenceMemory:
    """The sum that makes a run's projected peak.

    Attributes
    ----------
    block, batch, threads : int
        Side of a block, px, tiles per forward pass, and blocks worked on at the same time.
    base, network, source, tiles, blending, following, kept, pyramid : int
        Bytes: held already; the network at work on a batch; pixels of blocks in flight; their
        predictions; maps being blended, in place of these; the coarser levels that follow a going
        run; what the network keeps between batches; the coarser levels that are made at the end,
        after all else.
    """

    block: int
    batch: int
    threads: int
    base: int
    network: int
    source: int
    tiles: int
    blending: int
    following: int = 0
    kept: int = 0
    pyramid: int = 0

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process, bytes."""
        busy = self.network + max(self.source + self.tiles, self.blending) + self.following
        busy = max(int(busy * (1 + _SLACK)), self.kept + self.pyramid)
        return self.base + _RUNTIME + busy

    def arithmetic(self) -> str:
        """Return the sum as text."""
        return (
            f"{format_bytes(self.base)} that the process has now + {format_bytes(_RUNTIME)} for "
            f"libraries at work + the larger of predicting "
            f"({format_bytes(self.network)} for the network at {self.batch} tiles a batch"
            f" + {format_bytes(self.source)} of pixels in blocks of {self.block} px"
            f" + {format_bytes(self.tiles)} of predictions, or {format_bytes(self.blending)} to "
            f"blend them, + {format_bytes(self.following)} for the coarser levels that follow, and "
            f"{_SLACK:.0%} of it for the allocator) and "
            f"the pyramid ({format_bytes(self.kept + self.pyramid)})"
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
    boxes = (min(rows + halo, shape.height), min(columns + halo, shape.width))
    # A box is put together from the whole blocks of the volume that it lies in.
    blocks = [
        min(-(-side // chunk) * chunk, whole)
        for side, chunk, whole in zip(boxes, shape.chunk, (shape.height, shape.width), strict=True)
    ]
    read = shape.layers * shape.itemsize * blocks[0] * blocks[1]
    box = shape.layers * boxes[0] * boxes[1]
    cells = (shape.tile // shape.reduction) ** 2 * 4
    maps = cells * -(-rows // shape.stride) * -(-columns // shape.stride)
    reach = (1 + (shape.tile / shape.stride - 1) * shape.stride / max(rows, 1)) ** 2
    planes = (2 * 4 + 2 * 4) * (rows + 2 * halo) * (columns + 2 * halo)
    tile_bytes = shape.window_layers * shape.tile**2 * 4
    return InferenceMemory(
        block=block,
        batch=batch,
        threads=shape.threads,
        base=base,
        network=working_bytes + _BATCH_COPIES * batch * tile_bytes,
        source=shape.threads * (read + 2 * box),
        tiles=shape.threads * 2 * shape.windows * maps,
        # A window at a time; tiles are decoded whole, then cut.
        blending=shape.threads * (2 * int(reach * maps) + planes),
        following=int(_LEVEL_COPIES * 4 * shape.windows * rows * columns * 4),
        kept=kept_bytes,
        pyramid=pyramid_bytes(block),
    )


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
