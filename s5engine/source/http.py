"""Requests over HTTP, on fsspec's session and event loop, with every answer checked."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from s5engine.address import StorageOptions, shown
from s5engine.errors import SourceChangedError, SourceError, SourceNotFoundError
from s5engine.source.body import (
    PAGE_LIMIT,
    begun,
    content_range,
    in_memory,
    length,
    on_disk,
    packing,
    page_text,
    pieces,
)
from s5engine.source.retry import (
    CancelToken,
    RateGate,
    RetryPolicy,
    StoppedError,
    TransientError,
    parse_retry_after,
    retry_call,
)

T = TypeVar("T")

#: Tries to reach a server that has never answered: the address is wrong, most likely.
_FIRST_TRIES = 2
#: Bytes of a range that are worth a request of their own.
_LEAST_PART = 2**14
_BUSY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Reply:
    """An accepted answer.

    ``total`` is the size of the whole file in bytes, None if the server does not tell it; ``body``
    is empty if the whole file went into the sink because the server knows no ranges.
    """

    status: int
    headers: Mapping[str, str]
    body: bytearray
    total: int | None
    url: str

    @property
    def version(self) -> dict[str, Any]:
        """What tells this version of the file from another: ``etag`` or ``mtime``, if known."""
        etag = self.headers.get("ETag")
        if etag is not None:
            return {"etag": etag.removeprefix("W/")}
        modified = self.headers.get("Last-Modified")
        return {} if modified is None else {"mtime": modified}


#: Makes an accepted answer of a response.
Take = Callable[[Any], Awaitable[Reply]]


class HttpClient:
    """Sends requests for one stack of layers; safe to use from several threads.

    Parameters
    ----------
    storage_options : dict, optional
        As for fsspec's ``HTTPFileSystem``: ``headers``, ``client_kwargs``, …
    retry : RetryPolicy
        What to do when a request fails in passing.
    """

    def __init__(self, storage_options: StorageOptions | None, retry: RetryPolicy) -> None:
        from aiohttp import ClientTimeout
        from fsspec.asyn import get_loop

        from s5engine.source.session import SignedFileSystem

        options = dict(storage_options or {})
        options["skip_instance_cache"] = True
        self._fs = SignedFileSystem(**options)
        self._loop = get_loop()
        self._request = dict(self._fs.kwargs)
        self._headers = dict(self._request.pop("headers", None) or {})
        wait = retry.timeout
        self._request["timeout"] = ClientTimeout(total=None, sock_connect=wait, sock_read=wait)
        self._request["auto_decompress"] = False  # lengths are those of what is sent
        self._retry = retry
        self._rate_gate = RateGate()
        self._session: Any = None
        self._answered = False

    def page(self, url: str) -> tuple[str, str]:
        """Return the text at ``url`` and the address that it came from after redirects."""
        name = shown(url)

        async def take(response: Any) -> Reply:
            body = await in_memory(response, self._retry, name, PAGE_LIMIT)
            return _reply(response, body, len(body))

        reply = self._persist(url, None, take, CancelToken())
        return page_text(reply.body), reply.url

    def range(
        self,
        url: str,
        start: int,
        stop: int,
        cancel_token: CancelToken,
        sink: BinaryIO | None = None,
    ) -> Reply:
        """Return bytes ``start``…``stop`` of ``url``; fewer if the file ends before.

        Servers may also send fewer of their own accord. If the server answers with the whole file,
        or with ranges of it that are compressed, the whole file is streamed into ``sink``; without
        a sink it is an error.
        """
        span, name = (start, stop), shown(url)

        async def take(response: Any) -> Reply:
            if response.status == 206:
                if packing(response.headers) is None:
                    return await _ranged(response, span, name, self._retry)
                reason = "the server sent a range compressed, although it was asked not to"
            else:
                _refuse_page(response, name)
                reason = "the server answered a range request with the whole file"
            if sink is None:
                response.close()
                raise TransientError(reason)
            if response.status == 206:
                response.close()
                return await self._get(url, None, take_all)
            return await take_all(response)

        async def take_all(response: Any) -> Reply:
            _refuse_page(response, name)
            size = await on_disk(response, self._retry, name, sink) if sink else 0
            return _reply(response, bytearray(), size)

        return self._persist(url, span, take, cancel_token)

    def whole(self, url: str, cancel_token: CancelToken, sink: BinaryIO) -> Reply:
        """Stream ``url`` into ``sink`` unless its size is told beforehand: then nothing is read.

        The status of the reply is 206 if the size is told, and 200 if the file is in the sink.
        """
        name = shown(url)

        async def take(response: Any) -> Reply:
            _refuse_page(response, name)
            size = length(response.headers)
            if size is not None and packing(response.headers) is None:
                response.close()
                return Reply(206, response.headers, bytearray(), size, str(response.url))
            size = await on_disk(response, self._retry, name, sink)
            return _reply(response, bytearray(), size)

        return self._persist(url, None, take, cancel_token)

    def close(self) -> None:
        """Close the connections."""
        from s5engine.source.session import close_soon

        session, self._session = self._session, None
        if session is not None:  # not waited for: the garbage collector may call this
            close_soon(session, self._loop)

    def _persist(
        self, url: str, span: tuple[int, int] | None, take: Take, cancel_token: CancelToken
    ) -> Reply:
        def attempt() -> Reply:
            return self._run(self._get(url, span, take), cancel_token)

        return retry_call(attempt, shown(url), self._retry, self._rate_gate, cancel_token)

    def _run(self, work: Coroutine[Any, Any, T], cancel_token: CancelToken) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        ticket = cancel_token.register(future.cancel)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise StoppedError from None
        finally:
            future.cancel()
            cancel_token.forget(ticket)

    async def _get(self, url: str, span: tuple[int, int] | None, take: Take) -> Reply:
        import aiohttp

        headers = {**self._headers, "Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        try:
            address = self._fs.encode_url(url)
        except ValueError as error:
            raise SourceError(f"{shown(url)} is not a usable address.") from error
        try:
            self._session = await self._fs.set_session()
            request = self._session.get(address, headers=headers, **self._request)
            async with await begun(request, self._retry) as response:
                self._answered = True
                check_status(response.status, response.headers, shown(url), span)
                return await take(response)
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise SourceError(
                f"{shown(url)} is not a usable address: {type(error).__name__}."
            ) from error
        except TimeoutError as error:
            raise TransientError(f"no answer within {self._retry.timeout:g} s") from error
        except aiohttp.ClientConnectorError as error:
            tries = None if self._answered else _FIRST_TRIES
            raise TransientError(_cause(error), attempts=tries) from error
        except aiohttp.ClientError as error:
            raise TransientError(_cause(error)) from error


def _reply(response: Any, body: bytearray, total: int | None) -> Reply:
    return Reply(response.status, response.headers, body, total, str(response.url))


def _cause(error: Exception) -> str:
    """Return what went wrong on the wire, without the address (it may hold a password)."""
    detail = getattr(error, "strerror", None) or ""
    return f"the connection failed ({type(error).__name__}{': ' + detail if detail else ''})"


def check_status(
    status: int, headers: Mapping[str, str], name: str, span: tuple[int, int] | None
) -> None:
    """Raise the error that an HTTP status stands for; return if the answer can be used."""
    if status in (404, 410):
        raise SourceNotFoundError(f"{name} does not exist ({status}).", "Check the address.")
    if status in (401, 403):
        raise SourceError(
            f"{name} may not be read ({status}): the server wants other credentials.",
            "Pass them in storage_options, or check the address.",
        )
    if status == 416:
        if headers.get("Content-Range", "").endswith("/0"):
            raise SourceError(f"{name} is empty.")
        raise SourceChangedError(
            f"{name} ends before byte {span[0] if span else 0}.", "Begin again."
        )
    if status in _BUSY:
        wait = parse_retry_after(headers.get("Retry-After"))
        raise TransientError(f"the server answered {status}", wait)
    if status not in (200, 206) or (status == 206 and span is None):
        raise SourceError(f"{name} cannot be read: the server answered {status}.")


async def _ranged(response: Any, span: tuple[int, int], name: str, policy: RetryPolicy) -> Reply:
    """Read a 206 answer, and take out of it what was asked for."""
    first, last, total = content_range(response.headers, name)
    stop = min(last + 1, span[1])
    if not first <= span[0] < stop or (total is not None and last >= total):
        raise TransientError(f"bytes {first}-{last} came for {span[0]}-{span[1] - 1}")
    # Servers may send fewer bytes than were asked for; few at a time would take forever.
    end = span[1] if total is None else min(span[1], total)
    if stop < end and stop - span[0] < min(_LEAST_PART, (end - span[0]) // 2):
        raise TransientError(f"only bytes {first}-{last} came for {span[0]}-{span[1] - 1}")
    size, skipped = last + 1 - first, span[0] - first
    body = bytearray(stop - span[0])
    came = 0
    async for piece in pieces(response, policy):
        a, b = max(came, skipped), min(came + len(piece), skipped + len(body))
        if a < b:
            body[a - skipped : b - skipped] = memoryview(piece)[a - came : b - came]
        came += len(piece)
        if came > size:
            raise TransientError(f"more than the {size} bytes came that the server announced")
        if came >= skipped + len(body) and came < size:
            response.close()  # the rest was not asked for
            return _reply(response, body, total)
    if came != size:
        raise TransientError(f"{came} of {size} bytes came")
    return _reply(response, body, total)


def _refuse_page(response: Any, name: str) -> None:
    """Raise if a file was asked for and a page for people comes."""
    if response.content_type == "text/html":
        raise SourceError(
            f"{name} is an HTML or XML page, not an image: the server has probably sent an error "
            "page.",
            "Open the address in a browser to see it.",
        )
