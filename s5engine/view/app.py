"""`s5 view`: open what is named, serve it, say where."""

from __future__ import annotations

import gc
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from s5engine.console import say
from s5engine.view.scene import Scene, open_scene
from s5engine.view.serve import Viewer

if TYPE_CHECKING:
    from bokeh.document import Document


def page_of(scene: Scene) -> Callable[[Document], None]:
    """Return what fills a document with a page of the scene."""

    def make(doc: Document) -> None:
        from s5engine.view.page import Page

        Page(doc, scene)

    return make


def view(
    places: Sequence[str | Path],
    *,
    labels: str | Path | None = None,
    proposal: str | Path | None = None,
    saves: str | Path = "out/view",
    port: int = 0,
    browser: bool = True,
) -> None:
    """Serve a page on 127.0.0.1 until Ctrl-C; nothing is served if an argument is wrong.

    Parameters
    ----------
    places, labels, proposal, saves
        See `s5engine.view.scene.open_scene`.
    port : int
        0 takes a free one.
    browser : bool
        Open the page.
    """
    scene = open_scene(places, labels=labels, proposal=proposal, saves=saves)
    viewer = Viewer(page_of(scene), port=port)

    def ready() -> None:
        _settle()
        say(f"view: {viewer.url} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(viewer.url)

    viewer.run(ready)


def _settle() -> None:
    """Import what pages need, and let the garbage collector pass over all that is there for good.

    Else it goes through the modules again while somebody waits for a picture, for 0.1 to 0.2 s: now
    and then, and whenever Bokeh ends a page's session.
    """
    import bokeh.plotting  # noqa: F401

    import s5engine.view.page  # noqa: F401

    gc.freeze()
