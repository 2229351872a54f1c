"""Shapes cut to a box: what lies outside is gone, and every pixel inside stays as it was drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from s5engine.geometry import Box
from s5engine.view.shapes import Point, Polygon, Shape, Stroke

#: Left, right, upper and lower border of a box, segment pixels.
Borders = tuple[float, float, float, float]


def cut(shape: Shape, box: Box) -> list[Shape]:
    """Return what of a shape reaches into a box.

    A polygon ends at the box's border. The way of a brush ends where the brush no longer reaches
    the box; where it leaves and comes back, it is several strokes.

    Parameters
    ----------
    shape : Polygon or Stroke
    box : Box
        Segment pixels.

    Returns
    -------
    list of Polygon or Stroke
        Empty if nothing is left; what is inside already is returned as it is.
    """
    # Pixels are squares around whole numbers.
    left, right, top, bottom = box.x0 - 0.5, box.x1 - 0.5, box.y0 - 0.5, box.y1 - 0.5
    if isinstance(shape, Polygon):
        points = _cut_outline(shape.points, (left, right, top, bottom))
        return [Polygon(points, shape.erase)] if _has_area(points) else []
    reach = shape.radius
    borders = left - reach, right + reach, top - reach, bottom + reach
    return [Stroke(way, reach, shape.erase) for way in _cut_way(shape.points, borders)]


def _has_area(points: Sequence[Point]) -> bool:
    """Return whether points are no line along an axis, which a cut may leave at the border."""
    return len(set(points)) >= 3 and all(min(v) < max(v) for v in zip(*points, strict=True))


def _cut_outline(outline: Sequence[Point], borders: Borders) -> tuple[Point, ...]:
    """Cut a closed outline at one border after the other (Sutherland and Hodgman).

    What lies outside is laid onto the border: how often the outline goes round a point inside stays
    the same, also where it crosses itself.
    """
    points = list(outline)
    for number, border in enumerate(borders):
        axis, sign = number // 2, -1 if number % 2 else 1
        kept: list[Point] = []
        for before, point in zip(points[-1:] + points[:-1], points, strict=True):
            inside = sign * (point[axis] - border) >= 0
            if inside != (sign * (before[axis] - border) >= 0):
                kept.append(_crossing(before, point, axis, border))
            if inside:
                kept.append(point)
        points = kept
    return tuple(points)


def _crossing(start: Point, end: Point, axis: int, border: float) -> Point:
    """Return where a line crosses a border, which it does."""
    share = (border - start[axis]) / (end[axis] - start[axis])
    other = start[1 - axis] + share * (end[1 - axis] - start[1 - axis])
    # Exactly on it: what was cut is not cut again.
    return (border, other) if axis == 0 else (other, border)


def _cut_way(way: Sequence[Point], borders: Borders) -> Iterator[tuple[Point, ...]]:
    """Yield the pieces of a way that lie inside."""
    piece: list[Point] = []
    for start, end in pairwise(way) if len(way) > 1 else [(way[0], way[0])]:
        inside = _cut_line(start, end, borders)
        if piece and (inside is None or inside[0] != piece[-1]):
            yield tuple(piece)
            piece = []
        if inside is not None:
            piece += inside if not piece else inside[1:]
    if piece:
        yield tuple(piece) if len(way) > 1 else tuple(piece[:1])


def _cut_line(start: Point, end: Point, borders: Borders) -> tuple[Point, Point] | None:
    """Return what of a line lies inside, or None."""
    for number, border in enumerate(borders):
        axis, sign = number // 2, -1 if number % 2 else 1
        first, last = (sign * (point[axis] - border) >= 0 for point in (start, end))
        if not first and not last:
            return None
        if first != last:
            crossing = _crossing(start, end, axis, border)
            start, end = (start, crossing) if first else (crossing, end)
    return start, end
