"""How large a block of the volume may be for the memory budget."""

from __future__ import annotations

import os

from s5engine.budget import format_bytes, resolve_budget
from s5engine.errors import BudgetError

#: Block sizes that are tried, largest first, px.
BLOCK_SIZES = (1024, 512, 256, 128)
#: Blocks that dask holds at once for each thread: being read, being predicted, being blended.
_BLOCKS_IN_FLIGHT = 4
#: Bytes that Python, torch and dask take before any block.
_BASE_BYTES = 600 * 2**20


def block_size(layers: int, windows: int, stride: int, budget: int | str | None) -> int:
    """Return the largest block side whose blocks in flight fit the budget, px."""
    allowed = resolve_budget(budget)
    threads = min(os.cpu_count() or 1, 8)
    for size in BLOCK_SIZES:
        # engine.md's sum for one block: pixels with halo (twice: source and merged), tile
        # predictions, and two float planes of a window being blended beside the result.
        pixels = 2 * layers * (size + 128) ** 2
        tiles = 2 * windows * 4096 * (size / stride) ** 2
        planes = (8 + 4 * windows) * (size + 256) ** 2
        peak = _BASE_BYTES + _BLOCKS_IN_FLIGHT * threads * (pixels + tiles + planes)
        if peak <= allowed:
            return size
    raise BudgetError(
        f"Blocks of {BLOCK_SIZES[-1]} px with {windows} windows at stride {stride} px need about "
        f"{format_bytes(peak)}, more than the budget of {format_bytes(allowed)}.",
        f"Raise the budget to {format_bytes(peak * 1.05)}, or run fewer windows at once.",
    )
