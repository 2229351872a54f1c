"""What `s5.show` displays is drawn inside a notebook's page."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import s5engine as s5
from browser.page import ALL_HERE, Tab


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Stands in for the notebook's server."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def serve(folder: Path, body: str) -> http.server.ThreadingHTTPServer:
    """Serve a page with this in it, as ``book.html``."""
    head = '<!doctype html><link rel="icon" href="data:,"><body style="background: white">'
    (folder / "book.html").write_text(head + body)
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def check_frame(tab: Tab, server: http.server.ThreadingHTTPServer) -> None:
    """Open the page, and look at what its frame shows."""
    try:
        tab.page.goto(f"http://127.0.0.1:{server.server_port}/book.html")
        frame = tab.page.wait_for_selector("iframe").content_frame()
        frame.wait_for_function(f"window.s5 && s5.models && {ALL_HERE}")
        seen = tab.settled(sharp=False)[50:550, 100:900]
    finally:
        server.shutdown()
        server.server_close()
    assert seen.std() > 10
    # The amber of the ink, over the gray surface.
    assert (seen[..., 0] - seen[..., 2] > 60).mean() > 0.05


def test_a_notebooks_page_holds_the_view(data, tmp_path: Path, tab: Tab) -> None:
    ink = s5.open_run(data / "run1").ink
    shown = s5.show(ink, s5.open_volume(data / "phantom.zarr"), out=tmp_path / "saves")
    try:
        check_frame(tab, serve(tmp_path, shown._repr_html_()))
    finally:
        shown.stop()


#: Puts HTML into an output as JupyterLab does: scripts in it are made anew, so that they run.
OUTPUT = """<div class="jp-RenderedHTMLCommon jp-RenderedHTML jp-OutputArea-output"></div><script>
const output = document.querySelector("div");
output.innerHTML = %s;
for (const old of output.querySelectorAll("script")) {
  const made = document.createElement("script");
  made.textContent = old.textContent;
  old.replaceWith(made);
}
</script>"""


#: A kernel that runs one cell, says what it answers, and goes on until the input ends.
KERNEL = """
import json, sys
import nbclient, nbformat
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])
client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3")
with client.setup_kernel():
    client.execute_cell(book.cells[0], 0)
    print(json.dumps(book.cells[0].outputs[0]["data"]), flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_what_a_kernel_answers_is_drawn_where_jupyter_puts_it(
    data, tmp_path: Path, tab: Tab
) -> None:
    run, volume, saves = (str(p) for p in (data / "run1", data / "phantom.zarr", tmp_path))
    code = (
        "import s5engine as s5\n"
        f"s5.show(s5.open_run({run!r}).ink, s5.open_volume({volume!r}), out={saves!r})"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", KERNEL, code], text=True, **pipes) as kernel:
        answer = json.loads(kernel.stdout.readline())
        assert answer["text/plain"].startswith("View at http://127.0.0.1:")
        check_frame(tab, serve(tmp_path, OUTPUT % json.dumps(answer["text/html"])))
        kernel.communicate("")
