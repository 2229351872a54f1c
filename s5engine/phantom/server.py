"""A small HTTP server on this machine that behaves as the data server does, faults included."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import quote

from s5engine.errors import InvalidArgumentError
from s5engine.phantom.content import Content, File, make_content
from s5engine.phantom.faults import Fault, FaultPlan
from s5engine.phantom.folders import Listing, folder_entries, folder_page
from s5engine.phantom.http_connection import Connections, Request


class LayerServer:
    """Serve files over HTTP/1.1 from a background thread, on 127.0.0.1.

    Every parent folder of a file has an HTML listing. HEAD, single ranges, ETag and
    Last-Modified work as on the data server; connections are kept alive. A context manager.

    Parameters
    ----------
    files : mapping of str to bytes, Path or VirtualFile
        What is served, by path: ``"scrolls/s5/autogens/03192025/layers/00.tif"``.
    listing : {"apache", "nginx"}
        Whose folder pages to imitate.
    ranges : bool
        If false, Range headers are ignored: status 200 and the whole file.
    etag : bool
        If false, no ETag is sent.
    latency : float
        Seconds before each answer.
    bandwidth : float, optional
        Bytes per second and connection; no limit by default.
    faults : sequence of Fault
        What goes wrong; the first that matches a request spoils it.
    port : int
        0 for any free one.

    Raises
    ------
    InvalidArgumentError
        If an option is out of its range.
    SourceNotFoundError
        If a path is not a file.

    Examples
    --------
    >>> with LayerServer({"layers/00.tif": b"..."}) as server:
    ...     server.url("layers/")  # doctest: +SKIP
    'http://127.0.0.1:40217/layers/'
    """

    def __init__(
        self,
        files: Mapping[str, File],
        *,
        listing: Listing = "apache",
        ranges: bool = True,
        etag: bool = True,
        latency: float = 0.0,
        bandwidth: float | None = None,
        faults: Sequence[Fault] = (),
        port: int = 0,
    ) -> None:
        if listing not in ("apache", "nginx"):
            raise InvalidArgumentError(f'listing is "apache" or "nginx", not {listing!r}.')
        if latency < 0 or (bandwidth is not None and bandwidth <= 0):
            raise InvalidArgumentError(
                f"The latency must be ≥ 0 s (got {latency}) and the bandwidth > 0 bytes/s "
                f"(got {bandwidth})."
            )
        self.listing: Listing = listing
        self.ranges, self.etag = ranges, etag
        self.latency, self.bandwidth = latency, bandwidth
        self.faults = FaultPlan(faults)
        self._contents = {path.strip("/"): make_content(file) for path, file in files.items()}
        self._versions = 0
        self.serial = itertools.count(1)
        self._log: list[Request] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._tcp = Connections(self, port)
        self._thread = threading.Thread(
            target=self._tcp.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> LayerServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop: end every connection and wait for all threads. May be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._tcp.shutdown()
        self._thread.join()
        self._tcp.end_connections()
        self._tcp.server_close()

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._tcp.server_address[1])

    def url(self, path: str = "") -> str:
        """Return the address of a file or folder."""
        return f"http://127.0.0.1:{self.port}/{quote(path.lstrip('/'))}"

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or the last `reset_log`, in order of arrival."""
        with self._lock:
            return list(self._log)

    def bytes_sent(self, prefix: str = "") -> int:
        """Return the bytes of bodies sent for paths that begin with ``prefix``."""
        return sum(r.sent for r in self.requests if r.path.startswith(prefix))

    def reset_log(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._log.clear()

    def replace(self, path: str, file: File) -> None:
        """Put ``file`` at ``path``, new or in place of what was there, with a later date."""
        with self._lock:
            self._versions += 1
            self._contents[path.strip("/")] = make_content(file, self._versions)

    def remove(self, path: str) -> None:
        """Take a file away.

        Raises
        ------
        InvalidArgumentError
            If there is none.
        """
        with self._lock:
            if self._contents.pop(path.strip("/"), None) is None:
                raise InvalidArgumentError(f"The server has no file {path!r}.")

    # What the connections need.

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the server is open."""
        if seconds > 0:
            self._closing.wait(seconds)

    def find(self, path: str) -> Content | None:
        """Return the file at ``path``."""
        with self._lock:
            return self._contents.get(path)

    def page(self, path: str) -> bytes | None:
        """Return the listing of the folder ``path``, which ends in a slash or is empty."""
        with self._lock:
            sizes = {name: (c.size, c.mtime) for name, c in self._contents.items()}
        entries = folder_entries(path, sizes)
        return None if entries is None else folder_page(path, entries, self.listing)

    def is_folder(self, path: str) -> bool:
        """Whether any file lies below ``path`` (without its slash)."""
        with self._lock:
            return any(name.startswith(path + "/") for name in self._contents)

    def log(self, request: Request) -> None:
        """Note a request before it is answered, so that no client can be ahead of the log."""
        with self._lock:
            self._log.append(request)

    def count(self, request: Request, size: int) -> None:
        """Add ``size`` bytes to what was sent for ``request``."""
        with self._lock:
            request.sent += size
