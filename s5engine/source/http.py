"""Requests over HTTP, on fsspec's session and event loop, with every answer checked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from s5engine.address import StorageOptions, shown
from s5engine.errors import SourceChangedError, SourceError, SourceNotFoundError
from s5engine.source.disk import need_disk
from s5engine.source.retry import (
    Halt,
    Pacer,
    RetryPolicy,
    StoppedError,
    TransientError,
    parse_retry_after,
    persist,
)

T = TypeVar("T")

#: The largest index page, bytes.
PAGE_LIMIT = 32 * 2**20

#: Tries to reach a server that has never answered: the address is wrong, most likely.
_FIRST_TRIES = 2
_BUSY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Reply:
    """An accepted answer.

    ``total`` is the size of the whole file in bytes, ``body`` is empty if the whole file went into
    the sink because the server knows no ranges.
    """

    status: int
    headers: Mapping[str, str]
    body: bytearray
    total: int
    url: str


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

        from s5engine.source.session import SignedFileSystem

        options = dict(storage_options or {})
        options["skip_instance_cache"] = True
        self._fs = SignedFileSystem(**options)
        self._request = dict(self._fs.kwargs)
        self._headers = dict(self._request.pop("headers", None) or {})
        wait = retry.timeout
        self._request["timeout"] = ClientTimeout(total=None, sock_connect=wait, sock_read=wait)
        self._retry = retry
        self._pacer = Pacer()
        self._session: Any = None
        self._answered = False

    def page(self, url: str) -> tuple[str, str]:
        """Return the text at ``url`` and the address that it came from after redirects."""
        reply = self._persist(url, lambda: self._get(url, None, None), Halt())
        return bytes(reply.body).decode("utf-8", errors="replace"), reply.url

    def range(
        self, url: str, start: int, stop: int, halt: Halt, sink: BinaryIO | None = None
    ) -> Reply:
        """Return bytes ``start``…``stop`` of ``url``; fewer only if the file ends before.

        If the server answers with the whole file, that is streamed into ``sink``; without a sink
        it is an error.
        """
        return self._persist(url, lambda: self._get(url, (start, stop), sink), halt)

    def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is None:
            return
        closing = asyncio.run_coroutine_threadsafe(session.close(), self._fs.loop)
        # The garbage collector may call this in the loop's own thread: waiting there for what the
        # loop is to do would never end.
        if not _is_running_here(self._fs.loop):
            closing.result()

    def _persist(self, url: str, get: Any, halt: Halt) -> Reply:
        name = shown(url)
        reply: Reply = persist(lambda: self._run(get(), halt), name, self._retry, self._pacer, halt)
        return reply

    def _run(self, work: Coroutine[Any, Any, T], halt: Halt) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._fs.loop)
        ticket = halt.register(future.cancel)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise StoppedError from None
        finally:
            future.cancel()
            halt.forget(ticket)

    async def _get(self, url: str, span: tuple[int, int] | None, sink: BinaryIO | None) -> Reply:
        import aiohttp

        headers = {**self._headers, "Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        try:
            self._session = await self._fs.set_session()
            request = self._session.get(self._fs.encode_url(url), headers=headers, **self._request)
            async with request as response:
                self._answered = True
                check_status(response.status, response.headers, shown(url), span)
                if span is not None and response.status == 206:
                    return await _ranged(response, span, shown(url))
                if span is not None:
                    _refuse_page(response, shown(url))
                if span is not None and sink is None:
                    response.close()
                    raise TransientError("the server answered a range request with the whole file")
                return await _whole(response, sink, shown(url))
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


async def _ranged(response: Any, span: tuple[int, int], name: str) -> Reply:
    """Read a 206 answer and check that it is what was asked for."""
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", header.strip())
    if match is None:
        raise SourceError(
            f"{name}: the server's answer to a range request has the Content-Range {header!r}."
        )
    first, last, total = (int(v) for v in match.groups())
    if first != span[0] or last + 1 > span[1] or last + 1 > total:
        raise TransientError(f"bytes {first}-{last} came for {span[0]}-{span[1] - 1}")
    size = last + 1 - first
    body = bytearray(size)
    filled = 0
    async for piece in response.content.iter_any():
        if filled + len(piece) > size:
            raise TransientError(f"more than the {size} bytes came that the server announced")
        body[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled != size:
        raise TransientError(f"{filled} of {size} bytes came")
    if last + 1 < min(span[1], total):
        raise TransientError(f"only bytes {first}-{last} came for {span[0]}-{span[1] - 1}")
    return Reply(206, response.headers, body, total, str(response.url))


def _refuse_page(response: Any, name: str) -> None:
    """Raise if a file was asked for and a page for people comes."""
    if response.content_type == "text/html":
        raise SourceError(
            f"{name} is an HTML or XML page, not an image: the server has probably sent an error "
            "page.",
            "Open the address in a browser to see it.",
        )


async def _whole(response: Any, sink: BinaryIO | None, name: str) -> Reply:
    """Read a 200 answer: into ``sink`` piece by piece, or into memory if there is none."""
    body = bytearray()
    size = 0
    announced = response.headers.get("Content-Length")
    if sink is not None:
        sink.seek(0)
        sink.truncate()
        need_disk(int(announced or 0), f"{name}: copying it")
    async for piece in response.content.iter_any():
        size += len(piece)
        if sink is None:
            body += piece
            if size > PAGE_LIMIT:
                raise SourceError(
                    f"{name} is more than a page: it has over {PAGE_LIMIT} bytes.",
                    "Give the folder that holds the layers, not a file.",
                )
        else:
            sink.write(piece)
    if announced is not None and size != int(announced):
        raise TransientError(f"{size} of {announced} bytes came")
    if sink is not None:
        sink.flush()
    return Reply(200, response.headers, body, size, str(response.url))


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this thread is the one that runs ``loop``."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
