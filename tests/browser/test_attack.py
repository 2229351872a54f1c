"""Attacks on the viewer in a real browser: no other script runs, and nothing is written."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from browser.page import Tab
from s5engine.view.app import page_of
from s5engine.view.scene import Scene, open_scene
from s5engine.view.serve import Viewer
from s5engine.view.url import SETTINGS

#: Says that it ran, draws a square, and presses every button that writes.
_SCRIPT = (
    "window.ran=1;s5.models.mode.active=1;"
    "s5.send(`polygon`,[100,200,200,100],[100,100,200,200]);"
    "for(const n of [`save_drawing`,`save_screen`,`save_full`])"
    "Bokeh.documents[0].get_model_by_name(n).trigger_event("
    "new (Bokeh.require(`core/bokeh_events`).ButtonClick)())"
)
MARKUP = [
    f'<img src=x onerror="{_SCRIPT}">',
    f'<svg onload="{_SCRIPT}">',
    f"</script><script>{_SCRIPT}</script>",
    f'<iframe srcdoc="<script>parent.{_SCRIPT}</script>">',
]


class Redirect(http.server.BaseHTTPRequestHandler):
    """Another site: it sends a browser on, at once or by a script of its page."""

    def do_GET(self) -> None:
        target = self.server.target  # type: ignore[attr-defined]  # set by the test
        at_once = self.path == "/at-once"
        body = b"" if at_once else f"<script>location={target!r}</script>".encode()
        self.send_response(302 if at_once else 200)
        if at_once:
            self.send_header("Location", target)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def other_site() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def place(data, tmp_path: Path, browser) -> Iterator[tuple[Scene, Viewer, Path]]:
    (tmp_path / "labels").mkdir()
    scene = open_scene([data / "run1"], labels=tmp_path / "labels", saves=tmp_path / "saves")
    viewer = Viewer(page_of(scene)).start()
    yield scene, viewer, tmp_path
    viewer.stop()


def arrive(tab: Tab, url: str) -> None:
    """Go there, and give a script the time to do its harm."""
    tab.page.goto(url)
    tab.page.wait_for_function("window.s5 && s5.models && s5.view.zoom != null")
    tab.settled()
    tab.page.wait_for_timeout(300)


@pytest.mark.parametrize("markup", MARKUP)
@pytest.mark.parametrize("way", ["at-once", "by-script"])
def test_another_sites_address_runs_nothing_and_writes_nothing(
    place, other_site, tab: Tab, markup: str, way: str
) -> None:
    _, viewer, folder = place
    query = "&".join(f"{name}={quote(markup)}" for name in sorted(SETTINGS))
    other_site.target = f"{viewer.url}?{query}"
    arrive(tab, f"http://localhost:{other_site.server_port}/{way}")
    assert tab.page.evaluate("window.ran") is None
    assert not list(folder.rglob("*.png"))
    assert markup[:20] in tab.note()  # it is said, as text


@pytest.mark.parametrize("markup", MARKUP)
def test_names_in_a_store_and_of_a_folder_run_nothing(place, tab: Tab, markup: str) -> None:
    scene, viewer, folder = place
    scene.segment = scene.panels[0].title = markup
    arrive(tab, viewer.url)
    assert tab.page.evaluate("window.ran") is None
    assert not list(folder.rglob("*.png"))
    assert markup in tab.page.title()


def test_markup_that_comes_into_the_page_all_the_same_runs_nothing(place, tab: Tab) -> None:
    _, viewer, folder = place
    arrive(tab, viewer.url)
    tab.page.evaluate("words => document.body.insertAdjacentHTML('beforeend', words)", MARKUP[0])
    tab.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s) }"
    )
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("window.ran") is None
    assert not list(folder.rglob("*.png"))
    assert any("Content Security Policy" in error for error in tab.errors)
    tab.errors.clear()


def test_a_page_that_another_site_opened_only_shows(place, other_site, tab: Tab) -> None:
    _, viewer, folder = place
    other_site.target = f"{viewer.url}?zoom=2"
    arrive(tab, f"http://localhost:{other_site.server_port}/by-script")
    assert "enter the address yourself" in tab.note()
    tab.page.evaluate(f"() => {{ {_SCRIPT} }}")  # as a script that runs all the same would
    tab.page.wait_for_timeout(500)
    assert not list(folder.rglob("*.png"))
    tab.page.goto(viewer.url)
    arrive(tab, viewer.url)
    tab.press("As on screen")
    tab.wait_note("Saved")
    assert list(folder.rglob("*.png"))


def test_a_page_without_its_connection_says_how_to_open_it(place, tab: Tab) -> None:
    _, viewer, _ = place
    tab.page.add_init_script("window.WebSocket = class { constructor() {} close() {} send() {} }")
    tab.page.goto(viewer.url)
    words = tab.page.locator("#unreached")
    assert not words.is_visible()
    words.wait_for(state="visible")
    assert "--port" in words.inner_text()
