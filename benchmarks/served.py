"""A true-scale segment served from its own process, and that server's log."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from benchmarks.common import ROOT


class ServedSegment:
    """Serve a `true_scale_segment` from another process, on 127.0.0.1; a context manager.

    Parameters
    ----------
    height, width, layers : int
        Size of the segment.
    layout : str
        A name in `s5engine.phantom.LAYOUTS`.
    server : dict, optional
        Options of `s5engine.phantom.LayerServer`: latency, bandwidth.

    Attributes
    ----------
    url : str
        Address of the folder of layers.
    file_bytes : int
        Bytes of all layers.
    """

    def __init__(
        self,
        height: int,
        width: int,
        layers: int,
        *,
        layout: str = "rows-lzw",
        server: dict[str, Any] | None = None,
    ) -> None:
        wanted = {"height": height, "width": width, "layers": layers, "layout": layout}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.served", json.dumps([wanted, server or {}])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        said = self._read()
        self.url: str = said["url"]
        self.file_bytes: int = said["file_bytes"]

    def log(self) -> list[dict[str, Any]]:
        """Return every request since the start or the last `reset`."""
        found: list[dict[str, Any]] = self._ask("log")
        return found

    def bytes_sent(self) -> int:
        """Return the bytes of all bodies sent since the start or the last `reset`."""
        return sum(request["sent"] for request in self.log())

    def reset(self) -> None:
        """Forget the requests so far."""
        self._ask("reset")

    def close(self) -> None:
        """End the server's process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, word: str) -> Any:
        if self._process.stdin is None:
            raise RuntimeError("the server was started without a way to talk to it")
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"the server ended with status {self._process.wait()}")
        return json.loads(line)


def _serve(wanted: dict[str, Any], options: dict[str, Any]) -> None:
    """Serve until the other process closes our input; answer its words."""
    from s5engine.phantom import layers_path, serve_phantom, true_scale_segment

    segment = true_scale_segment(**wanted)
    size = sum(file.size for file in segment.files.values())
    with serve_phantom(segment, **options) as server:
        print(json.dumps({"url": server.url(layers_path()), "file_bytes": size}), flush=True)
        for line in sys.stdin:
            if line.strip() == "reset":
                server.reset_log()
                print("null", flush=True)
            else:
                print(json.dumps([vars(request) for request in server.requests]), flush=True)


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
