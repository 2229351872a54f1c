"""What is shown until the pixels wanted are read: a coarser level, where those would take long.

Only what was never read is filled with it: a tile that is at hand is shown as sharp as it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from s5engine.view.cache import TileCache
from s5engine.view.pictures import Picture, Tile
from s5engine.view.pixels import Wanted, missing
from s5engine.view.region import Span, tiles_of

#: Pixels wanted are waited for if no more than this has to be decoded, bytes.
WORTH_WAITING = 8 * 2**20
#: The next coarser level is light enough if no more than this has to be decoded, bytes.
LIGHT = 2 * 2**20
#: Pixels wanted that lie along a pixel of the coarser level, at most.
COARSEST = 4


class Step(NamedTuple):
    """What is to be read, and what is shown once it is.

    Attributes
    ----------
    read, show : Wanted
    under : Wanted or None
        Fills the tiles of ``show`` that were never read.
    """

    read: Wanted
    show: Wanted
    under: Wanted | None = None


def decoded(wanted: Wanted, tiles: int) -> int:
    """Return the bytes that are decoded to read so many tiles."""
    picture, number = wanted.picture, wanted.span.level
    level = picture.levels[number]
    pixels = math.prod(level.side) * level.further**2
    return tiles * pixels * picture.decoded(number, wanted.choice)


def rough_step(wanted: Wanted, cache: TileCache) -> Step | None:
    """Return what to show before the pixels wanted, or None where they are soon there.

    Where nothing of them is at hand, the coarser pixels are shown as they are.
    """
    level = wanted.picture.levels[wanted.span.level]
    tiles = list(tiles_of(level, wanted.span))
    # What is out of date is no reason: it is on the screen, and sharp.
    unseen = [tile for tile in tiles if cache.get(wanted.tile_key(tile)) is None]
    work = decoded(wanted, len(unseen))
    if work <= WORTH_WAITING:
        return None
    under = _lighter(wanted, _around(wanted, unseen), work, cache)
    if under is None:
        return None
    return Step(under, under if len(unseen) == len(tiles) else wanted, under)


def _around(wanted: Wanted, tiles: list[Tile]) -> Span:
    """Return the part of what is wanted that holds these tiles."""
    span = wanted.span
    height, width = wanted.picture.levels[span.level].side
    rows, columns = zip(*tiles, strict=True)
    return Span(
        span.level,
        max(span.y0, min(rows) * height),
        min(span.y1, (max(rows) + 1) * height),
        max(span.x0, min(columns) * width),
        min(span.x1, (max(columns) + 1) * width),
    )


def _lighter(wanted: Wanted, part: Span, work: int, cache: TileCache) -> Wanted | None:
    """Return the part at the finest coarser level that is light, or at the coarsest allowed."""
    found, least = None, work / 2  # one that is averaged from the pixels wanted saves nothing
    levels = wanted.picture.levels
    for number in range(part.level + 1, len(levels)):
        if levels[number].reduction > COARSEST * levels[part.level].reduction:
            break
        coarse = Wanted(wanted.picture, coarser(wanted.picture, part, number), wanted.choice)
        todo = decoded(coarse, len(missing(coarse, cache)))
        if todo < least:
            found, least = coarse, todo
        if todo <= LIGHT:
            break
    return found


def coarser(picture: Picture, span: Span, number: int) -> Span:
    """Return the pixels of a coarser level that a span touches."""
    level = picture.levels[number]
    ratio = picture.levels[span.level].reduction / level.reduction
    height, width = level.shape
    y0, x0 = (math.floor(start * ratio) for start in (span.y0, span.x0))
    y1, x1 = (math.ceil(end * ratio) for end in (span.y1, span.x1))
    # A stored level may lack a last pixel that stands for less than a whole one.
    y0, x0 = min(y0, height - 1), min(x0, width - 1)
    return Span(number, y0, min(height, y1), x0, min(width, x1))
