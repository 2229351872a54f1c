"""One page: it takes what is wanted on the screen to the painter, and pixels to the figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s5engine.errors import S5Error
from s5engine.geometry import Box
from s5engine.infer.run import open_run
from s5engine.view import style
from s5engine.view.controls import Controls
from s5engine.view.gate import may_write
from s5engine.view.painter import Painter
from s5engine.view.pictures import Gray, Picture
from s5engine.view.pixels import Wanted
from s5engine.view.plots import Plot
from s5engine.view.region import FARTHEST, Seen, Span, seen_of, span_of
from s5engine.view.save import save_view
from s5engine.view.scene import Panel, Scene
from s5engine.view.script import wire
from s5engine.view.sketch_layer import SketchLayer
from s5engine.view.url import ViewSettings, from_query

if TYPE_CHECKING:
    from bokeh.document import Document

#: A run that still goes is looked at again after so many milliseconds.
LOOK_AGAIN = 2000
#: What a page says that another site has opened.
LOOK_ONLY = (
    "Another page, or a program, has opened this one: it only shows. To draw or save, enter the "
    "address yourself."
)


class Page:
    """A page in one browser tab.

    Parameters
    ----------
    doc : bokeh Document
    scene : Scene
        Shared by all pages.
    """

    def __init__(self, doc: Document, scene: Scene) -> None:
        self.doc, self.scene = doc, scene
        settings, message = _first_settings(doc)
        self.may_write = may_write(doc)
        first = "" if self.may_write else f"{LOOK_ONLY} "
        self.controls = Controls(scene, settings, first + message)
        self._seen: Seen | None = None
        self._next: Seen | None = None
        self._zoom, self._number = 1.0, 0
        self._sent: dict[str, Wanted] = {}
        self.plots = self._make_plots(settings)
        self.sketch = SketchLayer(
            self.plots,
            self.controls,
            scene.sketch if self.may_write else None,
            self._say,
            self._later,
            self.ask,
        )
        # Before they belong to the document: it hears of no event that is asked for later.
        self.controls.save_screen.on_click(lambda: self._save(full=False))
        self.controls.save_full.on_click(lambda: self._save(full=True))
        with doc.models.freeze():  # else all models are gone through again at each of them
            self._lay_out(settings)
        self.painter = Painter(
            scene.cache, self._deliver, self._say_later, self._answer, self._put_mark
        )
        doc.on_session_destroyed(lambda context: self._end())
        if any(_still_goes(panel) for panel in scene.panels):
            self._progress = doc.add_periodic_callback(self._look_again, LOOK_AGAIN)

    def _end(self) -> None:
        """Let go of what works for a page that is gone."""
        self.painter.stop()
        self.sketch.end()

    def _make_plots(self, settings: ViewSettings) -> list[Plot]:
        from bokeh.models import ColumnDataSource, Range1d

        box = self.scene.box
        self.x_range: Any = Range1d(start=box.x0 - 0.5, end=box.x1 - 0.5)
        self.y_range: Any = Range1d(start=box.y1 - 0.5, end=box.y0 - 0.5)
        if settings.flip:
            self.x_range.start, self.x_range.end = self.x_range.end, self.x_range.start
        self.screen: Any = ColumnDataSource(
            {k: [] for k in ("y0", "y1", "x0", "x1", "zoom", "number")}
        )
        self.answered: Any = ColumnDataSource({"number": [0], "sharp": [0], "mark": [0]})
        self.drawn: Any = ColumnDataSource({"mark": []})
        ranges = (self.x_range, self.y_range)
        return [Plot(self.scene, panel, ranges) for panel in self.scene.panels]

    def _lay_out(self, settings: ViewSettings) -> None:
        """Put everything on the page, and tell what happens when something is touched."""
        from bokeh.layouts import column, row
        from bokeh.models import InlineStyleSheet

        panels = [plot.named() if len(self.plots) > 1 else plot.figure for plot in self.plots]
        pictures = row(
            *panels,
            sizing_mode="stretch_both",
            spacing=2,
            stylesheets=[InlineStyleSheet(css=style.PANELS)],
        )
        stage = column(pictures, self.controls.readout, sizing_mode="stretch_both")
        self.doc.template = style.template()  # type: ignore[assignment]  # bokeh takes it
        self.doc.title = f"{self.scene.segment} · s5 view"
        # What the page's script writes to must belong to the document, or nobody hears of it.
        self.x_range.tags = [self.screen, self.sketch.outbox, self.answered, self.drawn]
        self.doc.add_root(row(self.controls.column(), stage, sizing_mode="stretch_both", spacing=0))
        wire(self, settings)
        # What only the page changes, at each move of the pointer, is not told to the server.
        words = self.controls.readout, self.controls.hint
        for model in (self.x_range, self.y_range, *words, *self.sketch.pen_glyphs):
            model.syncable = False
        self.screen.on_change("data", lambda name, old, new: self._moved())
        self.drawn.on_change("data", lambda name, old, new: self._drawn())
        controls = self.controls
        controls.show.on_change("value", lambda name, old, new: self.ask())
        controls.layer.on_change("value", lambda name, old, new: self.ask())
        for box in controls.overlays.values():
            box.on_change("active", lambda name, old, new: self.ask())

    def _moved(self) -> None:
        """Ask for what is on the screen now."""
        told = seen_of(self.screen.data)
        if told is None:
            return
        seen, zoom, self._number = told
        same = self._seen is not None and zoom == self._zoom
        self._next = seen.beyond(self._seen) if same and self._seen is not None else None
        self._seen, self._zoom = seen, zoom
        middle = (seen.y0 + seen.y1) / 2, (seen.x0 + seen.x1) / 2
        self.sketch.zoom, self.sketch.middle = zoom, middle
        self.ask()

    def _drawn(self) -> None:
        """Hear from the page that it has drawn all before a mark; a NaN is none."""
        marks = [m for m in self.drawn.data.get("mark", ()) if isinstance(m, int | float)]
        self.painter.drawn(max((int(m) for m in marks if abs(m) <= FARTHEST), default=0))

    def ask(self) -> None:
        """Ask the painter for everything that is seen."""
        wish, ahead = {}, []
        for number, plot in enumerate(self.plots):
            for name, picture, choice in self._shown(plot.panel):
                place = f"{number} {name}"
                wanted = self._wanted(place, picture, choice)
                if wanted:
                    wish[place] = wanted
                    further = self._span(picture, self._next, margin=False)
                    ahead += [Wanted(picture, further, choice)] if further is not None else []
                else:
                    plot.clear(name)
                    self._sent.pop(place, None)
        self.painter.ask(wish, self._number, ahead)

    def _shown(self, panel: Panel) -> list[tuple[str, Picture, str]]:
        """Return the pictures of a panel that can be seen, and which window or layer of each."""
        found: list[tuple[str, Picture, str]] = []
        if panel.surface is not None:
            found.append(("surface", panel.surface, str(self.controls.shown_layer)))
        if panel.ink is not None:
            found.append(("ink", panel.ink, self.controls.choice))
        if self.scene.labels is not None:
            pictures = self.scene.labels.pictures
            found += [
                (kind, pictures[kind], "")
                for kind, box in self.controls.overlays.items()
                if box.active
            ]
        return found

    def _wanted(self, place: str, picture: Picture, choice: str) -> list[Wanted]:
        """Return what of a picture to ask for: what is on the screen, then with what is around it.

        What was sent before is asked for again where that is enough.
        """
        needed = self._span(picture, self._seen, margin=False)
        if needed is None:
            return []
        before = self._sent.get(place)
        if before is not None and before.picture is picture and before.span.holds(needed):
            wider: Span | None = before.span
        else:
            wider = self._span(picture, self._seen, margin=True)
        return [Wanted(picture, span, choice) for span in (needed, wider) if span is not None]

    def _span(self, picture: Picture, seen: Seen | None, *, margin: bool) -> Span | None:
        if seen is None:
            return None
        return span_of(picture.levels, picture.origin, seen, self._zoom, margin=margin)

    def _deliver(self, place: str, wanted: Wanted, pixels: Gray) -> None:
        """Take pixels from the painter's thread to the page."""

        def put() -> None:
            self._sent[place] = wanted
            number, _, name = place.partition(" ")
            self.plots[int(number)].put(name, wanted, pixels)

        self._later(put)

    def _answer(self, number: int, sharp: bool) -> None:
        """Tell the page that what it asked for with a move has been sent, or sent roughly."""
        self._tell(number=number, **({"sharp": number} if sharp else {}))

    def _put_mark(self, mark: int) -> None:
        """Ask the page to say when it has drawn all that was sent so far."""
        self._tell(mark=mark)

    def _tell(self, **words: int) -> None:
        def tell() -> None:
            self.answered.data = {**self.answered.data, **{k: [v] for k, v in words.items()}}

        self._later(tell)

    def _look_again(self) -> None:
        """Look at runs that still go: what they have written since is shown."""
        for panel in self.scene.panels:
            if panel.run is None or panel.ink is None or not _still_goes(panel):
                continue
            try:
                panel.run = open_run(panel.run.directory, partial=True)
                panel.ink.reopen()
            except (S5Error, OSError) as error:  # it may come back
                self._say(f"{panel.title} cannot be read: {error}")
                continue
            done = panel.run.blocks_done
            state = "finished" if panel.run.completed else f"{sum(done.values())} blocks done"
            self._say(f"{panel.title}: {state}")
        self.ask()
        if not any(_still_goes(panel) for panel in self.scene.panels):
            self.doc.remove_periodic_callback(self._progress)

    def settings(self) -> ViewSettings:
        """Return the settings as they are on the page."""
        controls, seen = self.controls, self._seen
        overlays = {kind: box.active for kind, box in controls.overlays.items()}
        return ViewSettings(
            show=controls.choice,
            boost=controls.boost.value,
            opacity=controls.opacity.value,
            colour=controls.colour.value,
            flip=controls.flip.active,
            invert=controls.invert.active,
            brightness=round(controls.brightness.value, 2),
            contrast=round(controls.contrast.value, 2),
            layer=controls.shown_layer if self.scene.layers else None,
            x=None if seen is None else (seen.x0 + seen.x1) / 2,
            y=None if seen is None else (seen.y0 + seen.y1) / 2,
            zoom=None if seen is None else self._zoom,
            **overlays,
        )

    def _save(self, *, full: bool) -> None:
        """Save what is on the screen, of each panel."""
        if not self.may_write:
            self._say(LOOK_ONLY)
            return
        if self._seen is None:
            return
        seen = self._seen
        box = Box(*(round(v + 0.5) for v in seen))
        try:
            paths = []
            for panel in self.scene.panels:
                shown = panel.ink if panel.ink is not None else panel.surface
                span = None if shown is None else self._span(shown, seen, margin=False)
                reduction = 1
                if not full and shown is not None and span is not None:
                    reduction = int(shown.levels[span.level].reduction)
                paths.append(
                    save_view(self.scene, panel, self.settings(), box, reduction=reduction)
                )
            self._say("Saved " + ", ".join(str(path) for path in paths))
        except S5Error as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        self.controls.note.text = text

    def _say_later(self, text: str) -> None:
        self._later(lambda: self._say(text))

    def _later(self, change: Callable[[], None]) -> None:
        """Change the document in its own turn, from another thread; a closed page has none."""
        with suppress(AttributeError):  # Bokeh takes the document of a closed page to pieces
            self.doc.add_next_tick_callback(change)


def _still_goes(panel: Panel) -> bool:
    return panel.run is not None and not panel.run.completed


def _first_settings(doc: Document) -> tuple[ViewSettings, str]:
    """Return the settings in the page's address, and what is to be said of them."""
    request = getattr(doc.session_context, "request", None)
    try:
        return from_query(request.arguments if request is not None else {}), ""
    except S5Error as error:
        return ViewSettings(), str(error)
