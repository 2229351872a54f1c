"""How an ingest will go: bands of rows that fit the memory budget. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from s5engine.budget import enough_for, format_bytes
from s5engine.errors import BudgetError

#: Side of a stored chunk, px.
CHUNK = 128
#: Width of a shard, px.
SHARD_WIDTH = 1024
#: Heights that a shard may have, px, best first: higher shards are fewer files.
BAND_HEIGHTS = (1024, 512, 256, 128)
#: Rows that are fetched at a time where they are fewer than a band's, px, best first.
LOW_ROWS = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
#: More pixels than this are not held at a time, bytes: an ingest with a band of five times as much
#: was no faster, and what it took grew with the segment's width.
ENOUGH = 384 * 2**20
#: Threads that encode and write shards.
WRITERS = 2
#: Memory of one writer ÷ pixels of one shard: its compressed chunks and the file put together of
#: them (2.0 if nothing can be compressed), and what the allocator keeps.
ENCODE_COPIES = 3.0
#: Copies of a part's rows of one layer that a writer holds: cut out, and looked up.
PART_COPIES = 2


#: These rows are few enough for any segment.
_ALWAYS = LOW_ROWS[-5:]


@dataclass(frozen=True)
class BandPlan:
    """How a volume is cut into bands, and what memory that takes at most.

    Attributes
    ----------
    layers, height, width : int
        The volume's shape.
    itemsize : int
        Bytes per pixel.
    band_height : int
        Rows of a band, px. For an ingest this is the height of a shard.
    rows : int
        Rows that are fetched and held at a time: the band's, or fewer, to which its shards then
        grow. Less than a row of chunks is collected on disk until that is whole.
    ahead : int
        Times ``rows`` that are fetched while the ones before are put away.
    base, source_bytes, write_bytes : int
        Bytes that the process holds already, that reading takes beside the bands, and that
        writing takes.
    budget : int
        Bytes that may be used.
    """

    layers: int
    height: int
    width: int
    itemsize: int
    band_height: int
    rows: int
    ahead: int
    base: int
    source_bytes: int
    write_bytes: int
    budget: int

    @property
    def bands(self) -> tuple[tuple[int, int], ...]:
        """Row ranges ``(y0, y1)`` of the bands, half-open, relative to the volume."""
        return tuple(row_bands(0, self.height, self.band_height))

    @property
    def grows(self) -> bool:
        """Whether shards are written in several steps, because memory does not hold a band."""
        return self.rows < min(self.band_height, self.height)

    @property
    def collects(self) -> bool:
        """Whether rows are collected on disk, because memory does not hold a row of chunks."""
        return self.grows and self.rows < CHUNK

    @property
    def rows_written(self) -> int:
        """Rows that are written at a time: whole chunks."""
        return min(max(self.rows, CHUNK), self.band_height)

    @property
    def band_bytes(self) -> int:
        """Bytes of the most rows that are held at a time."""
        return self.layers * min(self.rows, self.height) * self.width * self.itemsize

    @property
    def projected_peak(self) -> int:
        """Largest resident memory of the process while it is at work, bytes."""
        bands = (1 + self.ahead) * self.band_bytes
        return self.base + bands + self.source_bytes + self.write_bytes

    @property
    def fits(self) -> bool:
        """Whether the projected peak stays within the budget."""
        return self.projected_peak <= self.budget

    def arithmetic(self) -> str:
        """Return the sum that makes the projected peak, as text."""
        return (
            f"{format_bytes(self.base)} that the process has now"
            f" + {1 + self.ahead} × {format_bytes(self.band_bytes)} of band"
            f" ({self.layers} layers × {min(self.rows, self.height)} rows × {self.width} px"
            f" × {self.itemsize} B)"
            f" + {format_bytes(self.source_bytes)} to read"
            f" + {format_bytes(self.write_bytes)} to write"
            f" = {format_bytes(self.projected_peak)}"
        )


#: Bytes that reading needs beside the band arrays, for a band height.
SourceBytes = Callable[[int], int]


def row_bands(y0: int, y1: int, rows: int) -> list[tuple[int, int]]:
    """Cut the rows ``y0``…``y1`` into bands of ``rows``, the last one of what remains."""
    return [(y, min(y + rows, y1)) for y in range(y0, y1, rows)]


def in_flight(budget: int) -> int:
    """Return the compressed bytes that may be on their way: little of the budget, and enough."""
    return max(4 * 2**20, min(64 * 2**20, budget // 16))


def choose_bands(
    shape: tuple[int, int, int],
    itemsize: int,
    *,
    budget: int,
    base: int,
    source_bytes: SourceBytes = lambda rows: 0,
    band_height: int | None = None,
) -> BandPlan:
    """Choose the highest bands of whole shards whose projected peak stays within the budget.

    One band is fetched while another is written. Where two bands do not fit, or hold more pixels
    than are of use, fewer rows are fetched at a time and collected on disk. So the peak does not
    grow with the width, once a band is large.

    Parameters
    ----------
    shape : (layers, height, width)
        The volume, px.
    itemsize : int
        Bytes per pixel.
    budget, base : int
        Bytes that may be used in all, and that the process holds already.
    source_bytes : callable
        ``rows`` → bytes that reading bands of so many rows takes beside their arrays.
    band_height : int, optional
        The height that an interrupted ingest began with, and therefore keeps.

    Raises
    ------
    BudgetError
        If not even single rows fit; with the arithmetic and the smallest budget that would do.
    """
    shard_row, row_bytes = (shape[0] * width * itemsize for width in (SHARD_WIDTH, shape[2]))
    heights = BAND_HEIGHTS if band_height is None else (band_height,)
    # Many rows at a time are worth more than high shards, and these more than no second copy.
    choices = [
        (height, rows, 1)
        for rows in (heights[0], *LOW_ROWS)
        for height in heights
        if rows <= height and (rows in _ALWAYS or min(rows, shape[1]) * row_bytes <= ENOUGH)
    ]
    plans = _plans(
        shape,
        itemsize,
        choices=choices,
        budget=budget,
        base=base,
        source_bytes=source_bytes,
        # What comes back from the disk is one copy more.
        write_bytes=lambda height, rows: int(
            WRITERS * (ENCODE_COPIES + (rows < CHUNK)) * max(rows, CHUNK) * shard_row
        ),
    )
    begun = (
        ""
        if band_height is None
        else (
            f" The store was begun with bands of {band_height} rows and keeps them, unless "
            "it is begun afresh."
        )
    )
    return _first_fitting(plans, "The ingest", begun)


def choose_split_bands(
    shape: tuple[int, int, int],
    itemsize: int,
    *,
    part_width: int,
    budget: int,
    base: int,
    source_bytes: SourceBytes = lambda rows: 0,
) -> BandPlan:
    """Choose the highest bands for cutting parts, as `choose_bands` does for shards.

    Raises
    ------
    BudgetError
        If not even bands of 16 rows, one at a time, fit.
    """
    row_bytes = shape[0] * shape[2] * itemsize
    heights = [
        rows for rows in (*BAND_HEIGHTS, 64, 32) if min(rows, shape[1]) * row_bytes <= ENOUGH
    ]
    plans = _plans(
        shape,
        itemsize,
        choices=[*((rows, rows, 1) for rows in heights), (16, 16, 1), (16, 16, 0)],
        budget=budget,
        base=base,
        source_bytes=source_bytes,
        write_bytes=lambda _, rows: WRITERS * PART_COPIES * rows * part_width * itemsize,
    )
    return _first_fitting(plans, "Cutting the parts", "")


def _plans(
    shape: tuple[int, int, int],
    itemsize: int,
    *,
    choices: Sequence[tuple[int, int, int]],
    budget: int,
    base: int,
    source_bytes: SourceBytes,
    write_bytes: Callable[[int, int], int],
) -> Iterator[BandPlan]:
    """Yield the plans of some (band height, rows at a time, times ahead), in that order."""
    for height, rows, ahead in choices:
        yield BandPlan(
            *shape,
            itemsize,
            band_height=height,
            rows=rows,
            ahead=ahead,
            base=base,
            source_bytes=source_bytes(rows),
            write_bytes=write_bytes(height, rows),
            budget=budget,
        )


def _first_fitting(plans: Iterator[BandPlan], what: str, note: str) -> BandPlan:
    refused = []
    for plan in plans:
        if plan.fits:
            return plan
        refused.append(plan)
    least = min(refused, key=lambda plan: plan.projected_peak)
    raise BudgetError(
        f"{what} does not fit into {format_bytes(least.budget)}: {least.arithmetic()}.{note}",
        f"Give a budget of at least {enough_for(least.projected_peak)}, a narrower box or fewer "
        "layers.",
    )
