"""HTTP sessions that keep what is secret: queries go with every request, headers to no stranger."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from base64 import b64encode
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import ClientSession, TraceConfig, TraceRequestRedirectParams
from fsspec.implementations.http import HTTPFileSystem
from yarl import URL

from s5engine.address import StorageOptions, shown
from s5engine.source.body import (
    PAGE_LIMIT,
    begun,
    content_range,
    first_bytes,
    in_memory,
    page_text,
)
from s5engine.source.index_page import names_on
from s5engine.source.retry import RetryPolicy, TransientError

#: Headers that say what is asked for, not who asks: they follow to any origin.
_OPEN_HEADERS = frozenset(
    ["accept", "accept-encoding", "accept-language", "if-range", "range", "user-agent"]
)
#: Characters of a query that are sent as they stand.
_AS_IS = "%/:?@!$&'()*+,;=~-._[]"

#: Files of zarr that are no chunks.
METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
#: Sessions that are being closed.
_CLOSING: set[asyncio.Task[None]] = set()
#: The largest chunk or shard that is read as a whole, bytes.
CHUNK_LIMIT = 2**31


class SignedFileSystem(HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's file system over HTTP, which adds an address' query to each request.

    Parameters
    ----------
    query : str
        What followed the question mark, still encoded; nothing else sees it.
    patience : RetryPolicy, optional
        How long an answer may take.
    **options
        As for ``HTTPFileSystem``.
    """

    def __init__(
        self, *, query: str = "", patience: RetryPolicy | None = None, **options: Any
    ) -> None:
        options.setdefault("get_client", open_session)
        super().__init__(**options | {"asynchronous": True})
        self.query = query
        self.patience = patience or RetryPolicy()

    async def set_session(self) -> ClientSession:
        """Return the session, which is closed once nobody has this file system any more."""
        is_new = self._session is None
        session: ClientSession = await super().set_session()
        if is_new:
            # Not fsspec's way, which waits for the loop: it is the garbage collector that calls,
            # in a thread that may hold the lock that the loop waits for.
            weakref.finalize(self, close_soon, session, asyncio.get_running_loop())
        return session

    def encode_url(self, url: str) -> URL:
        """Return the address that is asked for."""
        place, _, own = url.partition("?")
        encoded: URL = super().encode_url(place)
        query = own or self.query
        # As it was given, to the letter: a signature may be of the query's very spelling.
        return URL(f"{encoded}?{quote(query, safe=_AS_IS)}", encoded=True) if query else encoded

    def _raise_not_found_for_status(self, response: Any, url: str) -> None:
        """Raise what a status stands for; what is gone is not there."""
        if response.status == 410:
            raise FileNotFoundError(url)
        super()._raise_not_found_for_status(response, url)

    async def _cat_file(
        self, url: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Return a file or a range of it; more bytes than that if the server knows no ranges.

        Raises
        ------
        FileNotFoundError
            If there is none.
        TransientError, OSError
            If something fails in passing.
        SourceError
            If the answer is none that can be read.
        """
        ranged = start is not None or end is not None
        asked = await self._process_limits(url, start, end) if ranged else ""
        async with await self._answer(url, asked, **kwargs) as response:
            self._raise_not_found_for_status(response, url)
            if not ranged:
                metadata = url.rpartition("/")[2] in METADATA
                limit = PAGE_LIMIT if metadata else CHUNK_LIMIT
                what = "zarr's metadata" if metadata else "a chunk"
                return bytes(await in_memory(response, self.patience, shown(url), limit, what))
            if response.status != 206:
                few = end if end is not None else 1 - (start or 0)
                return await first_bytes(response, self.patience, shown(url), max(few, 1))
            body = bytes(
                await in_memory(response, self.patience, shown(url), CHUNK_LIMIT, "a range")
            )
            first, _, total = content_range(response.headers, shown(url))
        if start is not None and start < 0:
            start = first if total is None else max(0, total + start)
        start = start or 0
        if first > start:
            raise TransientError(f"bytes from {first} came where those from {start} were asked for")
        return body[start - first : None if end is None else end - first]

    async def _ls(self, url: str, detail: bool = True, **kwargs: Any) -> Any:
        """Return what an index page lists."""
        page = url.rstrip("/") + "/"
        async with await self._answer(page, "", **kwargs) as response:
            self._raise_not_found_for_status(response, url)
            body = await in_memory(response, self.patience, shown(url), PAGE_LIMIT)
            names = names_on(page_text(body), str(response.url))
        found = [f"{page}{quote(name)}" for name in names]
        if not detail:
            return found
        return [
            {"name": one, "size": None, "type": "directory" if one.endswith("/") else "file"}
            for one in found
        ]

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is a file."""
        async with await self._answer(path, "bytes=0-0", **kwargs) as response:
            if response.status in (404, 410):
                return False
            if response.status != 416:
                self._raise_not_found_for_status(response, path)
            response.close()
            return True

    async def _answer(self, url: str, asked: str, **kwargs: Any) -> Any:
        """Return the answer to a request; ``asked`` is the range."""
        options = self.kwargs | kwargs
        headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
        if asked:
            headers["Range"] = asked
        session = await self.set_session()
        request = session.get(
            self.encode_url(url), **options, headers=headers, auto_decompress=False
        )
        return await begun(request, self.patience)


def signed_filesystem(
    url: str, options: StorageOptions | None, patience: RetryPolicy | None = None
) -> SignedFileSystem:
    """Return the file system of an address, which keeps its user, password and query to itself.

    Parameters
    ----------
    url : str
        ``http(s)://…``; only `shown` of it is asked of the file system afterwards.
    options : dict, optional
        As for fsspec's ``HTTPFileSystem``.
    patience : RetryPolicy, optional
        How long an answer may take.
    """
    given = dict(options or {})
    parts = urlsplit(url)
    auth = URL(url)
    if auth.user is not None:
        told = b64encode(f"{auth.user}:{auth.password or ''}".encode()).decode()
        given["headers"] = {"Authorization": f"Basic {told}"} | dict(given.get("headers") or {})
    given |= {"query": parts.query, "patience": patience}
    return SignedFileSystem(**given)


def close_soon(session: ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Have a session closed by the loop that it is used in, and do not wait for that."""

    def begin() -> None:
        closing = loop.create_task(session.close())
        _CLOSING.add(closing)  # a loop alone does not keep its tasks
        closing.add_done_callback(_CLOSING.discard)

    with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
        loop.call_soon_threadsafe(begin)


async def open_session(**options: Any) -> ClientSession:
    """Return a session that obeys the environment's proxies and tells no secret to a stranger."""
    guard = TraceConfig()
    guard.on_request_redirect.append(_keep_headers)
    traces = [*options.pop("trace_configs", ()), guard]
    # A jar sends cookies that name no host to every host; a header is taken away like any other.
    if cookies := SimpleCookie(options.pop("cookies", None) or {}):
        told = "; ".join(f"{name}={morsel.coded_value}" for name, morsel in cookies.items())
        options["headers"] = {**(options.get("headers") or {}), "Cookie": told}
    return ClientSession(**({"trust_env": True} | options), trace_configs=traces)


async def _keep_headers(
    session: ClientSession, context: SimpleNamespace, told: TraceRequestRedirectParams
) -> None:
    """Take the caller's headers away before a redirect to another origin is followed."""
    headers = told.response.headers
    try:  # aiohttp follows both
        target = told.url.join(URL(headers.get("Location") or headers.get("URI") or ""))
        same = target.origin() == told.url.origin()
    except ValueError:  # no address: aiohttp says so
        same = False
    if not same:
        for name in list(told.headers):
            if name.lower() not in _OPEN_HEADERS:
                told.headers.popall(name, None)
