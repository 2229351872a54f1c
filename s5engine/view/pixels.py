"""The pixels of a span, put together from tiles: those that are kept, and those to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s5engine.view.cache import Kept, TileCache
from s5engine.view.pictures import Gray, Picture, Tile
from s5engine.view.region import Span, tiles_of

#: Tiles are read together up to so many columns, in pixels of the stored level.
RUN = 2048


@dataclass(frozen=True)
class Wanted:
    """A picture's pixels that are wanted on the screen.

    Attributes
    ----------
    picture : Picture
    span : Span
    choice : str
        Which window or layer.
    """

    picture: Picture
    span: Span
    choice: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What the pixels depend on."""
        return self.picture.name, self.picture.version, self.span, self.choice

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The outer edges ``(y0, y1, x0, x1)``, where pixel n reaches from n − ½ to n + ½."""
        reduction = self.picture.levels[self.span.level].reduction
        top, left = (start - 0.5 for start in self.picture.origin)
        span = self.span
        return (
            top + span.y0 * reduction,
            top + span.y1 * reduction,
            left + span.x0 * reduction,
            left + span.x1 * reduction,
        )

    def tile_key(self, tile: Tile) -> tuple[Any, ...]:
        """Return under what a tile is kept."""
        group = self.picture.choice_key(self.span.level, self.choice)
        return self.picture.name, self.span.level, group, tile


def missing(wanted: Wanted, cache: TileCache) -> list[Tile]:
    """Return the tiles that have to be read, from the middle outwards."""
    level = wanted.picture.levels[wanted.span.level]
    tiles = []
    for tile in tiles_of(level, wanted.span):
        kept = cache.get(wanted.tile_key(tile))
        if kept is None or kept.version != wanted.picture.version:
            tiles.append(tile)
    return tiles


def runs_of(wanted: Wanted, tiles: Sequence[Tile]) -> list[tuple[Tile, int]]:
    """Return tiles as runs of neighbours in a row, to be read at once: first tile and count."""
    level = wanted.picture.levels[wanted.span.level]
    most = max(1, RUN // (level.side[1] * level.further))
    rows: dict[int, list[int]] = {}
    for row, column in tiles:
        rows.setdefault(row, []).append(column)
    runs = []
    for row, columns in rows.items():
        first, *others = sorted(columns)
        count = 1
        for column in others:
            if column == first + count and count < most:
                count += 1
            else:
                runs.append(((row, first), count))
                first, count = column, 1
        runs.append(((row, first), count))
    return runs


def read_tiles(wanted: Wanted, tile: Tile, count: int, cache: TileCache) -> None:
    """Read a run of tiles and keep each."""
    version = wanted.picture.version
    pixels = wanted.picture.read(wanted.span.level, tile, wanted.choice, count)
    side = wanted.picture.levels[wanted.span.level].side[1]
    for number in range(count):
        piece = pixels[..., number * side : (number + 1) * side]
        # A view would hold all of the run in memory.
        kept = piece.copy() if count > 1 else piece
        cache.put(wanted.tile_key((tile[0], tile[1] + number)), kept, version)


def assemble(wanted: Wanted, cache: TileCache, under: Wanted | None = None) -> Gray:
    """Return the span's pixels: old ones where a tile is out of date.

    Where a tile was never read they are those of a coarser level in ``under``, or else 0.
    """
    span, picture = wanted.span, wanted.picture
    level = picture.levels[span.level]
    pixels = np.zeros(span.shape, np.uint8)
    tiles = [(tile, cache.get(wanted.tile_key(tile))) for tile in tiles_of(level, span)]
    if under is not None and any(kept is None for _, kept in tiles):
        _stretch(pixels, wanted, under, assemble(under, cache))
    for tile, kept in tiles:
        if kept is not None:
            _paste(pixels, wanted, tile, kept)
    return pixels


def _stretch(pixels: Gray, wanted: Wanted, under: Wanted, coarse: Gray) -> None:
    """Fill what of the span lies in coarser pixels, each from the one that it lies in."""
    levels = wanted.picture.levels
    ratio = levels[wanted.span.level].reduction / levels[under.span.level].reduction
    places, sources = [], []
    for first, last, start, length in (
        (wanted.span.y0, wanted.span.y1, under.span.y0, coarse.shape[0]),
        (wanted.span.x0, wanted.span.x1, under.span.x0, coarse.shape[1]),
    ):
        source = ((np.arange(first, last) + 0.5) * ratio).astype(int) - start
        low, high = np.searchsorted(source, (0, length))
        places.append(slice(low, high))
        sources.append(source[low:high])
    pixels[tuple(places)] = coarse[sources[0]][:, sources[1]]


def _paste(pixels: Gray, wanted: Wanted, tile: Tile, kept: Kept) -> None:
    """Copy what of a tile lies in the span."""
    span = wanted.span
    level = wanted.picture.levels[span.level]
    shown = wanted.picture.show(kept.pixels, span.level, wanted.choice)
    places, pieces = [], []
    for index, side, first, last, length in zip(
        tile, level.side, (span.y0, span.x0), (span.y1, span.x1), shown.shape, strict=True
    ):
        start = index * side
        low, high = max(first, start), min(last, start + length)
        places.append(slice(low - first, high - first))
        pieces.append(slice(low - start, high - start))
    pixels[tuple(places)] = shown[tuple(pieces)]


def read_whole(wanted: Wanted, cache: TileCache | None = None) -> Gray:
    """Return the span's pixels, every tile read."""
    kept = TileCache() if cache is None else cache
    for tile, count in runs_of(wanted, missing(wanted, kept)):
        read_tiles(wanted, tile, count, kept)
    return assemble(wanted, kept)
