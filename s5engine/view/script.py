"""What the page's own script works on, and the events that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s5engine.geometry import PART_WIDTH
from s5engine.view.colours import OVERLAYS, as_words, colour_map
from s5engine.view.sketch_layer import HINTS
from s5engine.view.url import COLOURS, ViewSettings

if TYPE_CHECKING:
    from s5engine.view.page import Page
    from s5engine.view.plots import Plot

#: Controls that the script reads or sets.
_WIDGETS = (
    "show",
    "boost",
    "opacity",
    "colour",
    "flip",
    "invert",
    "layer",
    "brightness",
    "contrast",
    "mode",
    "radius",
    "readout",
    "hint",
    "note",
)


def wire(page: Page, settings: ViewSettings) -> None:
    """Hand the script its models, and the events of a page.

    Parameters
    ----------
    page : Page
        Whose models are laid out.
    settings : ViewSettings
        Where it begins.
    """
    from bokeh.models import CustomJS

    models = {**_view_models(page, settings), **_drawing_models(page)}
    names = ", ".join(models)
    start = CustomJS(args=models, code=f"s5.start({{{names}}})")
    page.doc.js_on_event("document_ready", start)
    _answer_controls(page)
    events = {
        "mousemove": "readout(cb_obj)",
        "tap": "tap(cb_obj)",
        "doubletap": "double(cb_obj)",
        "panstart": "drag(cb_obj)",
        "pan": "drag(cb_obj)",
        "panend": "drop()",
    }
    for plot in page.plots:
        for event, code in events.items():
            plot.figure.js_on_event(event, _script(code))


def _script(code: str) -> Any:
    from bokeh.models import CustomJS

    return CustomJS(code=f"if (s5.models) s5.{code}")


def _view_models(page: Page, settings: ViewSettings) -> dict[str, Any]:
    """Return what the script needs to show something, by name."""
    box, controls, plots = page.scene.box, page.controls, page.plots
    return {
        **{name: getattr(controls, name) for name in _WIDGETS},
        **controls.overlays,
        "figures": [plot.figure for plot in plots],
        "titles": [plot.panel.title for plot in plots],
        "widgets": controls.widgets,
        "pans": [plot.pan for plot in plots],
        "x_range": page.x_range,
        "y_range": page.y_range,
        "screen": page.screen,
        "box": {"x0": box.x0 - 0.5, "x1": box.x1 - 0.5, "y0": box.y0 - 0.5, "y1": box.y1 - 0.5},
        "palettes": {name: as_words(colour_map(name)) for name in COLOURS},
        "mappers": [plot.mappers["ink"] for plot in plots if "ink" in plot.mappers],
        "surfaces": [plot.mappers["surface"] for plot in plots if "surface" in plot.mappers],
        "all_mappers": [mapper for plot in plots for mapper in plot.mappers.values()],
        "inks": [
            [plot.glyphs["ink"], plot.panel.surface is not None]
            for plot in plots
            if "ink" in plot.glyphs
        ],
        "overlays": [
            [kind, plot.renderers[kind]]
            for plot in plots
            for kind in OVERLAYS
            if kind in plot.renderers
        ],
        "values": _values(plots),
        "part_width": PART_WIDTH,
        "has_layers": bool(page.scene.layers),
        "first": {
            "x": settings.x if settings.x is not None else (box.x0 + box.x1) / 2,
            "y": settings.y if settings.y is not None else (box.y0 + box.y1) / 2,
            "zoom": settings.zoom,
        },
        "drawn": page.drawn,
    }


def _drawing_models(page: Page) -> dict[str, Any]:
    """Return what the script needs to draw; without hints nothing is drawn."""
    sketch = page.sketch
    return {
        "pen": sketch.pen,
        "pen_glyphs": sketch.pen_glyphs,
        "polygons": sketch.polygons,
        "strokes": sketch.strokes,
        "outbox": sketch.outbox,
        "hints": list(HINTS) if sketch.draws else None,
    }


def _values(plots: list[Plot]) -> list[list[Any]]:
    """Return what the read-out names: each picture of gray values with its source."""
    several = len(plots) > 1
    return [
        [f"{name} {number}" if several else name, plot.sources[name]]
        for number, plot in enumerate(plots, start=1)
        for name in ("ink", "surface")
        if name in plot.sources
    ]


def _answer_controls(page: Page) -> None:
    """Let the script answer what is changed on the page."""
    from bokeh.models import CustomJS

    controls = page.controls
    for axis in (page.x_range, page.y_range):
        axis.js_on_change("start", _script("ranges()"))
        axis.js_on_change("end", _script("ranges()"))
    for widget in (
        controls.boost,
        controls.opacity,
        controls.colour,
        controls.show,
        controls.layer,
        controls.brightness,
        controls.contrast,
    ):
        widget.js_on_change("value", _script("look()"))
    for widget in (controls.flip, controls.invert, *controls.overlays.values()):
        widget.js_on_change("active", _script("look()"))
    page.answered.js_on_change("data", CustomJS(code="s5.answers(cb_obj.data)"))
    controls.mode.js_on_change("active", _script("mode()"))
    controls.radius.js_on_change("value", _script("widths()"))
    controls.discard.js_on_click(_script("lift()"))
    controls.keys.js_on_click(_script("listKeys()"))
    controls.whole.js_on_click(_script("whole()"))
    controls.full.js_on_click(_script("show(s5.view.x, s5.view.y, 1)"))
