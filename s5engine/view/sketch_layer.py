"""What is drawn, on the page: the pen, shapes that are not saved yet, and their buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s5engine.errors import S5Error
from s5engine.view.colours import overlay_word
from s5engine.view.controls import Controls
from s5engine.view.labels import Labels
from s5engine.view.plots import Plot
from s5engine.view.shapes import Polygon, Stroke
from s5engine.view.sketch import Sketch

_SHAPES = ("xs", "ys", "colour", "dash")
_ERASED = "#101113"


class SketchLayer:
    """Shapes of one page.

    Parameters
    ----------
    plots : list of Plot
    controls : Controls
    labels : Labels or None
        Without them nothing is drawn.
    say : callable
        Tells the person at the page something.
    ask : callable
        Asks for all pictures again.
    """

    def __init__(
        self, plots: list[Plot], controls: Controls, labels: Labels | None,
        say: Callable[[str], None], ask: Callable[[], None],
    ) -> None:  # fmt: skip
        from bokeh.models import ColumnDataSource

        self.sketch = Sketch()
        self._controls, self._labels, self._say, self._ask = controls, labels, say, ask
        self.pen: Any = ColumnDataSource({"xs": [], "ys": []})
        self.outbox: Any = ColumnDataSource({"x": [], "y": [], "shape": []})
        self.polygons: Any = ColumnDataSource({key: [] for key in _SHAPES})
        self.strokes: Any = ColumnDataSource({key: [] for key in (*_SHAPES, "radius", "width")})
        self.pen_glyphs: list[Any] = []
        #: Screen pixels along a segment pixel; the page says it.
        self.zoom = 1.0
        #: The middle of the screen (y, x), segment pixels.
        self.middle = (0.0, 0.0)
        if labels is None:
            return
        for plot in plots:
            self._draw_on(plot.figure)
        self.outbox.on_change("data", lambda name, old, new: self._take())
        controls.undo.on_click(self._undo)
        controls.save_drawing.on_click(self._save)

    def _draw_on(self, figure: Any) -> None:
        figure.patches("xs", "ys", source=self.polygons, fill_color="colour", fill_alpha=0.45,
                       line_color="colour", line_width=1.5, line_dash="dash")  # fmt: skip
        figure.multi_line("xs", "ys", source=self.strokes, line_color="colour", line_alpha=0.45,
                          line_width="width", line_cap="round", line_join="round")  # fmt: skip
        line = figure.multi_line("xs", "ys", source=self.pen, line_color="#ffffff", line_alpha=0.7,
                                 line_width=2, line_cap="round", line_join="round")  # fmt: skip
        self.pen_glyphs.append(line.glyph)

    def _take(self) -> None:
        """Take a finished shape from the page."""
        data, controls = self.outbox.data, self._controls
        if not len(data["x"]):
            return
        points = [(float(x), float(y)) for x, y in zip(data["x"], data["y"], strict=True)]
        try:
            self.sketch.add(
                ("label", "ignore")[controls.kind.active], str(data["shape"][0]), points,
                radius=float(controls.radius.value), erase=bool(controls.erase.active),
            )  # fmt: skip
        except S5Error as error:
            self._say(str(error))
        self.outbox.data = {"x": [], "y": [], "shape": []}
        self._show()

    def _show(self) -> None:
        """Draw the shapes that there are."""
        polygons: dict[str, list[Any]] = {key: [] for key in self.polygons.data}
        strokes: dict[str, list[Any]] = {key: [] for key in self.strokes.data}
        for kind, shape in self.sketch.shapes:
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

    def _undo(self) -> None:
        self.sketch.undo()
        self._show()

    def _save(self) -> None:
        if self._labels is None:
            return
        try:
            written = self.sketch.save(self._labels, self.middle)
        except S5Error as error:
            self._say(str(error))
            return
        self._show()
        self._controls.overlays["label"].active = True
        self._say("Saved " + ", ".join(str(path) for path in written))
        self._ask()
