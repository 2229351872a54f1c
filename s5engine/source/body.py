"""The bodies of HTTP answers: each piece in time, unpacked, and no more than there is room for."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from typing import Any, BinaryIO

from s5engine.errors import SourceError
from s5engine.source.disk import free_disk, full_disk, need_disk
from s5engine.source.retry import RetryPolicy, TransientError

#: The largest index page, bytes.
PAGE_LIMIT = 32 * 2**20
#: Bytes that are unpacked at a time.
_UNPACKED = 2**20
#: Bytes of a body of unknown length after which the room on the disk is looked at again.
_STEP = 2**24
#: Encodings that a body has to be unpacked from, and those of them that can be.
_PACKED = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}
_ZLIB = {"gzip", "x-gzip", "deflate"}


async def begun(request: Awaitable[Any], policy: RetryPolicy) -> Any:
    """Return the answer to a request as soon as its head is there.

    Raises
    ------
    TransientError
        If that takes longer than ``policy.timeout``.
    """
    try:
        async with asyncio.timeout(policy.timeout):
            return await request
    except TimeoutError as error:
        raise TransientError(f"no answer within {policy.timeout:g} s") from error


async def pieces(response: Any, policy: RetryPolicy) -> AsyncIterator[bytes]:
    """Yield a body piece by piece, as it was sent.

    The timers are this function's own: those of aiohttp stop when a chunked body breaks.

    Raises
    ------
    TransientError
        If a piece takes longer than ``policy.timeout``, the whole longer than ``policy.allowed``,
        or the body ends early.
    """
    clock = asyncio.get_running_loop().time
    start, size = clock(), 0
    while True:
        left = start + policy.allowed(size) - clock()
        try:
            async with asyncio.timeout(max(0, min(policy.timeout, left))):
                piece = await response.content.readany()
        except TimeoutError as error:
            slow = size > 0 and left < policy.timeout
            speed = f"fewer than {policy.least_speed:g} bytes a second came"
            silent = f"nothing more came within {policy.timeout:g} s"
            raise TransientError(speed if slow else silent) from error
        if not piece:
            break
        size += len(piece)
        yield piece
    announced = length(response.headers)
    if announced is not None and size != announced:
        raise TransientError(f"{size} of {announced} bytes came")


def length(headers: Mapping[str, str]) -> int | None:
    """Return how many bytes a body has, as it is sent; None if that is not said."""
    text = headers.get("Content-Length", "").strip()
    chunked = headers.get("Transfer-Encoding") is not None
    return None if chunked or not re.fullmatch(r"[0-9]{1,18}", text) else int(text)


def content_range(headers: Mapping[str, str], name: str) -> tuple[int, int, int | None]:
    """Return the first byte, the last and the size that a Content-Range tells (None for ``*``).

    Raises
    ------
    SourceError
        If there is none that makes sense.
    """
    header = headers.get("Content-Range", "")
    number = "([0-9]{1,18})"
    match = re.fullmatch(rf"bytes[ =]\s*{number}-{number}/({number}|\*)", header.strip(), re.I)
    if match is None:
        raise SourceError(
            f"{name}: the server's answer to a range request has the Content-Range {header[:80]!r}."
        )
    return int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])


def packing(headers: Mapping[str, str]) -> str | None:
    """Return the encoding that a body has to be unpacked from; None if it is sent as it is."""
    told = headers.get("Content-Encoding", "").lower().split(",")
    packed = [name.strip() for name in told if name.strip() in _PACKED]
    return ", ".join(packed)[:40] or None


async def unpacked(response: Any, policy: RetryPolicy, name: str) -> AsyncIterator[bytes]:
    """Yield a body piece by piece, unpacked if the server has packed it all the same.

    Raises
    ------
    SourceError
        If there is no way to unpack it.
    TransientError
        As `pieces`, and if it cannot be unpacked.
    """
    encoding = packing(response.headers)
    if encoding is not None and encoding not in _ZLIB:
        raise SourceError(
            f"{name} comes compressed as {encoding!r}, although the server was asked not to.",
            "Copy the files to this machine, or read them from another server.",
        )
    unpack = None if encoding is None else _Unpacker()
    async for piece in pieces(response, policy):
        if unpack is None:
            yield piece
            continue
        for part in unpack.feed(piece):
            yield part
    if unpack is not None:
        unpack.check_end()


class _Unpacker:
    """Unpacks gzip (of one member or several) and zlib, a bounded piece at a time."""

    def __init__(self) -> None:
        self._stream, self._begun = zlib.decompressobj(zlib.MAX_WBITS | 32), False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of ``data``."""
        while data:
            self._begun = True
            try:
                part = self._stream.decompress(data, _UNPACKED)
            except zlib.error as error:
                raise TransientError(
                    f"the body is not packed as its header says: {error}"
                ) from error
            if part:
                yield part
            data = self._stream.unconsumed_tail
            if self._stream.eof and (data := self._stream.unused_data.lstrip(b"\0")):
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def check_end(self) -> None:
        """Raise if the stream is cut off."""
        if self._begun and not self._stream.eof:
            raise TransientError("the packed body is cut off")


async def in_memory(
    response: Any, policy: RetryPolicy, name: str, limit: int, what: str = "a page"
) -> bytearray:
    """Return a body of at most ``limit`` bytes; ``what`` it should be is said if it has more.

    Raises
    ------
    SourceError
        If there are more.
    """
    body = bytearray()
    async for piece in unpacked(response, policy, name):
        body += piece
        if len(body) > limit:
            response.close()
            raise SourceError(
                f"{name} is more than {what}: it has over {limit} bytes.",
                "Give the folder that holds the layers, not a file."
                if what == "a page"
                else "Check the address.",
            )
    return body


async def first_bytes(response: Any, policy: RetryPolicy, name: str, size: int) -> bytes:
    """Return the first ``size`` bytes of a body, or all that it has."""
    body = bytearray()
    async for piece in unpacked(response, policy, name):
        body += piece
        if len(body) >= size:
            response.close()
            break
    return bytes(body[:size])


def page_text(page: bytearray) -> str:
    """Return the text of a page: UTF-8, or what its first two bytes say."""
    wide = page.startswith((b"\xff\xfe", b"\xfe\xff"))
    return page.decode("utf-16" if wide else "utf-8", errors="replace")


async def on_disk(response: Any, policy: RetryPolicy, name: str, sink: BinaryIO) -> int:
    """Copy a body into ``sink`` and return its size in bytes.

    A length that is announced has to fit onto the disk; without one, a sixteenth of what is free
    at first stays free.

    Raises
    ------
    SourceError
        If the disk is too full.
    """
    sink.seek(0)
    sink.truncate()
    size, looked = 0, 0
    why = f"{name}: copying it"
    need_disk(length(response.headers) or 0, why)
    reserve = free_disk() // 16
    async for piece in unpacked(response, policy, name):
        size += len(piece)
        if size - looked >= min(_STEP, reserve):
            looked = size
            if free_disk() < reserve:
                raise full_disk(why, size)
        try:
            sink.write(piece)
            sink.flush()
        except OSError as error:
            raise full_disk(why, size, error.strerror) from error
    return size
