"""The connections of a `LayerServer`: a thread for each, which answers or spoils requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from s5engine.phantom.content import (
    FIRST_MTIME,
    Content,
    Pace,
    RangeNotSatisfiableError,
    parse_range,
)
from s5engine.phantom.faults import Fault

if TYPE_CHECKING:
    from s5engine.phantom.server import LayerServer

#: Buffers per system call; Linux takes 1024.
MAX_BUFFERS = 1000


@dataclass
class Request:
    """One request as the server saw it.

    Parameters
    ----------
    method, path : str
        ``path`` without the leading slash and the query.
    start, stop : int or None
        The half-open byte range that was asked for; None without a Range header.
    status : int
        Of the answer; 0 if the connection was dropped without one.
    sent : int
        Bytes of the body handed to the network so far.
    """

    method: str
    path: str
    start: int | None
    stop: int | None
    status: int = 0
    sent: int = 0


class Connections(TCPServer):
    """A thread for each connection; knows them all, so that it can end them all."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, owner: LayerServer, port: int) -> None:
        self.owner = owner
        self._threads: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a new connection in its own thread."""
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._threads[thread] = request
        thread.start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client went away, or the server is closing: both are ordinary ends
        finally:
            with self._lock:
                self._threads.pop(threading.current_thread())
            self.shutdown_request(request)

    def end_connections(self) -> None:
        """Close every open connection and wait for its thread."""
        with self._lock:
            # Under the lock: no socket in the table can have been closed, its number reused.
            waiting = list(self._threads)
            for connection in self._threads.values():
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
        for thread in waiting:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, answers or spoils them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Connections

    def setup(self) -> None:
        super().setup()
        self.owner = self.server.owner
        self.pace = Pace(self.owner.bandwidth, self.owner.pause)

    def do_GET(self) -> None:
        """Answer with head and body."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self._answer()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the requests are in the log."""

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        content = self.owner.find(path)
        asked: tuple[int, int] | None = None
        past_end = False
        if content is not None:
            try:
                asked = parse_range(self.headers.get("Range"), content.size)
            except RangeNotSatisfiableError:
                past_end = True
        self.entry = Request(self.command, path, *(asked or (None, None)))
        self.owner.log(self.entry)
        self.owner.pause(self.owner.latency)
        fault = self.owner.faults.next(self.command, path)
        if fault is not None and self._spoil(fault):
            return
        if content is None:
            self._folder(path, fault)
        elif past_end and self.owner.ranges and not (fault and fault.kind == "ignore-range"):
            self._send(416, {"Content-Range": f"bytes */{content.size}"})
        else:
            self._file(content, asked, fault)

    def _spoil(self, fault: Fault) -> bool:
        """Do what a fault does before the file is looked at; say whether that was the answer."""
        if fault.kind == "hang":
            self.owner.pause(fault.seconds)
        elif fault.kind == "drop":
            self.close_connection = True
            return True
        elif fault.kind == "status":
            retry = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            self._send(fault.code, {"Content-Type": "text/plain", **retry}, _excuse(fault.code))
            return True
        elif fault.kind == "html":
            self._send(200, {"Content-Type": "text/html"}, _SORRY)
            return True
        return False

    def _folder(self, path: str, fault: Fault | None) -> None:
        page = self.owner.page(path) if not path or path.endswith("/") else None
        if page is not None:
            keep = fault.keep if fault and fault.kind == "truncate" else None
            self._send(200, {"Content-Type": "text/html;charset=UTF-8"}, page, keep=keep)
        elif path and not path.endswith("/") and self.owner.is_folder(path):
            self._send(301, {"Location": self.owner.url(path + "/")})
        else:
            self._send(404, {"Content-Type": "text/plain"}, _excuse(404))

    def _file(self, content: Content, asked: tuple[int, int] | None, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if not self.owner.ranges or kind == "ignore-range":
            asked = None
        if asked and kind == "wrong-range":
            shift = 1 if asked[1] < content.size else -1
            asked = max(0, asked[0] + shift), asked[1] + shift
        headers = {"Content-Type": "image/tiff", "Last-Modified": content.last_modified}
        if self.owner.ranges:
            headers["Accept-Ranges"] = "bytes"
        if self.owner.etag:
            headers["ETag"] = content.etag
            if kind == "new-etag":
                headers["ETag"] = f'{content.etag[:-1]}-{next(self.owner.serial)}"'
        start, stop = asked or (0, content.size)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        keep = fault.keep if fault and kind == "truncate" else None
        self._send(206 if asked else 200, headers, content, start, stop, keep=keep)

    def _send(
        self,
        status: int,
        headers: Mapping[str, str],
        body: Content | bytes = b"",
        start: int = 0,
        stop: int | None = None,
        *,
        keep: float | None = None,
    ) -> None:
        """Send head and body; with ``keep`` only that share of the body, then close."""
        stop = len(body) if isinstance(body, bytes) else (stop or 0)
        self.entry.status = status
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {stop - start}", "", ""]
        self._write([memoryview("\r\n".join(lines).encode("latin-1"))])
        if self.command == "HEAD":
            return
        if keep is not None:
            stop = start + int((stop - start) * keep)
            self.close_connection = True
        content = body if isinstance(body, Content) else Content(body, len(body), "", FIRST_MTIME)
        # A file on disk that has shrunk sends less: then only the end of the connection says so.
        self.close_connection |= not content.still_whole()
        for batch in content.batches(start, stop, self.pace.step):
            size = sum(len(view) for view in batch)
            self.pace.take(size)
            self.owner.count(self.entry, size)
            self._write(batch)

    def _write(self, views: list[memoryview]) -> None:
        """Send every byte of ``views``, without joining them."""
        while views:
            sent = self.connection.sendmsg(views[:MAX_BUFFERS])
            done = 0
            while done < len(views) and sent >= len(views[done]):
                sent -= len(views[done])
                done += 1
            views = views[done:]
            if sent:
                views[0] = views[0][sent:]


_SORRY = b"<html><head><title>Please wait</title></head><body>Checking your browser</body></html>"


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def _excuse(status: int) -> bytes:
    return f"{status} {_phrase(status)}\n".encode()
