"""What of a picture is on the screen: which level, and which of its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from s5engine.view.picture_levels import Level

#: A pixel of the level shown is at most this many screen pixels wide, where there is a finer level.
LARGEST = 1.75
#: At most so many pixels of one picture are sent at a time.
MOST_PIXELS = 2_000_000
#: No number that a page sends is larger: pixels, zoom, how often it has moved.
FARTHEST = 1e12
#: The margin on each side, as a share of what is on the screen.
MARGIN = 0.25


class Seen(NamedTuple):
    """What is on the screen, in segment pixels: centres of pixels are whole numbers."""

    y0: float
    y1: float
    x0: float
    x1: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return max(0.0, self.y1 - self.y0) * max(0.0, self.x1 - self.x0)

    def beyond(self, before: Seen) -> Seen | None:
        """Return what is seen once half the screen has moved on as it has since ``before``.

        None where it did not move by a hundredth of the screen.
        """
        height, width = self.y1 - self.y0, self.x1 - self.x0
        steps = [
            math.copysign(side / 2, by) if abs(by) > side / 100 else 0.0
            for by, side in ((self.y0 - before.y0, height), (self.x0 - before.x0, width))
        ]
        if not any(steps):
            return None
        down, across = steps
        return Seen(self.y0 + down, self.y1 + down, self.x0 + across, self.x1 + across)


def seen_of(columns: Mapping[str, Sequence[Any]]) -> tuple[Seen, float, int] | None:
    """Return what a page says of its screen: what is seen, its zoom, and the number of the move.

    Parameters
    ----------
    columns : mapping of str to sequence
        ``y0``, ``y1``, ``x0``, ``x1``, ``zoom`` and ``number``, one value each. Where one is
        missing or no such number, nothing is seen: None.
    """
    try:
        told = [float(columns[key][0]) for key in (*Seen._fields, "zoom", "number")]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    if not all(abs(value) <= FARTHEST for value in told):  # neither is NaN
        return None
    *corners, zoom, number = told
    seen = Seen(*corners)
    sane = seen.y0 < seen.y1 and seen.x0 < seen.x1 and zoom >= 1 / FARTHEST
    return (seen, zoom, int(number)) if sane else None


@dataclass(frozen=True)
class Span:
    """A rectangle of a level: half-open, in the level's pixels."""

    level: int
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    def holds(self, other: Span) -> bool:
        """Whether the other one lies inside, on the same level."""
        return (
            self.level == other.level
            and self.y0 <= other.y0
            and self.y1 >= other.y1
            and self.x0 <= other.x0
            and self.x1 >= other.x1
        )


def choose_level(levels: Sequence[Level], seen: Seen, zoom: float) -> int:
    """Return the coarsest level that is fine enough for the screen, and not too much to send.

    Parameters
    ----------
    levels : sequence of Level
        Finest first.
    seen : Seen
    zoom : float
        Screen pixels along a segment pixel.
    """
    fine = [i for i, level in enumerate(levels) if level.reduction * zoom <= LARGEST]
    chosen = max(fine, default=0)
    while chosen + 1 < len(levels) and seen.area / levels[chosen].reduction ** 2 > MOST_PIXELS:
        chosen += 1
    return chosen


def span_of(
    levels: Sequence[Level], origin: tuple[int, int], seen: Seen, zoom: float, *, margin: bool
) -> Span | None:
    """Return the pixels of a picture that are on the screen, or None if none are.

    Parameters
    ----------
    levels : sequence of Level
    origin : (y, x)
        Segment pixel where the picture begins.
    seen : Seen
    zoom : float
        Screen pixels along a segment pixel.
    margin : bool
        With a margin around, as far as `MOST_PIXELS` allow.
    """
    number = choose_level(levels, seen, zoom)
    level = levels[number]
    share = 0.0
    if margin:
        room = math.sqrt(MOST_PIXELS / max(1.0, seen.area / level.reduction**2))
        share = min(MARGIN, max(0.0, (room - 1) / 2))
    spans = []
    for first, last, start, length in (
        (seen.y0, seen.y1, origin[0], level.shape[0]),
        (seen.x0, seen.x1, origin[1], level.shape[1]),
    ):
        extra = (last - first) * share
        low = math.floor((first - extra - start + 0.5) / level.reduction)
        high = math.ceil((last + extra - start + 0.5) / level.reduction)
        spans += [max(0, low), min(length, high)]
    y0, y1, x0, x1 = spans
    return Span(number, y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None


def tiles_of(level: Level, span: Span) -> Iterator[tuple[int, int]]:
    """Yield the (row, column) of each tile that the span touches, from its middle outwards."""
    rows, columns = (
        range(first // side, -(-last // side))
        for first, last, side in (
            (span.y0, span.y1, level.side[0]),
            (span.x0, span.x1, level.side[1]),
        )
    )
    middle = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    yield from sorted(
        ((row, column) for row in rows for column in columns),
        key=lambda tile: (
            abs(tile[0] - middle[0]) * level.side[0] + abs(tile[1] - middle[1]) * level.side[1]
        ),
    )
