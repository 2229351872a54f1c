"""What is drawn, on the page: the pen, shapes that are not saved yet, and their buttons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from s5engine.errors import S5Error
from s5engine.view.colours import overlay_word
from s5engine.view.controls import Controls
from s5engine.view.draft import points_of
from s5engine.view.plots import Plot
from s5engine.view.shapes import Polygon, Stroke
from s5engine.view.sketch import Sketch

_SHAPES = ("xs", "ys", "colour", "dash")
_ERASED = "#101113"
#: What is said under each tool.
HINTS = (
    "Choose a tool to draw. Dragging moves the picture.",
    "A click sets a corner; a double click or Enter closes the polygon. Backspace takes the last "
    "corner back, Esc drops the polygon. Ctrl+Z undoes, Ctrl+Shift+Z redoes.",
    "Drag to draw. Ctrl+Z undoes, Ctrl+Shift+Z redoes.",
)
#: What a page asks for in place of a shape.
_UNDO, _REDO = "undo", "redo"


class SketchLayer:
    """Shapes of one page.

    Parameters
    ----------
    plots : list of Plot
    controls : Controls
    sketch : Sketch or None
        What is drawn, on all pages; without it nothing is.
    say : callable
        Tells the person at the page something.
    later : callable
        Calls something in the page's own turn.
    ask : callable
        Asks for all pictures again.
    """

    def __init__(
        self,
        plots: list[Plot],
        controls: Controls,
        sketch: Sketch | None,
        say: Callable[[str], None],
        later: Callable[[Callable[[], None]], None],
        ask: Callable[[], None],
    ) -> None:
        from bokeh.models import ColumnDataSource

        self._controls, self._sketch, self._say, self._ask = controls, sketch, say, ask
        self.pen: Any = ColumnDataSource({"xs": [], "ys": []})
        self.outbox: Any = ColumnDataSource({"x": [], "y": [], "shape": []})
        self.polygons: Any = ColumnDataSource({key: [] for key in _SHAPES})
        self.strokes: Any = ColumnDataSource({key: [] for key in (*_SHAPES, "radius", "width")})
        self.pen_glyphs: list[Any] = []
        #: Screen pixels along a segment pixel; the page says it.
        self.zoom = 1.0
        #: The middle of the screen (y, x), segment pixels.
        self.middle = (0.0, 0.0)
        if sketch is None:
            return
        for plot in plots:
            self._draw_on(plot.figure)
        self._watcher = lambda: later(self._show)
        sketch.watchers.append(self._watcher)
        self.outbox.on_change("data", lambda name, old, new: self._take())
        self.pen.on_change("data", lambda name, old, new: self._hold())
        controls.undo.on_click(lambda: self._do(sketch.undo))
        controls.redo.on_click(lambda: self._do(sketch.redo))
        controls.discard.on_click(self._discard)
        controls.save_drawing.on_click(self._save)
        self._restore(sketch)

    @property
    def draws(self) -> bool:
        """Whether anything can be drawn."""
        return self._sketch is not None

    def end(self) -> None:
        """Hear of no more changes: the page is gone."""
        if self._sketch is not None and self._watcher in self._sketch.watchers:
            self._sketch.watchers.remove(self._watcher)

    def _restore(self, sketch: Sketch) -> None:
        """Show what was drawn before, and say so."""
        if sketch.corners:
            xs, ys = zip(*sketch.corners, strict=True)
            self.pen.data = {"xs": [list(xs)], "ys": [list(ys)]}
            self._controls.mode.active = 1
        self._show()
        open_one = " and a polygon that is not closed" if sketch.corners else ""
        said = sketch.trouble
        if sketch.shapes or sketch.corners:
            said += (
                f"Drawn and not saved: {len(sketch.shapes)} shapes{open_one}, from the draft "
                f"{sketch.draft.file}. Save or discard the drawing."
            )
        self._say(f"{self._controls.note.text} {said}".strip())

    def _draw_on(self, figure: Any) -> None:
        figure.patches(
            "xs",
            "ys",
            source=self.polygons,
            fill_color="colour",
            fill_alpha=0.45,
            line_color="colour",
            line_width=1.5,
            line_dash="dash",
        )
        figure.multi_line(
            "xs",
            "ys",
            source=self.strokes,
            line_color="colour",
            line_alpha=0.45,
            line_width="width",
            line_cap="round",
            line_join="round",
        )
        line = figure.multi_line(
            "xs",
            "ys",
            source=self.pen,
            line_color="#ffffff",
            line_alpha=0.7,
            line_width=2,
            line_cap="round",
            line_join="round",
        )
        self.pen_glyphs.append(line.glyph)

    def _take(self) -> None:
        """Take a finished shape from the page, or its wish to undo or redo."""
        data, sketch, controls = self.outbox.data, self._sketch, self._controls
        if sketch is None or not len(data["x"]):
            return
        shape = str(data["shape"][0])
        points = list(zip(data["x"], data["y"], strict=True))
        self.outbox.data = {"x": [], "y": [], "shape": []}
        if shape in (_UNDO, _REDO):
            self._do(sketch.undo if shape == _UNDO else sketch.redo)
            return
        self._do(
            lambda: sketch.add(
                ("label", "ignore")[controls.kind.active],
                shape,
                points,
                radius=float(controls.radius.value),
                erase=bool(controls.erase.active),
            )
        )

    def _hold(self) -> None:
        """Keep the corners of a polygon that is not closed yet."""
        sketch, data = self._sketch, self.pen.data
        if sketch is None or self._controls.mode.active != 1:
            return
        try:
            lines = zip(data["xs"], data["ys"], strict=True)
            corners = [point for xs, ys in lines for point in zip(xs, ys, strict=True)]
            held = points_of(corners)
        except (KeyError, TypeError, ValueError, OverflowError):
            return  # the page has sent no points
        if held != sketch.corners:
            sketch.corners = held
            with self._faults_said():
                sketch.keep()  # quietly: what was said of a shape is still to be read

    def _do(self, change: Callable[[], None]) -> None:
        """Change what is drawn, and keep it."""
        if self._sketch is None:
            return
        with self._faults_said():
            change()
            if said := self._sketch.keep():
                self._say(said)

    @contextmanager
    def _faults_said(self) -> Iterator[None]:
        try:
            yield
        except S5Error as error:
            self._say(str(error))

    def _discard(self) -> None:
        if self._sketch is not None:
            self._do(self._sketch.discard)
            self._say("The drawing is discarded; Undo brings it back.")

    def _show(self) -> None:
        """Draw the shapes that there are."""
        polygons: dict[str, list[Any]] = {key: [] for key in self.polygons.data}
        strokes: dict[str, list[Any]] = {key: [] for key in self.strokes.data}
        for kind, shape in self._sketch.shapes if self._sketch is not None else ():
            told: dict[str, list[Any]] = strokes if isinstance(shape, Stroke) else polygons
            points = list(shape.points)
            if isinstance(shape, Stroke):
                points = points * 2 if len(points) == 1 else points
                told["radius"].append(shape.radius)
                told["width"].append(2 * shape.radius * self.zoom)
            told["xs"].append([x for x, _ in points])
            told["ys"].append([y for _, y in points])
            told["colour"].append(_ERASED if shape.erase else overlay_word(kind))
            told["dash"].append("dashed" if isinstance(shape, Polygon) and shape.erase else "solid")
        self.polygons.data, self.strokes.data = polygons, strokes

    def _save(self) -> None:
        if self._sketch is None:
            return
        with self._faults_said():
            written = self._sketch.save(self.middle)
            self._controls.overlays["label"].active = True
            self._say("Saved " + ", ".join(str(path) for path in written))
            self._ask()
            self._sketch.keep()
