"""The figures of a page: one for each panel, with a picture for surface, ink and each overlay."""

from __future__ import annotations

from typing import Any

from s5engine.view import style
from s5engine.view.colours import OVERLAY_OPACITY, OVERLAYS, as_words, colour_map, overlay_word
from s5engine.view.pictures import Gray
from s5engine.view.pixels import Wanted
from s5engine.view.scene import Panel, Scene


class Plot:
    """One panel's figure.

    Attributes
    ----------
    figure : bokeh figure
    sources : dict of str to ColumnDataSource
        One picture each: ``surface``, ``ink``, ``mask``, ``label``, ``ignore``.
    glyphs, renderers, mappers : dict
        By the same names.
    """

    def __init__(self, scene: Scene, panel: Panel, ranges: tuple[Any, Any]) -> None:
        from bokeh.models import PanTool, WheelZoomTool
        from bokeh.plotting import figure

        self.panel = panel
        self.pan, wheel = PanTool(), WheelZoomTool()
        self.figure: Any = figure(
            x_range=ranges[0],
            y_range=ranges[1],
            tools=[self.pan, wheel],
            toolbar_location=None,
            sizing_mode="stretch_both",
            min_border=0,
            outline_line_color=None,
            background_fill_color=style.BACKGROUND,
            border_fill_color=style.BACKGROUND,
            output_backend="canvas",
            name=f"figure {panel.title}",
        )
        self.figure.toolbar.active_scroll = wheel
        self.figure.toolbar.active_drag = self.pan
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.sources: dict[str, Any] = {}
        self.glyphs: dict[str, Any] = {}
        self.renderers: dict[str, Any] = {}
        self.mappers: dict[str, Any] = {}
        if panel.surface is not None:
            self._add("surface", as_words(colour_map("gray")), 256)
        if panel.ink is not None:
            self._add("ink", as_words(colour_map("gray")), 255)
        if scene.labels is not None:
            for kind in OVERLAYS:
                self._add(kind, ["#00000000", overlay_word(kind)], 256, OVERLAY_OPACITY)

    def _add(self, name: str, palette: list[str], high: float, alpha: float = 1.0) -> None:
        from bokeh.models import ColumnDataSource, LinearColorMapper

        names = ("image", "x", "y", "dw", "dh")
        source = ColumnDataSource({key: [] for key in names}, name=name)
        mapper = LinearColorMapper(palette=palette, low=0, high=high)
        renderer = self.figure.image(
            image="image",
            x="x",
            y="y",
            dw="dw",
            dh="dh",
            source=source,
            color_mapper=mapper,
            global_alpha=alpha,
        )
        self.sources[name], self.mappers[name] = source, mapper
        self.glyphs[name], self.renderers[name] = renderer.glyph, renderer

    def named(self) -> Any:
        """Return the figure with the panel's name over it."""
        from bokeh.layouts import column
        from bokeh.models import InlineStyleSheet
        from bokeh.models.widgets import Div

        # What a folder is called is text.
        caption = Div(
            text=self.panel.title,
            render_as_text=True,
            disable_math=True,
            styles={"position": "absolute", "top": "8px", "left": "8px"},
            stylesheets=[InlineStyleSheet(css=style.CAPTION)],
        )
        return column(caption, self.figure, sizing_mode="stretch_both")

    def put(self, name: str, wanted: Wanted, pixels: Gray) -> None:
        """Show pixels."""
        y0, y1, x0, x1 = wanted.extent
        self.sources[name].data = {
            "image": [pixels],
            "x": [x0],
            "y": [y0],
            "dw": [x1 - x0],
            "dh": [y1 - y0],
        }

    def clear(self, name: str) -> None:
        """Show nothing there."""
        if len(self.sources[name].data["image"]):
            self.sources[name].data = {k: [] for k in ("image", "x", "y", "dw", "dh")}
