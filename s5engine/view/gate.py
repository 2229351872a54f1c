"""Who is answered by the viewer's server, and with which headers; Bokeh is imported with it.

Another site's page can reach 127.0.0.1, by a link, a form, a script or a name that it lets point
here: the Host and Origin headers tell. The right to write, labels or pictures, is in the session's
token alone: it is signed with a key made for this process, given with a page that no other site
has opened, and taken from no address.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.embed.server import server_html_page_for_session
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.doc_handler import DocHandler
from bokeh.server.views.static_handler import StaticHandler
from bokeh.server.views.ws import WSHandler
from tornado.web import RequestHandler

from s5engine.view.connection import Connection
from s5engine.view.url import SETTINGS

if TYPE_CHECKING:
    from bokeh.document import Document

#: Everything that is answered: the page, its connection, and Bokeh's own scripts.
_PATHS = ("/", "/ws")
_SCRIPTS = re.compile(r"/static/js(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
#: Names of this machine, which a forwarded port is opened by.
_HERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
#: By these a session is named in an address or a header of Bokeh's: here by neither.
_SESSION = ("bokeh-token", "bokeh-session-id")
#: The word in a session's token that says that its page may write.
MAY_WRITE = "may_write"
_KEY_BYTES = 32
#: How often closed pages are looked for, and how long one may come back, ms.
_LOOK_FOR_CLOSED, _KEEP_CLOSED = 5_000, 15_000
#: A setting in the address is not longer, bytes.
_LONGEST = 200


def application_of(make_page: Callable[[Document], None], port: int, frames: str) -> Any:
    """Return Bokeh's application, behind a guard of hosts, origins and paths.

    Parameters
    ----------
    make_page : callable
        Fills a document.
    port : int
    frames : str
        Which pages may hold this one in a frame, as in Content-Security-Policy.
    """
    own = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
    framed = frames != "'none'"

    class OwnPages(FunctionHandler):
        """Fills documents, and notes in their tokens whether they may write."""

        def process_request(self, request: Any) -> dict[str, Any]:
            # It travels in a header: a long address must not make it too long.
            known = {
                name: [values[-1][:_LONGEST]]
                for name, values in request.arguments.items()
                if name in SETTINGS and values
            }
            return {MAY_WRITE: is_opened_here(request.headers, framed), "arguments": known}

    class Refusal(_Refusal):
        """Says which hosts are answered."""

        hosts = own

    class Guarded(BokehTornado):
        """Bokeh's, for requests to this host from its own page alone.

        The environment's BOKEH_ALLOW_WS_ORIGIN changes nothing of it.
        """

        def find_handler(self, request: Any, **kwargs: Any) -> Any:
            if not is_own(request, own):
                return self.get_handler_delegate(request, Refusal)
            return super().find_handler(request, **kwargs)

        def log_request(self, handler: Any) -> None:
            """Say nothing: the address holds what somebody looks at."""

    application = Guarded(
        {"/": Application(OwnPages(make_page))},
        extra_websocket_origins=sorted(own),
        secret_key=secrets.token_bytes(_KEY_BYTES),
        sign_sessions=True,
        include_headers=[],
        include_cookies=[],
        keep_alive_milliseconds=10_000,
        check_unused_sessions_milliseconds=_LOOK_FOR_CLOSED,
        unused_session_lifetime_milliseconds=_KEEP_CLOSED,
        websocket_max_message_size_bytes=64 * 2**20,
        s5_policy=_policy(own, frames),
    )
    _use_own_handlers(application)
    return application


def _policy(own: frozenset[str], frames: str) -> str:
    """Return the page's Content-Security-Policy, without its scripts.

    Bokeh puts styles into the page as it goes, and builds a function of each `CustomJS`.
    """
    connections = " ".join(f"ws://{host}" for host in sorted(own))
    return (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        f"font-src 'self' data:; connect-src 'self' {connections}; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {frames}"
    )


class _Headers(RequestHandler):
    """Headers of every answer: nothing runs in it, nobody learns of its address."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")


class _Refusal(_Headers):
    """Answers what is not served, whatever the method."""

    hosts: frozenset[str] = frozenset()

    def prepare(self) -> None:
        """Refuse; say how a forwarded port is opened."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(refusal(self.request.headers, self.hosts))

    def check_xsrf_cookie(self) -> None:
        """Leave it to the refusal."""


class _Page(_Headers, DocHandler):
    """The page: its scripts alone run in it, and its session is named by no address."""

    def prepare(self) -> Any:
        for name in _SESSION:
            self.request.arguments.pop(name, None)
            if name in self.request.headers:
                del self.request.headers[name]
        prepared: Any = super()
        return prepared.prepare()

    async def get(self, *args: Any, **kwargs: Any) -> None:
        bokehs: Any = self
        session = await bokehs.get_session()
        nonce = secrets.token_urlsafe(16)
        # The title comes from a store: the page's own script sets it, as text.
        page = server_html_page_for_session(
            session,
            resources=self.application.resources(),
            title="s5 view",
            template=session.document.template,
        )
        policy = self.application.settings["s5_policy"]
        self.set_header(
            "Content-Security-Policy", f"script-src 'nonce-{nonce}' 'unsafe-eval'; {policy}"
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(page.replace("<script", f'<script nonce="{nonce}"'))


class _Scripts(_Headers, StaticHandler):
    """Bokeh's own scripts."""


class _Socket(_Headers, Connection):
    """A page's connection."""


def _use_own_handlers(application: Any) -> None:
    """Put our handlers in the place of Bokeh's."""
    kinds = {DocHandler: _Page, StaticHandler: _Scripts, WSHandler: _Socket}
    for rule in application.wildcard_router.rules + application.default_router.rules:
        if isinstance(rule.target, type):
            own = (kind for base, kind in kinds.items() if issubclass(rule.target, base))
            rule.target = next(own, rule.target)


def is_own(request: Any, own: frozenset[str]) -> bool:
    """Return whether a request is for this server, from its own page, for what it serves."""
    host = request.headers.get("Host", "").lower()
    origins = request.headers.get_list("Origin")
    path = request.path
    served = path in _PATHS or _SCRIPTS.fullmatch(path) is not None
    # A page is opened; it is no picture or script of another one.
    opened = path != "/" or request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    return (
        host in own
        and all(_is_from(origin, own) for origin in origins)
        and served
        and opened
        and not (path == "/ws" and not origins)
    )


def _is_from(origin: str, own: frozenset[str]) -> bool:
    """Return whether an Origin header names this server's page."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.netloc.lower() in own


def is_opened_here(headers: Mapping[str, str], framed: bool) -> bool:
    """Return whether a person has opened the page, and no other site's page.

    Browsers say so in headers that no page can set. A frame is one of those that the page's
    policy allows: a notebook's.
    """
    site = headers.get("Sec-Fetch-Site", "")
    in_frame = headers.get("Sec-Fetch-Dest", "") == "iframe"
    return framed if in_frame else site in ("none", "same-origin")


def may_write(doc: Document) -> bool:
    """Return whether a page may write: what its session's token says.

    A document without a session is seen by nobody but this process.
    """
    context: Any = doc.session_context
    return context is None or context.token_payload.get(MAY_WRITE) is True


def refusal(headers: Mapping[str, str], own: frozenset[str]) -> str:
    """Return what is said to who is not answered: how to open it, where a port was forwarded."""
    host = headers.get("Host", "").lower()
    if host in own or not _HERE.fullmatch(host):
        return "s5 view does not serve this.\n"
    port = min(own).rpartition(":")[2]
    other = host.rpartition(":")[2] if host[-1:].isdigit() and ":" in host else "80"
    return (
        f"This viewer answers on port {port} alone, so that no other page can reach it by another "
        f"name; this request is for {host}.\n"
        "Where the port is forwarded, use the same number on both sides:\n"
        f"    ssh -L {port}:127.0.0.1:{port} HOST     then open http://127.0.0.1:{port}/\n"
        f"or, to keep {other} on this side, start the viewer with that port:\n"
        f"    s5 view … --port {other}     and     ssh -L {other}:127.0.0.1:{other} HOST\n"
    )
