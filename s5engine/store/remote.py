"""A zarr store over HTTP or S3 that is patient with its server and believes no wrong answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Any

import aiohttp
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import FsspecStore, WrapperStore

from s5engine.errors import StoreError
from s5engine.source.retry import RetryPolicy, parse_retry_after

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

#: Answers of a server that is busy, and may not be a moment later.
_BUSY = {408, 425, 429, 500, 502, 503, 504}
#: How patient a store is that nobody told otherwise.
POLICY = RetryPolicy()


class PatientStore(WrapperStore[FsspecStore]):
    """Repeats what fails in passing, as `RetryPolicy` says; checks the length of what comes.

    Parameters
    ----------
    store : FsspecStore
        The store to read.
    policy : RetryPolicy, optional
        How often and how patiently.
    """

    def __init__(self, store: FsspecStore, policy: RetryPolicy | None = None) -> None:
        super().__init__(store)
        self._policy = policy or POLICY

    @property
    def address(self) -> str:
        """Where the store lies."""
        return str(self._store.path)

    def _with_store(self, store: FsspecStore) -> PatientStore:
        return type(self)(store, self._policy)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of ``key``; None if the server says that there is no such key."""
        failures = 0
        while True:
            try:
                value = await self._store.get(key, prototype, byte_range)
                return _checked(value, byte_range, f"{self._store.path}/{key}")
            except (OSError, EOFError, aiohttp.ClientError) as error:
                wait = _seconds_to_wait(error)
                failures += 1
                vain = wait is None or wait > self._policy.longest_wait
                if wait is None or vain or failures >= self._policy.attempts:
                    # Not from it: its text holds the address that was asked for, query and all.
                    raise self._given_up(key, error, failures) from None
                await asyncio.sleep(max(wait, self._policy.pause(failures)))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several values, each as by `get`."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        async for item in Store._get_many(self, requests):
            yield item

    def _given_up(self, key: str, error: BaseException, failures: int) -> StoreError:
        if isinstance(error, StoreError):
            return error
        tries = "once" if failures == 1 else f"{failures} times"
        reason = f"status {status}" if (status := _status(error)) else str(error) or repr(error)
        return StoreError(
            f"{self._store.path}/{key} could not be read (tried {tries}): {reason}.",
            "Check the address and the connection, and run it again.",
        )


def _checked(value: Buffer | None, byte_range: ByteRequest | None, name: str) -> Buffer | None:
    """Return the bytes if they are as many as were asked for.

    Raises
    ------
    EOFError
        If they are too few: the connection broke off.
    StoreError
        If they are too many: the server knows no ranges.
    """
    if isinstance(byte_range, RangeByteRequest):
        asked = byte_range.end - byte_range.start
    elif isinstance(byte_range, SuffixByteRequest):
        asked = byte_range.suffix
    else:
        return value
    if value is None or len(value) == asked:
        return value
    if len(value) < asked:
        raise EOFError(f"{len(value)} of {asked} bytes came")
    raise StoreError(
        f"The server sent {len(value)} bytes of {name} where {asked} were asked for: it does not "
        "answer range requests.",
        "Copy the store to this machine and open it there.",
    )


def _status(error: BaseException) -> int:
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def _seconds_to_wait(error: BaseException) -> float | None:
    """Return how long the server asks to wait, 0 if it says nothing; None if waiting is vain."""
    if isinstance(error, StoreError | PermissionError):
        return None
    status = _status(error)
    if status and status not in _BUSY:
        return None
    headers: Any = getattr(error, "headers", None) or {}
    return parse_retry_after(headers.get("Retry-After")) or 0.0
