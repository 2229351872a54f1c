"""Shapes drawn on a segment and not saved yet: a draft keeps them, parts' files take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from s5engine.errors import InvalidArgumentError, S5Error
from s5engine.view.clip import cut
from s5engine.view.draft import Content, Draft, Drawn, points_of, radius_of
from s5engine.view.drawing import write_drawing
from s5engine.view.labels import DRAWN, FILES, Labels, Part, inside
from s5engine.view.shapes import Point, Polygon, Shape, Stroke


class Sketch:
    """What is drawn on a segment; all pages of a viewer draw on the same one.

    Parameters
    ----------
    labels : Labels
        Where it is saved, and beside which its draft lies.

    Attributes
    ----------
    shapes : tuple of (kind, shape)
        In the order in which they were drawn.
    corners : tuple of (x, y)
        Of a polygon that is not closed yet.
    trouble : str
        What is wrong with the draft that was found; "" if nothing is.
    watchers : list of callable
        Called when the shapes have changed.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self.draft = Draft(labels.draft_file, labels.segment, labels.bounds)
        self.trouble, content = "", Content()
        try:
            content = self.draft.read()
        except S5Error as error:
            self.trouble = str(error)
        self.shapes, self.corners = content
        self._past: list[tuple[Drawn, ...]] = []
        self._future: list[tuple[Drawn, ...]] = []
        self.watchers: list[Callable[[], None]] = []

    def add(
        self, kind: str, shape: str, points: Sequence[Point], *, radius: float, erase: bool
    ) -> None:
        """Add what a page sends, cut to the segment.

        Raises
        ------
        InvalidArgumentError
            If it is no such shape, or lies outside the segment.
        """
        if kind not in DRAWN or shape not in ("polygon", "stroke"):
            raise InvalidArgumentError(f"A {shape} of {kind} cannot be drawn.")
        try:
            way = points_of(points)
        except (TypeError, ValueError, OverflowError):
            raise InvalidArgumentError("A drawn point is not a number of pixels.") from None
        if not way:
            raise InvalidArgumentError(f"A {shape} without points cannot be drawn.")
        pieces = cut(_shape(shape, way, radius, erase), self.draft.bounds)
        if not pieces:
            raise InvalidArgumentError("Nothing of this shape lies inside the segment.")
        self.corners = ()
        self._change((*self.shapes, *((kind, piece) for piece in pieces)))

    def undo(self) -> None:
        """Take the last change back."""
        if self._past:
            self._future.append(self.shapes)
            self._show(self._past.pop())
        elif self.shapes:  # a draft that was found has no past
            self._future.append(self.shapes)
            self._show(self.shapes[:-1])

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        if self._future:
            self._past.append(self.shapes)
            self._show(self._future.pop())

    def discard(self) -> None:
        """Drop all shapes; `undo` brings them back."""
        self.corners = ()
        self._change(())

    def _change(self, shapes: tuple[Drawn, ...]) -> None:
        self._past.append(self.shapes)
        self._future.clear()
        self._show(shapes)

    def _show(self, shapes: tuple[Drawn, ...]) -> None:
        self.shapes = shapes
        for watcher in tuple(self.watchers):
            watcher()

    def keep(self) -> str:
        """Write the draft; return what is to be said of it.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if moved := self.draft.keep(Content(self.shapes, self.corners)):
            self.trouble = f"The draft that was there is now {moved}."
        if not self.shapes and not self.corners:
            return ""
        return f"Not saved yet; the draft is {self.draft.file}. {self.trouble}".strip()

    def save(self, middle: tuple[float, float]) -> list[Path]:
        """Write the shapes into the files of the parts that they reach, and forget them.

        A part that has a proposal begins from it, label and ignore mask alike; without any shape,
        the proposal for the part in the middle of the screen is taken as it is.

        Parameters
        ----------
        middle : (y, x)
            Of the screen, segment pixels.

        Returns
        -------
        list of Path
            The new files.

        Raises
        ------
        InvalidArgumentError
            If there is nothing to save, or it lies outside all parts.
        """
        labels = self._labels
        touched = [
            part
            for part in labels.parts.values()
            if any(cut(shape, part.box) for _, shape in self.shapes)
        ]
        if not self.shapes:
            here = labels.part_at(*middle)
            touched = [here] if here is not None and here.number in labels.proposals else []
        if not touched:
            raise InvalidArgumentError(
                "There is nothing to save: no shape lies in a part."
                if self.shapes
                else "There is nothing to save: nothing was drawn."
            )
        written: list[Path] = []
        for part in touched:
            written += self._save_part(part)
            labels.proposals.pop(part.number, None)
        self._past.clear()
        self._future.clear()
        self._show(())
        labels.reload()
        return written

    def _save_part(self, part: Part) -> list[Path]:
        folder = inside(part.folder.parent, part.folder.name)
        proposal = self._labels.proposals.get(part.number)
        written = []
        for kind in DRAWN:
            shapes = [s for k, s in self.shapes if k == kind and cut(s, part.box)]
            start = proposal / FILES[kind] if proposal is not None else None
            start = start if start is not None and start.exists() else None
            if shapes or start is not None:
                written.append(write_drawing(folder, kind, shapes, part.box, start=start))
        return written


def _shape(shape: str, points: Sequence[Point], radius: float, erase: bool) -> Shape:
    if shape == "polygon":
        return Polygon(points, erase)
    try:
        return Stroke(points, radius_of(radius), erase)
    except ValueError as error:
        raise InvalidArgumentError(f"{error}.") from None
