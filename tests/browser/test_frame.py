"""What `s5.show` displays is drawn inside a notebook's page."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import s5engine as s5
from browser.page import Tab


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Stands in for the notebook's server."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def page(data, tmp_path: Path) -> Iterator[int]:
    ink = s5.open_run(data / "run1").ink
    shown = s5.show(ink, s5.open_volume(data / "phantom.zarr"), out=tmp_path / "saves")
    head = '<!doctype html><link rel="icon" href="data:,"><body style="background: white">'
    (tmp_path / "book.html").write_text(head + shown._repr_html_())
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    shown.stop()


def test_a_notebooks_page_holds_the_view(page: int, tab: Tab) -> None:
    tab.page.goto(f"http://127.0.0.1:{page}/book.html")
    frame = next(f for f in tab.page.frames if f.parent_frame is not None)
    frame.wait_for_function("window.s5 && s5.models && s5.asked > 0 && s5.asked === s5.sharp")
    seen = tab.settled()[50:550, 100:900]
    assert seen.std() > 10
    # The amber of the ink, over the gray surface.
    assert (seen[..., 0] - seen[..., 2] > 60).mean() > 0.05
