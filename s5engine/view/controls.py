"""The controls of a page: widgets by name, in one column."""

from __future__ import annotations

from typing import Any

from s5engine.view import style
from s5engine.view.save import middle
from s5engine.view.scene import Scene
from s5engine.view.url import COLOURS, ViewSettings

_NAMES = {"mean": "average", "max": "maximum"}
_WIDE = style.COLUMN - 30


class Controls:
    """The widgets, each with the setting's name, so that page and script find them.

    Parameters
    ----------
    scene : Scene
    settings : ViewSettings
    message : str
        What to say at first.
    """

    def __init__(self, scene: Scene, settings: ViewSettings, message: str) -> None:
        from bokeh.models import InlineStyleSheet
        from bokeh.models.widgets import Div

        #: Everything that takes input.
        self.widgets: list[Any] = []
        self._sheet = InlineStyleSheet(css=style.WIDGETS)
        self.readout = self._text(
            Div, "readout", "", style.READOUT, sizing_mode="stretch_width", height=26, margin=0
        )
        self.note = self._text(Div, "note", message, style.SAID, width=_WIDE)
        self._ink_widgets(scene, settings)
        self._surface_widgets(scene, settings)
        self._other_widgets(settings)
        self._drawing_widgets()
        self._scene = scene

    def _text(self, kind: Any, name: str, text: str, css: str, **sizes: Any) -> Any:
        from bokeh.models import InlineStyleSheet

        told = {"margin": (0, 0, 2, 0)} | sizes
        # Whatever a store or an address says is text.
        return kind(
            text=text,
            name=name,
            render_as_text=True,
            disable_math=True,
            stylesheets=[InlineStyleSheet(css=css)],
            **told,
        )

    def _make(self, kind: Any, name: str, **told: Any) -> Any:
        sized = {"width": _WIDE, "margin": (3, 0, 3, 0)} | told
        made = kind(name=name, stylesheets=[self._sheet], **sized)
        self.widgets.append(made)
        return made

    def _ink_widgets(self, scene: Scene, settings: ViewSettings) -> None:
        from bokeh.models.widgets import Checkbox, Select, Slider

        choices = scene.choices or ["mean"]
        show = settings.show if settings.show in choices else choices[0]
        options = [(c, _NAMES.get(c, f"window {c}")) for c in choices]
        self.show = self._make(Select, "show", title="Windows", options=options, value=show)
        self.boost = self._make(
            Slider, "boost", title="Boost", start=1, end=10, step=0.1, value=settings.boost
        )
        self.opacity = self._make(
            Slider,
            "opacity",
            title="Opacity over the surface",
            start=0,
            end=1,
            step=0.01,
            value=settings.opacity,
        )
        self.colour = self._make(
            Select, "colour", title="Colours", options=list(COLOURS), value=settings.colour
        )
        half = _WIDE // 2 - 4
        self.flip = self._make(Checkbox, "flip", label="Flip", active=settings.flip, width=half)
        self.invert = self._make(
            Checkbox, "invert", label="Invert", active=settings.invert, width=half
        )

    def _surface_widgets(self, scene: Scene, settings: ViewSettings) -> None:
        from bokeh.models.widgets import Slider

        layers = scene.layers or [0, 1]
        layer = settings.layer if settings.layer in layers else middle(layers)
        # One layer alone makes no slider.
        end = max(layers) if len(layers) > 1 else min(layers) + 1
        self.layer = self._make(
            Slider, "layer", title="Layer", start=min(layers), end=end, step=1, value=layer
        )
        self.brightness = self._make(
            Slider,
            "brightness",
            title="Brightness",
            start=-1,
            end=1,
            step=0.05,
            value=settings.brightness,
        )
        self.contrast = self._make(
            Slider,
            "contrast",
            title="Contrast",
            start=0.1,
            end=10,
            step=0.1,
            value=settings.contrast,
        )

    def _other_widgets(self, settings: ViewSettings) -> None:
        from bokeh.models.widgets import Button, Checkbox

        third = _WIDE // 3 - 2
        self.overlays = {
            kind: self._make(
                Checkbox, kind, label=kind.capitalize(), width=third, active=getattr(settings, kind)
            )
            for kind in ("mask", "label", "ignore")
        }
        half = _WIDE // 2 - 3
        self.whole = self._make(Button, "whole", label="Whole", width=third)
        self.full = self._make(Button, "full", label="1 : 1", width=third)
        self.keys = self._make(Button, "keys", label="Keys (?)", width=third)
        self.save_screen = self._make(Button, "save_screen", label="As on screen", width=half)
        self.save_full = self._make(Button, "save_full", label="Full resolution", width=half)

    def _drawing_widgets(self) -> None:
        from bokeh.models.widgets import Button, Checkbox, Div, RadioButtonGroup, Slider

        half = _WIDE // 2 - 3
        self.mode = self._make(
            RadioButtonGroup, "mode", labels=["Look", "Polygon", "Brush"], active=0
        )
        self.kind = self._make(
            RadioButtonGroup, "kind", labels=["Label", "Ignore"], active=0, width=2 * _WIDE // 3 - 6
        )
        self.erase = self._make(Checkbox, "erase", label="Erase", width=_WIDE // 3 - 6)
        self.radius = self._make(
            Slider, "radius", title="Brush radius, px", start=1, end=100, step=1, value=12
        )
        self.undo = self._make(Button, "undo", label="Undo", width=half)
        self.redo = self._make(Button, "redo", label="Redo", width=half)
        self.save_drawing = self._make(Button, "save_drawing", label="Save drawing", width=half)
        self.discard = self._make(Button, "discard", label="Discard drawing", width=half)
        self.hint = self._text(Div, "hint", "", style.NOTE, width=_WIDE)

    @property
    def choice(self) -> str:
        """Which window is shown; the first choice where a page names none that there is."""
        choices = self._scene.choices or ["mean"]
        return self.show.value if self.show.value in choices else choices[0]

    @property
    def shown_layer(self) -> int:
        """Which layer is shown; the middle one where a page names none that there is."""
        layers = self._scene.layers or [0]
        return next((n for n in layers if n == self.layer.value), middle(layers))

    def column(self) -> Any:
        """Return all of it, top to bottom, without what there is nothing of."""
        from bokeh.layouts import column, row
        from bokeh.models import InlineStyleSheet
        from bokeh.models.widgets import Div

        scene = self._scene
        titles = " and ".join(panel.title for panel in scene.panels)
        found: list[Any] = [
            self._text(Div, "title", scene.segment, style.TITLE, width=_WIDE),
            self._text(Div, "titles", titles, style.NOTE, width=_WIDE),
        ]

        def heading(words: str) -> Any:
            return self._text(Div, f"heading {words}", words, style.HEADING, width=_WIDE)

        below = any(panel.surface is not None for panel in scene.panels)
        if scene.choices:
            found += [
                heading("Ink"),
                self.show,
                self.boost,
                self.colour,
                row(self.flip, self.invert, spacing=6),
            ]
        else:
            found += [row(self.flip, spacing=6)]
        if below:
            found += [heading("Surface")]
            found += [self.opacity] if scene.choices else []
            found += [self.layer] if len(scene.layers) > 1 else []
            found += [self.brightness, self.contrast]
        if scene.labels is not None:
            found += [
                heading("Overlays"),
                row(*self.overlays.values(), spacing=6),
                heading("Draw"),
                self.mode,
                self.hint,
                row(self.kind, self.erase, spacing=6),
                self.radius,
                row(self.undo, self.redo, spacing=6),
                row(self.save_drawing, self.discard, spacing=6),
            ]
        found += [
            heading("View"),
            row(self.whole, self.full, self.keys, spacing=3),
            heading("Save a picture"),
            row(self.save_screen, self.save_full, spacing=6),
            self.note,
        ]
        return column(
            *found,
            width=style.COLUMN,
            sizing_mode="stretch_height",
            stylesheets=[InlineStyleSheet(css=style.SIDE)],
        )
