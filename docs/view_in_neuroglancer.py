"""Look at a volume or a run's ink in neuroglancer.

It comes with `pip install neuroglancer`:

    python docs/view_in_neuroglancer.py VOLUME.zarr RUN/ink.zarr

A store is served on 127.0.0.1 with byte ranges, which sharded zarr needs, to pages of any origin:
whoever can reach this machine's own address can read what lies in these folders while it runs.
"""

from __future__ import annotations

import functools
import http.server
import io
import re
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

import neuroglancer


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files, whole or in part."""

    def send_head(self) -> Any:
        """Answer ``Range: bytes=a-b``, ``a-`` and ``-n``."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(stop - start)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return io.BytesIO(data)

    def end_headers(self) -> None:
        """Let neuroglancer's page read it."""
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks whether it may."""
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


def show(*stores: str) -> neuroglancer.Viewer:
    """Serve stores and return neuroglancer's viewer of them."""
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    for store in stores:
        path = Path(store).absolute()
        handler = functools.partial(Ranges, directory=str(path))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with viewer.txn() as state:
            source = f"zarr://http://127.0.0.1:{server.server_port}/"
            state.layers[path.stem] = neuroglancer.ImageLayer(source=source)
            # A run's windows are channels, not a third direction.
            third = [] if (path / "ink").is_dir() else ["z"]
            names = ["x", "y", *third]
            state.dimensions = neuroglancer.CoordinateSpace(
                names=names, units="", scales=[1] * len(names)
            )
            state.layout = "xy"
    return viewer


if __name__ == "__main__":
    url = show(*sys.argv[1:]).get_viewer_url()
    webbrowser.open(url)
    input(f"{url}\nEnter ends it. ")
