"""A server that sends exactly the packets that a test wrote, and keeps the connection open."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

#: Bytes that are sent, seconds to wait, or None: say nothing more and keep the connection open.
Packet = bytes | float | None


@dataclass
class Asked:
    """A request: its path as it was sent, its query, and its headers in lower case."""

    path: str
    query: str
    headers: dict[str, str] = field(default_factory=dict)

    def span(self, size: int) -> tuple[int, int] | None:
        """Return the half-open byte range that is asked for of a file of ``size`` bytes."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if match is None:
            return None
        if not match[1]:
            return max(0, size - int(match[2])), size
        return int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)


def reply(body: bytes, status: str = "200 OK", *, length: int | None = -1, **headers: str) -> bytes:
    """Return a whole answer; ``length=None`` leaves Content-Length away."""
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + body


class RawServer:
    """Answers each request with the packets that ``answer`` gives; a context manager."""

    def __init__(self, answer: Callable[[Asked], Iterable[Packet]]) -> None:
        self.answer = answer
        self.requests: list[Asked] = []
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while (asked := _read_request(connection)) is not None:
                    self.requests.append(asked)
                    for packet in self.answer(asked):
                        if packet is None:
                            self._over.wait()
                            return
                        if isinstance(packet, bytes):
                            connection.sendall(packet)
                        else:
                            self._over.wait(packet)
            except OSError:
                pass
            finally:
                self._open.discard(connection)


def _read_request(connection: socket.socket) -> Asked | None:
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65536)
        if not more:
            return None
        head += more
    first, *lines = head.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    parts = urlsplit(first.split(" ")[1])
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return Asked(parts.path, parts.query, headers)
