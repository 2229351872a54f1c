"""Shapes drawn on a page and not saved yet, and saving them into their parts' files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Box
from s5engine.view.drawing import write_drawing
from s5engine.view.labels import DRAWN, FILES, Labels, Part, inside
from s5engine.view.shapes import Polygon, Stroke

Kind = Literal["label", "ignore"]
Shape = Polygon | Stroke


@dataclass
class Sketch:
    """Shapes in the order in which they were drawn.

    Attributes
    ----------
    shapes : list of (kind, shape)
    """

    shapes: list[tuple[Kind, Shape]] = field(default_factory=list)

    def add(self, kind: str, shape: str, points: Sequence[tuple[float, float]], *,
            radius: float, erase: bool) -> None:  # fmt: skip
        """Add what a page sends.

        Raises
        ------
        InvalidArgumentError
            If it is no such shape.
        """
        if kind not in DRAWN or shape not in ("polygon", "stroke"):
            raise InvalidArgumentError(f"A {shape} of {kind} cannot be drawn.")
        drawn: Shape = (
            Polygon(points, erase) if shape == "polygon" else Stroke(points, radius, erase)
        )
        self.shapes.append((cast(Kind, kind), drawn))

    def undo(self) -> None:
        """Take the last shape away."""
        if self.shapes:
            self.shapes.pop()

    def save(self, labels: Labels, middle: tuple[float, float]) -> list[Path]:
        """Write the shapes into the files of the parts that they reach, and forget them.

        A part that has a proposal begins from it, label and ignore mask alike; without any shape,
        the proposal for the part in the middle of the screen is taken as it is.

        Parameters
        ----------
        labels : Labels
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
        touched = [part for part in labels.parts.values() if self._reaches(part.box)]
        if not self.shapes:
            here = labels.part_at(*middle)
            touched = [here] if here is not None and here.number in labels.proposals else []
        if not touched:
            raise InvalidArgumentError(
                "There is nothing to save: no shape lies in a part." if self.shapes else
                "There is nothing to save: nothing was drawn."
            )  # fmt: skip
        written: list[Path] = []
        for part in touched:
            written += self._save_part(labels, part)
            labels.proposals.pop(part.number, None)
        self.shapes.clear()
        labels.reload()
        return written

    def _save_part(self, labels: Labels, part: Part) -> list[Path]:
        folder = inside(part.folder.parent, part.folder.name)
        proposal = labels.proposals.get(part.number)
        written = []
        kinds: tuple[Kind, ...] = ("label", "ignore")
        for kind in kinds:
            shapes = [s for k, s in self.shapes if k == kind and _reach(s, part.box)]
            start = proposal / FILES[kind] if proposal is not None else None
            start = start if start is not None and start.exists() else None
            if shapes or start is not None:
                written.append(write_drawing(folder, kind, shapes, part.box, start=start))
        return written

    def _reaches(self, box: Box) -> bool:
        return any(_reach(shape, box) for _, shape in self.shapes)


def _reach(shape: Shape, box: Box) -> bool:
    """Whether a shape's bounds meet a box."""
    margin = shape.radius if isinstance(shape, Stroke) else 0.0
    xs, ys = [x for x, _ in shape.points], [y for _, y in shape.points]
    rows = max(ys) + margin >= box.y0 - 0.5 and min(ys) - margin < box.y1
    return rows and max(xs) + margin >= box.x0 - 0.5 and min(xs) - margin < box.x1
