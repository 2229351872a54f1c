"""A Bokeh server for one scene, on 127.0.0.1 alone, that answers nobody else's pages."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from s5engine.errors import InvalidArgumentError, MissingExtraError, StoreError

if TYPE_CHECKING:
    from bokeh.document import Document

ADDRESS = "127.0.0.1"


class Viewer:
    """A server being run; `run` in this thread, or `start` in one of its own.

    Parameters
    ----------
    make_page : callable
        Fills a Bokeh document; called for each tab that opens.
    port : int
        0 takes a free one.
    frames : str
        Which pages may hold this one in a frame, as in Content-Security-Policy.

    Raises
    ------
    InvalidArgumentError
        If there is no such port.
    StoreError
        If the port is taken.
    """

    def __init__(
        self, make_page: Callable[[Document], None], *, port: int = 0, frames: str = "'none'"
    ) -> None:
        if not 0 <= port < 2**16:
            raise InvalidArgumentError(f"A port is in 0…65535, not {port}.")
        self._make_page, self._frames = make_page, frames
        self._sockets = _bind(port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._loop: Any = None
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.port}/"

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until Ctrl-C or `stop`."""
        asyncio.run(self._serve(ready))

    def start(self) -> Viewer:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="s5-view-server", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def stop(self) -> None:
        """End serving."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join()

    async def _serve(self, ready: Callable[[], None]) -> None:
        from bokeh.server.server import BaseServer
        from tornado.httpserver import HTTPServer
        from tornado.ioloop import IOLoop

        from s5engine.view.gate import application_of

        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        application = application_of(self._make_page, self.port, self._frames)
        http = HTTPServer(application)
        http.add_sockets(self._sockets)
        server = BaseServer(IOLoop.current(), application, http)
        server.start()
        self._ready.set()
        ready()
        try:
            await self._end.wait()
        finally:
            # Bokeh itself would leave open pages, and the threads that read for them, as they are.
            for session in server.get_sessions():
                context = session.document.session_context
                if context is not None:
                    for ended in session.document.session_destroyed_callbacks:
                        ended(context)
            server.stop()
            await http.close_all_connections()


def _bind(port: int) -> list[socket.socket]:
    """Return the socket, on 127.0.0.1, as a list."""
    if find_spec("bokeh") is None:
        raise MissingExtraError(
            "The viewer needs Bokeh, which is not installed.",
            'Install it with `pip install "s5engine[view]"`.',
        )
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # there it would let others take the port away
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, port))
        listening.listen(128)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise StoreError(
            f"Port {port} of this machine cannot be used: {error.strerror}.",
            "Choose another --port, or 0 for a free one.",
        ) from error
    return [listening]
