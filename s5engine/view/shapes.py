"""Shapes that a person draws, and which pixels they cover. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s5engine.errors import InvalidArgumentError

Point = tuple[float, float]


@dataclass(frozen=True)
class Polygon:
    """A closed outline, filled: the pixels whose centres lie inside.

    The inside is where the outline goes round at all (non-zero winding), so that a loop which
    crosses itself leaves no hole. A centre on the outline counts at left and upper borders, not at
    right and lower ones: polygons side by side share no pixel and leave none out.

    Parameters
    ----------
    points : sequence of (x, y)
        Corners in segment pixels, three at least; the centre of a pixel is its whole number.
    erase : bool
        Take the pixels out instead of putting them in.
    """

    points: Sequence[Point]
    erase: bool = False

    def __post_init__(self) -> None:
        _check_points(self, 3)

    def bounds(self) -> tuple[float, float, float, float]:
        """Return (y0, y1, x0, x1) outside which nothing is covered."""
        return _bounds(self.points, 0)

    def covers(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return which pixels of rows ``y0:y1`` and columns ``x0:x1`` are covered, bool (y, x)."""
        turns = np.zeros((y1 - y0, x1 - x0 + 1), np.int32)
        corners = np.asarray(self.points, np.float64)
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            # Rows that the edge crosses, its upper end included and its lower one not.
            top, bottom = min(ya, yb), max(ya, yb)
            rows = np.arange(max(y0, int(np.ceil(top))), min(y1, int(np.ceil(bottom))))
            if not len(rows):
                continue
            crossing = xa + (rows - ya) * ((xb - xa) / (yb - ya))
            first = np.clip(np.ceil(crossing), x0, x1).astype(np.int64) - x0
            turns[rows - y0, first] += 1 if ya < yb else -1
        inside: np.ndarray = np.cumsum(turns[:, :-1], axis=1, dtype=np.int32) != 0
        return inside


@dataclass(frozen=True)
class Stroke:
    """The way of a round brush: the pixels whose centres are not farther from it than its radius.

    Parameters
    ----------
    points : sequence of (x, y)
        The way in segment pixels; one point is a dot.
    radius : float
        Of the brush, px.
    erase : bool
        Take the pixels out instead of putting them in.
    """

    points: Sequence[Point]
    radius: float
    erase: bool = False

    def __post_init__(self) -> None:
        _check_points(self, 1)
        if not 0 < self.radius < np.inf:
            raise InvalidArgumentError(
                f"A brush has a radius above 0 px, not {self.radius!r}.",
                "From 0.71 px on it always covers a pixel.",
            )

    def bounds(self) -> tuple[float, float, float, float]:
        """Return (y0, y1, x0, x1) outside which nothing is covered."""
        return _bounds(self.points, self.radius)

    def covers(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return which pixels of rows ``y0:y1`` and columns ``x0:x1`` are covered, bool (y, x)."""
        covered = np.zeros((y1 - y0, x1 - x0), bool)
        way = np.asarray(self.points, np.float64)
        for start, end in zip(way, way[1:] if len(way) > 1 else way, strict=False):
            low = np.ceil(np.minimum(start, end) - self.radius)
            high = np.floor(np.maximum(start, end) + self.radius) + 1
            columns = slice(*_inside(low[0], high[0], x0, x1))
            rows = slice(*_inside(low[1], high[1], y0, y1))
            x = np.arange(columns.start, columns.stop) + x0 - start[0]
            y = (np.arange(rows.start, rows.stop) + y0 - start[1])[:, None]
            ahead = end - start
            length = ahead @ ahead
            # Where the nearest point of this piece of the way is, 0 at its start and 1 at its end.
            share = np.clip((x * ahead[0] + y * ahead[1]) / length, 0, 1) if length else 0
            gap = (x - share * ahead[0]) ** 2 + (y - share * ahead[1]) ** 2
            covered[rows, columns] |= gap <= self.radius**2
        return covered


Shape = Polygon | Stroke


def _check_points(shape: Shape, least: int) -> None:
    points = np.asarray(shape.points, np.float64) if len(shape.points) else np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least:
        raise InvalidArgumentError(
            f"A {type(shape).__name__.lower()} has {least} points (x, y) or more, not "
            f"{list(shape.points)[:5]!r}."
        )
    if not np.isfinite(points).all():
        raise InvalidArgumentError(f"A drawn point is not a number: {points.tolist()[:5]}.")


def _bounds(points: Sequence[Point], reach: float) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = np.min(points, axis=0) - reach, np.max(points, axis=0) + reach
    return float(y0), float(y1), float(x0), float(x1)


def _inside(low: float, high: float, start: int, stop: int) -> tuple[int, int]:
    """Return the whole numbers from ``low`` to ``high``, cut to start…stop, counted from start."""
    first = int(min(max(low, start), stop))
    return first - start, max(int(min(max(high, start), stop)), first) - start


def paint(band: np.ndarray, y0: int, x0: int, shapes: Sequence[Shape]) -> None:
    """Draw shapes into a band of a mask, one after the other.

    Parameters
    ----------
    band : (y, x) ndarray of bool
        Changed in place.
    y0, x0 : int
        Its first pixel in the segment.
    shapes : sequence of Polygon or Stroke
    """
    height, width = band.shape
    for shape in shapes:
        top, bottom, left, right = shape.bounds()
        rows = slice(*_inside(np.floor(top), np.floor(bottom) + 1, y0, y0 + height))
        columns = slice(*_inside(np.floor(left), np.floor(right) + 1, x0, x0 + width))
        if rows.start < rows.stop and columns.start < columns.stop:
            place = y0 + rows.start, y0 + rows.stop, x0 + columns.start, x0 + columns.stop
            band[rows, columns][shape.covers(*place)] = not shape.erase
