"""Whatever an address, a store or a folder says is text on the viewer's page, never markup."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
import xarray as xr
from bokeh.document import Document
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s5engine.view.app import page_of
from s5engine.view.gate import may_write
from s5engine.view.scene import Scene, show_ink
from s5engine.view.serve import Viewer
from s5engine.view.url import SETTINGS
from viewer_page import CROSS_SITE, OPENED, OpenPage, ask, payload_of, served, small_scene

#: Openings of markup, scripts, templates and formulas, between which anything is drawn.
_OPENINGS = (
    "<img src=x onerror=",
    "<script>",
    "</script><script>",
    "<svg/onload=",
    '"><iframe src=',
    "' onmouseover='",
    "javascript:",
    "{{",
    "{%",
    "$$",
    "\\(",
    "<!--",
    "]]>",
    "&lt;img ",
    "<a href=",
    "<style>",
    "<base href=",
    "\u2028",
    "\x00",
    "\ud7ff",
)
ATTACKS = st.builds(
    lambda *pieces: "".join(pieces) or "<b>",
    st.sampled_from(_OPENINGS),
    st.text(max_size=12),
    st.sampled_from(_OPENINGS),
    st.text(max_size=12),
)
NAMES = st.sampled_from(
    [*sorted(SETTINGS), "bokeh-token", "bokeh-session-id", "bokeh-app-path", "title", "segment"]
)
#: Where text may stand: a picture of letters, or what nobody sees.
_SHOWN_AS_TEXT = {("Title", "text"), ("figure", "name")}


class Shown:
    """A server whose scene each test sets, and the document of the last page."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.document = scene, Document()
        self.viewer = Viewer(self._fill).start()

    def _fill(self, doc: Document) -> None:
        self.document = doc
        page_of(self.scene)(doc)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Iterator[Shown]:
    made = Shown(small_scene(tmp_path_factory.mktemp("shown")))
    gc.freeze()  # Bokeh collects garbage at the end of each session
    yield made
    gc.unfreeze()
    made.viewer.stop()


def ink_called(segment: str) -> xr.DataArray:
    return xr.DataArray(
        np.zeros((1, 8, 8), np.float32),
        dims=("window", "y", "x"),
        coords={"window": [3], "y": np.arange(8), "x": np.arange(8)},
        attrs={"segment": segment},
    )


def assert_only_text(document: Document, attack: str) -> None:
    """Every property of the document that holds the attack is shown as text."""
    for model in document.models:
        for name, value in model.properties_with_values().items():
            if not isinstance(value, str) or attack not in value:
                continue
            kind = type(model).__name__
            assert (kind, name) in {("Div", "text"), *_SHOWN_AS_TEXT}
            if kind == "Div":
                assert model.render_as_text is True
                assert model.disable_math is True


@given(name=NAMES, said=ATTACKS, called=ATTACKS, folder=ATTACKS)
@example("boost", "<img src=x onerror=alert(1)>", "<s>1</s>", "<u>2</u>")
@example("layer", "</script><script>alert(1)</script>", "<b>1</b>", "<i>2</i>")
@example("colour", "<svg/onload=alert(1)>", "<img src=x onerror=alert(1)>", "<script>1")
@settings(max_examples=50, deadline=None)
def test_an_address_a_store_and_a_folder_say_text(
    shown: Shown, name: str, said: str, called: str, folder: str
) -> None:
    shown.scene = show_ink(ink_called(called), None, "out/view")
    shown.scene.panels[0].title = folder
    status, _, html = ask(shown.viewer, f"/?{name}={quote_plus(said)}", **OPENED)
    assert status == 200
    document = shown.document
    for attack in (said, called, folder):
        assert "<" not in attack or attack not in html
        assert_only_text(document, attack)
    assert document.get_model_by_name("title").text == called
    told = document.get_model_by_name("note").text
    if name in SETTINGS - {"show"}:  # any text may be the name of a window
        assert f"{name}=" in told or f"{name} is" in told


@given(
    path=st.sampled_from(["/", "/ws", "/static/js/bokeh.min.js", "/nothing", "/static/js/x"]),
    query=ATTACKS,
)
@settings(max_examples=50, deadline=None)
def test_every_answer_says_that_nothing_else_runs_in_it(shown: Shown, path, query) -> None:
    status, headers, body = ask(shown.viewer, f"{path}?boost={quote(query, safe='')}")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert status < 500
    assert query not in body


def drawn_square(page: OpenPage) -> None:
    """Send a polygon and press the button that writes it."""
    page.set("mode", "active", 1)
    outbox = next(
        name
        for name, model in page.models.items()
        if model["name"] == "ColumnDataSource" and "shape" in str(model["attributes"]["data"])
    )
    data = {"x": [5, 40, 40, 5], "y": [5, 5, 40, 40], "shape": ["polygon"] * 4}
    entries = {"type": "map", "entries": [[key, value] for key, value in data.items()]}
    page.models["outbox"] = page.models[outbox]
    page.set("outbox", "data", entries)
    page.press("save_drawing")
    page.press("save_screen")
    page.press("save_full")


@pytest.mark.parametrize(
    ("headers", "writes"),
    [
        (OPENED, True),
        (OPENED | {"Sec-Fetch-Site": "same-origin"}, True),
        (CROSS_SITE, False),
        (OPENED | {"Sec-Fetch-Site": "same-site"}, False),  # another port of this machine
        (OPENED | {"Sec-Fetch-Dest": "iframe"}, False),
        ({}, False),  # a program, or a browser that says nothing
    ],
)
def test_only_a_page_that_its_person_opened_writes(tmp_path: Path, headers, writes) -> None:
    viewer = served(small_scene(tmp_path))
    try:
        with OpenPage(viewer, "?zoom=2&x=45&y=30", headers) as page:
            screen = next(
                name
                for name, model in page.models.items()
                if model["name"] == "ColumnDataSource" and "zoom" in str(model["attributes"])
            )
            page.models["screen"] = page.models[screen]
            told = {"y0": 0, "y1": 60, "x0": 0, "x1": 90, "zoom": 1, "number": 1}
            page.set(
                "screen", "data", {"type": "map", "entries": [[k, [v]] for k, v in told.items()]}
            )
            drawn_square(page)
            note = page.note()
    finally:
        viewer.stop()
    written = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert ("label.png" in written) == writes
    assert (len(written) > 1) == writes
    assert ("Saved" in note) == writes
    assert writes or "enter the address yourself" in note


def test_no_token_of_somebody_elses_making_opens_a_connection(shown: Shown) -> None:
    page, other = OpenPage(shown.viewer, headers=CROSS_SITE), served(shown.scene)
    try:
        foreign = OpenPage(other).token  # of another process: another key
    finally:
        other.stop()
    forged = [foreign, page.token.split(".")[0], page.token[:-2] + "xx", "x", "x.y.z", "e30"]
    for token in forged:
        attempt = OpenPage(shown.viewer, headers=CROSS_SITE)
        with pytest.raises(ConnectionError):
            attempt.connect(token)
        attempt.close()


def test_an_address_names_no_session(shown: Shown) -> None:
    first = OpenPage(shown.viewer)
    own = payload_of(first.token)["session_id"]
    for query in (f"?bokeh-token={first.token}", f"?bokeh-session-id={own}"):
        again = OpenPage(shown.viewer, query, CROSS_SITE)
        assert again.status == 200
        assert payload_of(again.token)["session_id"] != own
    assert "Cookie" not in first.html


def test_a_document_without_a_session_is_of_this_process_alone() -> None:
    nobody: Any = Document()
    assert may_write(nobody)
