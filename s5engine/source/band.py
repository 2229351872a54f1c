"""What is on its way: requests, bands, and decoded rows that belong to a later band."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from s5engine.source.decode import Pixels
from s5engine.source.read_plan import Piece, Span
from s5engine.source.transport import Buffer

Band = tuple[int, int]

#: Compressed bytes that one decoding task takes: enough to make hand-overs cheap, few enough that
#: all threads have work.
BATCH = 512 * 2**10


@dataclass
class Task:
    """One request of one layer for one band; ``span`` is None for a layer read from a spool."""

    band: int
    slot: int
    span: Span | None
    size: int
    data: Buffer = b""
    batches: int = 1


class Carried(NamedTuple):
    """Decoded pixels of one layer on their way to a later band: first row, first wanted column."""

    slot: int
    y0: int
    column: int
    pixels: Pixels

    def put(self, array: Pixels, top: int) -> None:
        """Write them into a band that begins at row ``top``."""
        height, width = self.pixels.shape
        row, column = self.y0 - top, self.column
        array[self.slot, row : row + height, column : column + width] = self.pixels


@dataclass
class BandState:
    """A band on its way: its array once there is one, what is missing, what waits for the array."""

    rows: Band
    array: Pixels | None = None
    missing: int = 0
    planned: bool = False
    arrived: list[Task] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether it can be given out."""
        return self.planned and self.missing == 0 and self.array is not None


def in_batches(pieces: list[Piece]) -> list[list[Piece]]:
    """Cut a request's pieces into runs of about `BATCH` bytes."""
    groups: list[list[Piece]] = [[]]
    size = 0
    for piece in pieces:
        if size >= BATCH:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece.size
    return groups
