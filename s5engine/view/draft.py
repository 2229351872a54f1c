"""The draft of a segment's drawing: what is drawn and not saved yet, in a file beside its labels.

A file that was not read or written here, a damaged one or another viewer's, is never written over:
it keeps its content under a numbered name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, cast

from s5engine.atomic import atomic_write
from s5engine.errors import StoreError
from s5engine.foreign import brief, cause, check_file, mapping, reading, text
from s5engine.geometry import Box
from s5engine.lock import alone_at
from s5engine.view.clip import cut
from s5engine.view.drawing import Kind
from s5engine.view.labels import DRAWN
from s5engine.view.region import FARTHEST
from s5engine.view.shapes import Point, Polygon, Shape, Stroke

#: A shape and the mask that it is drawn into.
Drawn = tuple[Kind, Shape]

#: Which layout a draft has.
_VERSION = 1
_STAYS = "It is left as it is; once something is drawn it gets a number in its name."


class Content(NamedTuple):
    """What a draft holds.

    Attributes
    ----------
    shapes : tuple of (kind, shape)
    corners : tuple of (x, y)
        Of a polygon that is not closed yet.
    """

    shapes: tuple[Drawn, ...] = ()
    corners: tuple[Point, ...] = ()


class Draft:
    """One segment's draft.

    Parameters
    ----------
    file : Path
    segment : str
        Whose shapes it holds.
    bounds : Box
        Where shapes may lie, segment pixels.
    """

    def __init__(self, file: Path, segment: str, bounds: Box) -> None:
        self.file, self.segment, self.bounds = file, segment, bounds
        #: The file's bytes as they were read or written last.
        self._known: bytes | None = None

    def read(self) -> Content:
        """Return what the file holds; nothing where there is no file.

        Raises
        ------
        StoreError
            If it is damaged, is another segment's, or has shapes outside the bounds.
        """
        what = f"The draft {self.file}"
        try:
            check_file(self.file, _STAYS)
        except FileNotFoundError:
            return Content()
        with reading(what, _STAYS):
            found = self.file.read_bytes()
        with reading(what, _STAYS, "is damaged"):
            record = mapping(json.loads(found))
            if record.get("draft") != _VERSION:
                raise ValueError(f"its layout is {brief(record.get('draft'))}, not {_VERSION}")
            segment = text(record.get("segment"))
            shapes = tuple(_drawn_of(mapping(value)) for value in _list(record.get("shapes")))
            corners = points_of(_list(record.get("corners")))
        if segment != self.segment:
            raise StoreError(f"{what} is of segment {brief(segment)}, not {self.segment}.", _STAYS)
        if any(cut(shape, self.bounds) != [shape] for _, shape in shapes):
            raise StoreError(f"{what} has shapes outside of what can be drawn on here.", _STAYS)
        self._known = found
        return Content(shapes, corners)

    def keep(self, content: Content) -> Path | None:
        """Write the file, whole or not at all; nothing to keep removes it.

        Returns
        -------
        Path or None
            The new name of a file that was not read or written here.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        made = None if content == Content() else self._encoded(content)
        moved = None
        try:
            with alone_at(self.file.parent):
                if not self._is_known():
                    moved = self._set_aside() if made is not None else None
                elif made is None:
                    self.file.unlink(missing_ok=True)
                if made is not None:
                    with atomic_write(self.file) as partial:
                        partial.write_bytes(made)
        except OSError as error:
            raise StoreError(
                f"The draft {self.file} cannot be written: {cause(error)}.",
                "What is drawn is on the page alone: save it.",
            ) from error
        self._known = made
        return moved

    def _encoded(self, content: Content) -> bytes:
        record = {
            "draft": _VERSION,
            "segment": self.segment,
            "shapes": [_record_of(kind, shape) for kind, shape in content.shapes],
            "corners": content.corners,
        }
        return (json.dumps(record) + "\n").encode()

    def _is_known(self) -> bool:
        """Return whether the file is as it was left, or not there."""
        try:
            return self.file.read_bytes() == self._known
        except FileNotFoundError:
            return True

    def _set_aside(self) -> Path:
        """Give the file the first free number: ``phantom.draft.1.json``."""
        number = 1
        while (aside := self.file.with_suffix(f".{number}.json")).exists():
            number += 1
        return self.file.rename(aside)


def points_of(values: Sequence[Any]) -> tuple[Point, ...]:
    """Return points (x, y) that a file or a page holds.

    Raises
    ------
    ValueError
        If one is none, or farther away than any segment reaches.
    """
    points = [(x, y) for x, y in values]
    numbers = [number for point in points for number in point]
    # Python takes yes and no for numbers, and text for what it spells.
    if not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers) or not all(
        abs(n) <= FARTHEST for n in numbers
    ):
        raise ValueError(f"{brief(list(values))} are no points")
    return tuple((float(x), float(y)) for x, y in points)


def radius_of(value: Any) -> float:
    """Return the radius of a brush that a file or a page tells, px.

    Raises
    ------
    ValueError
        If it is no number above 0, or wider than any segment.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= FARTHEST:
        raise ValueError(f"{brief(value)} is no radius of a brush")
    return float(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{brief(value)} is no list")
    return value


def _drawn_of(record: dict[str, Any]) -> Drawn:
    """Return a shape from its record."""
    kind, shape, erase = (record.get(key) for key in ("kind", "shape", "erase"))
    if kind not in DRAWN or shape not in ("polygon", "stroke") or not isinstance(erase, bool):
        raise ValueError(f"{brief(record)} is no shape")
    points = points_of(_list(record.get("points")))
    if not points:
        raise ValueError(f"{brief(record)} has no points")
    if shape == "polygon":
        return cast(Kind, kind), Polygon(points, erase)
    return cast(Kind, kind), Stroke(points, radius_of(record.get("radius")), erase)


def _record_of(kind: Kind, shape: Shape) -> dict[str, Any]:
    """Return a shape as JSON values."""
    record = {"kind": kind, "points": list(shape.points), "erase": shape.erase}
    if isinstance(shape, Stroke):
        return record | {"shape": "stroke", "radius": shape.radius}
    return record | {"shape": "polygon"}
