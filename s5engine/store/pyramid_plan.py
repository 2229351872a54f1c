"""How a pyramid will be made: blocks of one level that fit the memory budget. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s5engine.budget import enough_for, format_bytes
from s5engine.errors import BudgetError
from s5engine.store.band_plan import ENCODE_COPIES

#: Side of a chunk of a level that is read one layer at a time, px.
LEVEL_CHUNK = 256
#: Width of a block, px: that of a shard.
BLOCK_WIDTH = 1024
#: Heights that a block may have, px, best first: higher ones are fewer files.
BLOCK_HEIGHTS = (1024, 512, 256)
#: Blocks that one process makes at a time, at most.
MOST_AT_ONCE = 2
#: Chunks that zarr decodes at a time, each once as it is stored and once decoded.
CHUNKS_READ = 10
#: Resident memory ÷ memory in use: the threads that decode and encode each keep some of what they
#: have freed (measured: up to 1.05 after 500 blocks, and still growing a little).
KEPT_BY_ALLOCATOR = 1.5
#: Memory of one halving ÷ pixels that it reads, by kind and bytes: a copy with the border repeated
#: (1) and the result (¼); of real numbers row sums (½) too, and float16 is added as float32.
HALVING_COPIES = {"u": 1.25, "f4": 1.75, "f2": 4.75, "f8": 1.75}


@dataclass(frozen=True)
class PyramidPlan:
    """The blocks that a level is made in, and what memory that takes at most.

    Attributes
    ----------
    layers : int
        Layers, or windows, of one block.
    height : int
        Rows of a block, px. For a volume this is the height of a shard.
    piece : int
        Rows of a block that are read and halved at a time, px.
    dtype : dtype
        Of the pixels.
    source_chunk : int
        Bytes of a chunk that is decoded.
    threads : int
        Blocks that are made at a time.
    base, budget : int
        Bytes that each process holds already, and that it may use in all.
    """

    layers: int
    height: int
    piece: int
    dtype: np.dtype
    source_chunk: int
    threads: int
    base: int
    budget: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return self.layers * self.height * BLOCK_WIDTH * self.dtype.itemsize

    @property
    def piece_bytes(self) -> int:
        """Bytes of the pixels from which some rows of a block are made."""
        return self.layers * 2 * self.piece * 2 * BLOCK_WIDTH * self.dtype.itemsize

    @property
    def copies(self) -> float:
        """What halving some pixels takes beside them, in their own bytes."""
        kind = self.dtype.kind
        return HALVING_COPIES["u" if kind == "u" else f"{kind}{self.dtype.itemsize}"]

    @property
    def thread_bytes(self) -> int:
        """Bytes that one block takes while it is made: itself, encoded, and what it is made of."""
        block = (1 + ENCODE_COPIES) * self.block_bytes
        piece = (1 + self.copies) * self.piece_bytes
        chunks = 2 * CHUNKS_READ * self.source_chunk
        return int(KEPT_BY_ALLOCATOR * (block + piece + chunks))

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process while it is at work, bytes."""
        return self.base + self.threads * self.thread_bytes

    @property
    def fits(self) -> bool:
        """Whether the projected peak stays within the budget."""
        return self.projected_peak <= self.budget

    def arithmetic(self) -> str:
        """Return the sum that makes the projected peak, as text."""
        block, piece, chunk = map(
            format_bytes, (self.block_bytes, self.piece_bytes, self.source_chunk)
        )
        size = f"{self.layers} × {self.height} × {BLOCK_WIDTH} px × {self.dtype.itemsize} B"
        return (
            f"{format_bytes(self.base)} that the process has now"
            f" + {self.threads} × {KEPT_BY_ALLOCATOR:g} × ({1 + ENCODE_COPIES:g} × {block} of block"
            f" ({size}) + {1 + self.copies:g} × {piece} halved at a time"
            f" + {2 * CHUNKS_READ} × {chunk} of chunk) = {format_bytes(self.projected_peak)}"
        )


def plan_pyramid(
    layers: int,
    dtype: np.dtype,
    *,
    source_chunk: int,
    heights: Sequence[int],
    pieces: Sequence[int] = (),
    threads: int = MOST_AT_ONCE,
    base: int,
    budget: int,
) -> PyramidPlan:
    """Choose the highest blocks, some at a time or one, whose projected peak fits the budget.

    Parameters
    ----------
    layers, dtype, source_chunk :
        See `PyramidPlan`.
    heights : sequence of int
        Heights to choose from; one if the levels are there already.
    pieces : sequence of int
        Rows of a block that may be halved at a time, best first; all of them if none are given.
    threads : int
        Blocks that may be made at a time.
    budget, base : int
        Bytes that may be used in all, and that the process holds already.

    Raises
    ------
    BudgetError
        If not even one of the lowest blocks fits; with the arithmetic and what would do.
    """
    counts = range(threads, 0, -1)
    choices = [(h, min(p, h), t) for h in heights for p in pieces or (h,) for t in counts]
    plans = [
        PyramidPlan(layers, height, piece, dtype, source_chunk, count, base, budget)
        for height, piece, count in choices
    ]
    for plan in plans:
        if plan.fits:
            return plan
    least = min(plans, key=lambda plan: plan.projected_peak)
    raise BudgetError(
        f"The pyramid does not fit into {format_bytes(budget)}: {least.arithmetic()}.",
        f"Give a budget of at least {enough_for(least.projected_peak)}, or do without the pyramid.",
    )
