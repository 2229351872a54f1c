"""HTTP sessions that keep what is secret: queries go with every request, headers to no stranger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import BasicAuth, ClientSession, TraceConfig, TraceRequestRedirectParams
from fsspec.implementations.http import HTTPFileSystem
from yarl import URL

from s5engine.address import StorageOptions

#: Headers that say what is asked for, not who asks: they follow to any origin.
_OPEN_HEADERS = frozenset(
    ["accept", "accept-encoding", "accept-language", "if-range", "range", "user-agent"]
)
#: Characters of a query that are sent as they stand.
_AS_IS = "%/:?@!$&'()*+,;=~-._[]"


class SignedFileSystem(HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's file system over HTTP, which adds an address' query to each request.

    Parameters
    ----------
    query : str
        What followed the question mark, still encoded; nothing else sees it.
    **options
        As for ``HTTPFileSystem``.
    """

    def __init__(self, *, query: str = "", **options: Any) -> None:
        options.setdefault("get_client", open_session)
        super().__init__(**options)
        self.query = query

    def encode_url(self, url: str) -> URL:
        """Return the address that is asked for."""
        place, _, own = url.partition("?")
        encoded: URL = super().encode_url(place)
        query = own or self.query
        # As it was given, to the letter: a signature may be of the query's very spelling.
        return URL(f"{encoded}?{quote(query, safe=_AS_IS)}", encoded=True) if query else encoded


def signed_filesystem(url: str, options: StorageOptions | None) -> SignedFileSystem:
    """Return the file system of an address, which keeps its user, password and query to itself.

    Parameters
    ----------
    url : str
        ``http(s)://…``; only `shown` of it is asked of the file system afterwards.
    options : dict, optional
        As for fsspec's ``HTTPFileSystem``.
    """
    given = dict(options or {})
    parts = urlsplit(url)
    auth = URL(url)
    if auth.user is not None:
        client = dict(given.get("client_kwargs") or {})
        client.setdefault("auth", BasicAuth(auth.user, auth.password or ""))
        given["client_kwargs"] = client
    return SignedFileSystem(**(given | {"query": parts.query, "asynchronous": True}))


async def open_session(**options: Any) -> ClientSession:
    """Return a session that obeys the environment's proxies and tells no secret to a stranger."""
    guard = TraceConfig()
    guard.on_request_redirect.append(_keep_headers)
    traces = [*options.pop("trace_configs", ()), guard]
    return ClientSession(**({"trust_env": True} | options), trace_configs=traces)


async def _keep_headers(
    session: ClientSession, context: SimpleNamespace, told: TraceRequestRedirectParams
) -> None:
    """Take the caller's headers away before a redirect to another origin is followed."""
    target = told.url.join(URL(told.response.headers.get("Location", "")))
    if target.origin() != told.url.origin():
        for name in list(told.headers):
            if name.lower() not in _OPEN_HEADERS:
                told.headers.popall(name, None)
