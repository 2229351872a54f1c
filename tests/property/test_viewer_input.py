"""The viewer under odd input: no traceback, no status from 500 on, and the page goes on."""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s5engine.view import painter
from s5engine.view.region import seen_of
from s5engine.view.serve import Viewer
from viewer_page import OPENED, OpenPage, ask, served, small_scene

#: Controls of a page, and which of their properties it sets.
_CONTROLS = {
    "layer": "value",
    "boost": "value",
    "opacity": "value",
    "radius": "value",
    "show": "value",
    "colour": "value",
    "flip": "active",
    "invert": "active",
    "mode": "active",
    "kind": "active",
    "erase": "active",
    "note": "text",
}
#: Numbers as Bokeh's messages write them, and what is none.
_NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            {"type": "number", "value": "nan"},
            {"type": "number", "value": "+inf"},
            {"type": "number", "value": "-inf"},
            {"type": "number", "value": "x"},
            1e308,
            -1e308,
            10**400,
            -1,
            0,
            1e-320,
            None,
            True,
            "",
            "3",
            [],
            {},
            [float("nan")],
            {"type": "object", "name": "Div"},
            {"id": "p9999"},
            {"type": "bytes", "data": "!"},
            {"type": "ndarray"},
            {"type": "map"},
        ]
    ),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)
_SCREEN = ("y0", "y1", "x0", "x1", "zoom", "number")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory) -> Iterator[Viewer]:
    made = served(small_scene(tmp_path_factory.mktemp("odd")))
    gc.freeze()  # Bokeh collects garbage at the end of each session
    yield made
    gc.unfreeze()
    made.stop()


@pytest.fixture(scope="module")
def page(viewer: Viewer) -> Iterator[OpenPage]:
    with OpenPage(viewer) as opened:
        name_sources(opened)
        yield opened


def name_sources(page: OpenPage) -> None:
    """Give the page's nameless sources the names by which the tests call them."""
    for model in list(page.models.values()):
        data = str(model["attributes"].get("data"))
        if model["name"] == "ColumnDataSource":
            for key, name in (("'zoom'", "screen"), ("'shape'", "outbox")):
                if key in data:
                    page.models[name] = model
            if "'mark'" in data and "'sharp'" not in data:
                page.models["drawn"] = model


class Tracebacks(logging.Handler):
    """Keeps every record of the log that holds a traceback or is an error."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.kept.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Tracebacks]:
    handler = Tracebacks()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def table(columns: dict[str, Any]) -> dict[str, Any]:
    return {"type": "map", "entries": [[name, value] for name, value in columns.items()]}


def look(page: OpenPage, number: int) -> str:
    """Move as a page does."""
    told = {"y0": 0, "y1": 60, "x0": 0, "x1": 90, "zoom": 1.5, "number": number}
    return page.set("screen", "data", table({name: [value] for name, value in told.items()}))


@given(control=st.sampled_from(sorted(_CONTROLS)), value=_NUMBERS)
@example("layer", {"type": "number", "value": "nan"})
@example("layer", {"type": "number", "value": "+inf"})
@example("show", "99")
@example("boost", {"type": "number", "value": "nan"})
@settings(max_examples=50, deadline=None)
def test_a_control_of_any_value_ends_nothing(page: OpenPage, log_, control, value) -> None:
    before = len(log_.kept)
    assert page.set(control, _CONTROLS[control], value) in ("OK", "ERROR")
    assert look(page, 1) == "OK"
    assert log_.kept[before:] == []


@pytest.mark.parametrize("control", ["layer", "boost", "opacity", "show", "colour"])
@pytest.mark.parametrize("value", ["nan", "+inf", "-inf"])
def test_a_picture_is_saved_or_refused_at_odd_values(viewer, log, control, value) -> None:
    with OpenPage(viewer) as page:
        name_sources(page)
        look(page, 1)
        page.set(control, "value", {"type": "number", "value": value})
        assert page.press("save_screen") == "OK"
        told = page.note()
        assert told.startswith("Saved") or control in told
    assert log.kept == []


@given(
    st.dictionaries(st.sampled_from(_SCREEN), st.lists(_NUMBERS, max_size=2)) | _NUMBERS,
    st.sampled_from(["screen", "drawn", "outbox"]),
)
@example({"y0": [0], "y1": [60], "x0": [0], "x1": [90], "zoom": [0], "number": [1]}, "screen")
@example(
    {"y0": [-1e308], "y1": [1e308], "x0": [0], "x1": [9], "zoom": [1e308], "number": [1]}, "screen"
)
@example({"mark": [{"type": "number", "value": "nan"}]}, "drawn")
@settings(max_examples=100, deadline=None)
def test_a_move_of_any_value_ends_nothing(page: OpenPage, log_, data, source) -> None:
    before = len(log_.kept)
    told = table(data) if isinstance(data, dict) and "type" not in data else data
    assert page.set(source, "data", told) in ("OK", "ERROR")
    assert look(page, 2) == "OK"
    assert log_.kept[before:] == []


@given(
    st.sampled_from(["PATCH-DOC", "PUSH-DOC", "PULL-DOC-REQ", "OK", "ACK", "", "nothing"]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["events", "kind", "model", "id", "new"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    ),
)
@example("PATCH-DOC", {"events": [{"kind": "ModelChanged"}]})
@example("PUSH-DOC", {"doc": {"version": "3.9", "title": "x", "roots": []}})
@settings(max_examples=60, deadline=None)
def test_a_message_of_any_content_ends_nothing(page: OpenPage, log_, kind, content) -> None:
    before = len(log_.kept)
    for piece in (json.dumps({"msgid": "odd", "msgtype": kind}), "{}", json.dumps(content)):
        page.send_piece(piece)
    assert look(page, 3) == "OK"
    assert log_.kept[before:] == []


@pytest.mark.parametrize("piece", ["{", "[]", "null", "\x00", "{}", '{"msgtype": 1}', b"\x00", ""])
def test_pieces_that_are_no_message_end_nothing(viewer: Viewer, log, piece) -> None:
    with OpenPage(viewer) as page:
        name_sources(page)
        for _ in range(3):
            page.send_piece(piece)
        for _ in range(3):  # until a message begins where the server expects one
            page.send_piece("{}")
        assert look(page, 4) == "OK"
    assert log.kept == []


_PIECES = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    path=st.sampled_from(["/", "/static/js/", "/static/", "/ws", "/static/js/bokeh.min.js/"]),
    end=_PIECES,
    query=_PIECES,
    odd=st.sampled_from(["", "%00", "%ff", "..", "%2e%2e/", "%", "*"]),
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PATCH"]),
)
@example("/static/js/", "", "", "%00", "GET")
@example("/", "", "", "%00", "GET")
@settings(max_examples=150, deadline=None)
def test_odd_addresses_are_refused(viewer: Viewer, log_, path, end, query, odd, method) -> None:
    before = len(log_.kept)
    status, _, _ = ask(viewer, f"{path}{quote(end)}{odd}?{quote(query, safe='&=+')}={odd}", method)
    plain = path == "/" and not end and not odd
    assert status == 200 if plain and method == "GET" else 400 <= status < 500
    assert log_.kept[before:] == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/js/%00",
        "/static/js/%00.js",
        "/static/js/bokeh.min.js%00",
        "/static/js/%ff",
        "/static/js/" + "a" * 3000,
        "/static/js/",
        "/%00",
        "/static/js/..%2fx",
    ],
)
def test_odd_paths_of_scripts_are_refused(viewer: Viewer, log, path: str) -> None:
    assert 400 <= ask(viewer, path)[0] < 500
    assert log.kept == []


@pytest.mark.parametrize(
    "query",
    [
        "?layer=nan",
        "?boost=nan",
        "?x=1e308&y=-1e308",
        "?zoom=inf",
        "?%ff=%ff",
        "?boost=%ff",
        "?show=%00",
        "?&&==",
        "?layer=" + "9" * 4000,
        "?boost=" + "1" * 9000,
        "?colour=%F0%9F",
    ],
)
def test_odd_settings_open_the_page_all_the_same(viewer: Viewer, log, query: str) -> None:
    with OpenPage(viewer, query) as page:
        assert page.status == 200
        name_sources(page)
        assert look(page, 1) == "OK"
    assert log.kept == []


@pytest.fixture(scope="module")
def log_() -> Iterator[Tracebacks]:
    """Of the whole module, for tests that draw."""
    handler = Tracebacks()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_what_is_seen_is_taken_as_it_is_sent() -> None:
    told = dict(zip(_SCREEN, [[1.5], [9.5], [0.0], [4.0], [2.0], [7]], strict=True))
    assert seen_of(told) == ((1.5, 9.5, 0.0, 4.0), 2.0, 7)
    assert seen_of(told | {"zoom": [float("nan")]}) is None
    assert seen_of(told | {"y1": [1.5]}) is None
    assert seen_of({}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-2"},
        {"Range": "x"},
        {"If_Modified_Since": "Thu, 99 Foo 2000"},
        {"Cookie": 'a="\x01; =;;'},
        {"Content_Length": "x"},
        {"Origin": "http://[::1"},
        {"Origin": "http://"},
        {"Bokeh_Session_Id": "x"},
        {"Sec_Fetch_Site": "x" * 1000},
    ],
)
@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/bokeh.min.js"])
def test_odd_headers_are_answered(viewer: Viewer, log, path: str, headers) -> None:
    assert ask(viewer, path, **(OPENED | headers))[0] < 500
    assert log.kept == []


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_a_tab_that_is_closed_leaves_no_traceback(closing, log, pause: float, abrupt) -> None:
    page = OpenPage(closing)
    page.connect(page.token)
    page.pull()
    name_sources(page)
    for number in range(3):
        look(page, number)
    time.sleep(pause)
    page.close(abrupt=abrupt)
    assert ask(closing, "/")[0] == 200
    assert log.kept == []


@pytest.fixture(scope="module")
def closing(tmp_path_factory) -> Iterator[Viewer]:
    """A viewer that reads slowly, and forgets closed pages at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s5engine.view.gate._LOOK_FOR_CLOSED", 20)
        patch.setattr("s5engine.view.gate._KEEP_CLOSED", 1)
        read = painter.read_tiles

        def slowly(*words: Any) -> None:
            time.sleep(0.03)
            read(*words)

        patch.setattr(painter, "read_tiles", slowly)
        made = served(small_scene(tmp_path_factory.mktemp("closing")))
        yield made
        made.stop()
