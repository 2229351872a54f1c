"""A Bokeh server for one exhibit, on 127.0.0.1 alone, that answers nobody else's pages."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from s5engine.errors import InvalidArgumentError, MissingExtraError, StoreError

if TYPE_CHECKING:
    from bokeh.document import Document

ADDRESS = "127.0.0.1"
#: Everything that is answered: the page, its connection, and Bokeh's own scripts.
_PATHS = ("/", "/ws")
_SCRIPTS = "/static/js/"


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

        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        application = _application(self._make_page, self.port, self._frames)
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


def _application(make_page: Callable[[Document], None], port: int, frames: str) -> Any:
    """Return Bokeh's application, behind a guard of hosts, origins and paths."""
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.tornado import BokehTornado
    from tornado.web import RequestHandler

    own = frozenset({f"{ADDRESS}:{port}", f"localhost:{port}"})

    class Refusal(RequestHandler):
        """Answers what is not served."""

        def prepare(self) -> None:
            """Refuse whatever the method."""
            self.set_status(403)
            self.finish("s5 view does not serve this.\n")

        def check_xsrf_cookie(self) -> None:
            """Leave it to the refusal."""

    class Guarded(BokehTornado):
        """Bokeh's, for requests to this host from its own page alone.

        Another site's page can reach 127.0.0.1, by a form, a script or a name that it lets point
        here: its Host or Origin header tells. The environment's BOKEH_ALLOW_WS_ORIGIN changes
        nothing of it.
        """

        def find_handler(self, request: Any, **kwargs: Any) -> Any:
            if not is_own(request, own):
                return self.get_handler_delegate(request, Refusal)
            return super().find_handler(request, **kwargs)

        def log_request(self, handler: Any) -> None:
            """Say nothing: the address holds what somebody looks at."""

    application = Guarded(
        {"/": Application(FunctionHandler(make_page))},
        extra_websocket_origins=sorted(own),
        keep_alive_milliseconds=10_000,
        check_unused_sessions_milliseconds=5_000,
        unused_session_lifetime_milliseconds=15_000,
        websocket_max_message_size_bytes=64 * 2**20,
    )
    _add_headers(application, frames)
    return application


def _add_headers(application: Any, frames: str) -> None:
    """Let the page be held in no other frames than these, and send no address to anybody."""
    from bokeh.server.views.doc_handler import DocHandler

    for rule in application.wildcard_router.rules + application.default_router.rules:
        if isinstance(rule.target, type) and issubclass(rule.target, DocHandler):
            rule.target = _with_headers(rule.target, frames)


def _with_headers(handler: Any, frames: str) -> Any:
    class Page(handler):  # type: ignore[misc]  # a class made at run time
        """The page, with its headers."""

        def set_default_headers(self) -> None:
            super().set_default_headers()
            self.set_header("Content-Security-Policy", f"frame-ancestors {frames}")
            self.set_header("Referrer-Policy", "no-referrer")
            self.set_header("X-Content-Type-Options", "nosniff")

    return Page


def is_own(request: Any, own: frozenset[str]) -> bool:
    """Return whether a request is for this server, from its own page, for what it serves."""
    host = request.headers.get("Host", "").lower()
    origins = request.headers.get_list("Origin")
    own_origin = all(
        urlsplit(origin).scheme == "http" and urlsplit(origin).netloc.lower() in own
        for origin in origins
    )
    path = request.path
    served = path in _PATHS or (path.startswith(_SCRIPTS) and ".." not in path)
    return host in own and own_origin and served and not (path == "/ws" and not origins)
