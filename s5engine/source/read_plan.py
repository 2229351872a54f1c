"""Which bytes of a layer are fetched for a band of rows, and in which requests: arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from s5engine.source.grid import SegmentGrid

#: Neighbouring segments with at most this many unwanted bytes between them come in one request…
MERGE_GAP = 64 * 2**10
#: … up to this size…
MERGE_SIZE = 8 * 2**20
#: … while what is not wanted stays below this share of it.
MERGE_WASTE = 0.04


class Piece(NamedTuple):
    """Bytes that belong together: a compressed segment, or rows of an uncompressed one.

    ``start``, ``size``: bytes in the file. ``segment``: the strip or tile. ``y0``, ``y1``: image
    rows that it yields.
    """

    start: int
    size: int
    segment: int
    y0: int
    y1: int


@dataclass
class Span:
    """One request: bytes ``start``…``stop`` of a file, and the pieces in it."""

    start: int
    stop: int
    pieces: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return self.stop - self.start


def compressed_pieces(
    grid: SegmentGrid, band: tuple[int, int], x0: int, x1: int, first_row: int = 0
) -> Iterator[Piece]:
    """Yield the segments that a band touches, in file order, none above ``first_row``."""
    y0, y1 = band
    indices = grid.touched(y0, y1, x0, x1, first_row)
    indices = indices[grid.sizes[indices] > 0]
    indices = indices[grid.offsets[indices].argsort(kind="stable")]
    starts, sizes = grid.offsets[indices].tolist(), grid.sizes[indices].tolist()
    columns, height = grid.columns, grid.seg_height
    for index, start, size in zip(indices.tolist(), starts, sizes, strict=True):
        top = index // columns * height
        yield Piece(start, size, index, max(top, y0), min(top + height, grid.height))


def raw_pieces(
    grid: SegmentGrid, itemsize: int, band: tuple[int, int], x0: int, x1: int
) -> Iterator[Piece]:
    """Yield the byte ranges of uncompressed rows, cut to the wanted columns where that saves."""
    y0, y1 = band
    pitch = grid.seg_width * itemsize
    for index in grid.touched(y0, y1, x0, x1).tolist():
        if grid.sizes[index] == 0:
            continue
        row, column = divmod(index, grid.columns)
        top, left = row * grid.seg_height, column * grid.seg_width
        c0, c1 = max(x0 - left, 0), min(x1 - left, grid.seg_width)
        first, last = max(y0, top), min(y1, top + grid.seg_height)
        step = 1 if pitch - (c1 - c0) * itemsize > MERGE_GAP else max(1, MERGE_SIZE // pitch)
        base = int(grid.offsets[index]) + c0 * itemsize
        for a in range(first, last, step):
            b = min(a + step, last)
            size = (b - a - 1) * pitch + (c1 - c0) * itemsize
            yield Piece(base + (a - top) * pitch, size, index, a, b)


def plan_spans(
    grid: SegmentGrid,
    compressed: bool,
    itemsize: int,
    band: tuple[int, int],
    columns: tuple[int, int],
    first_row: int = 0,
) -> list[Span]:
    """Return the requests for a band; segments above segment row ``first_row`` came before."""
    x0, x1 = columns
    if compressed:
        return merge(compressed_pieces(grid, band, x0, x1, first_row))
    # Between rows of strips lie only bytes of the same strips: their gaps are no waste.
    return merge(raw_pieces(grid, itemsize, band, x0, x1), MERGE_WASTE if grid.tiled else math.inf)


def merge(pieces: Iterable[Piece], waste: float = MERGE_WASTE) -> list[Span]:
    """Put pieces in file order into as few requests as the rules above allow."""
    spans: list[Span] = []
    useful = useless = 0
    for piece in pieces:
        end = piece.start + piece.size
        span = spans[-1] if spans else None
        if span is not None and piece.start >= span.start:
            gap = max(0, piece.start - span.stop)
            fits = gap <= MERGE_GAP and end - span.start <= MERGE_SIZE
            if fits and useless + gap <= waste * (useful + piece.size + 1):
                span.stop = max(span.stop, end)
                span.pieces.append(piece)
                useful, useless = useful + piece.size, useless + gap
                continue
        spans.append(Span(piece.start, end, [piece]))
        useful, useless = piece.size, 0
    return spans
