"""How an ingest will go: bands of rows that fit the memory budget. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from s5engine.budget import format_bytes
from s5engine.errors import BudgetError

#: Side of a stored chunk, px.
CHUNK = 128
#: Width of a shard, px.
SHARD_WIDTH = 1024
#: Heights that a shard may have, px, best first: higher shards are fewer files.
BAND_HEIGHTS = (1024, 512, 256, 128)
#: Threads that encode and write shards.
WRITERS = 2
#: Memory of one writer ÷ pixels of one shard: its encoded chunks, the file put together of
#: them, and what the allocator keeps (measured: 1.2 for pixels that do not compress).
ENCODE_COPIES = 3.0


@dataclass(frozen=True)
class IngestPlan:
    """How a volume is cut into bands, and what memory that takes at most.

    Attributes
    ----------
    layers, height, width : int
        The volume's shape.
    itemsize : int
        Bytes per pixel.
    band_height : int
        Rows of a band, which is the height of a shard, px.
    ahead : int
        Bands that are fetched while one is written.
    base, band_bytes, source_bytes, encode_bytes : int
        Bytes that the process holds already; of one band; of the source's own buffers; of the
        writers' buffers.
    budget : int
        Bytes that may be used.
    """

    layers: int
    height: int
    width: int
    itemsize: int
    band_height: int
    ahead: int
    base: int
    source_bytes: int
    budget: int

    @property
    def bands(self) -> tuple[tuple[int, int], ...]:
        """Row ranges ``(y0, y1)`` of the bands, half-open, relative to the volume."""
        starts = range(0, self.height, self.band_height)
        return tuple((y, min(y + self.band_height, self.height)) for y in starts)

    @property
    def band_bytes(self) -> int:
        """Bytes of the largest band."""
        return self.layers * min(self.band_height, self.height) * self.width * self.itemsize

    @property
    def encode_bytes(self) -> int:
        """Bytes of the writers' buffers."""
        shard = self.layers * self.band_height * SHARD_WIDTH * self.itemsize
        return int(WRITERS * ENCODE_COPIES * shard)

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process while it ingests, bytes."""
        bands = (1 + self.ahead) * self.band_bytes
        return self.base + bands + self.source_bytes + self.encode_bytes

    @property
    def fits(self) -> bool:
        """Whether the projected peak stays within the budget."""
        return self.projected_peak <= self.budget

    def arithmetic(self) -> str:
        """Return the sum that makes the projected peak, as text."""
        return (
            f"{format_bytes(self.base)} that the process has now"
            f" + {1 + self.ahead} × {format_bytes(self.band_bytes)} of band"
            f" ({self.layers} layers × {min(self.band_height, self.height)} rows × {self.width} px"
            f" × {self.itemsize} B)"
            f" + {format_bytes(self.source_bytes)} to read"
            f" + {format_bytes(self.encode_bytes)} to write"
            f" = {format_bytes(self.projected_peak)}"
        )


#: Bytes that the source needs beside the band arrays, for a band height and bands ahead.
SourceBytes = Callable[[int, int], int]


def plan_ingest(
    shape: tuple[int, int, int],
    itemsize: int,
    *,
    budget: int,
    base: int,
    source_bytes: SourceBytes = lambda rows, ahead: 0,
    band_height: Literal[1024, 512, 256, 128] | int | None = None,
) -> IngestPlan:
    """Choose the highest bands whose projected peak stays within the budget.

    One band is fetched while another is written, as long as bands of 128 rows at least fit twice;
    else one at a time.

    Parameters
    ----------
    shape : (layers, height, width)
        The volume, px.
    itemsize : int
        Bytes per pixel.
    budget, base : int
        Bytes that may be used in all, and that the process holds already.
    source_bytes : callable
        ``(rows, ahead)`` → bytes that reading such bands takes beside their arrays.
    band_height : int, optional
        The height that an interrupted ingest began with, and therefore keeps.

    Raises
    ------
    BudgetError
        If not even the smallest bands, one at a time, fit; with the arithmetic and the smallest
        budget that would do.
    """
    heights = BAND_HEIGHTS if band_height is None else (band_height,)
    choices = [(rows, ahead) for ahead in (1, 0) for rows in heights]
    # Without reading ahead only the smallest bands are worth it: a higher one fits twice if halved.
    choices = choices[: len(heights)] + choices[-1:]
    plans = [
        IngestPlan(*shape, itemsize, rows, ahead, base, source_bytes(rows, ahead), budget)
        for rows, ahead in choices
    ]
    for plan in plans:
        if plan.fits:
            return plan
    least = min(plans, key=lambda plan: plan.projected_peak)
    begun = (
        ""
        if band_height is None
        else " The store was begun with this band height; resume=False "
        "starts afresh with lower bands."
    )
    raise BudgetError(
        f"The ingest does not fit into {format_bytes(budget)}: {least.arithmetic()}.{begun}",
        f"Give a budget of at least {_rounded_up(least.projected_peak)}, or a narrower box or "
        "fewer layers.",
    )


def _rounded_up(size: int) -> str:
    """Return the size in whole MiB, rounded up, with a margin for the next start's base."""
    return f"{-(-size * 21 // 20) // 2**20 + 1} MiB"
