"""A zarr store over HTTP or S3 that is patient with its server and believes no wrong answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, WrapperStore

from s5engine.errors import S5Error, StoreError, StoreRefusedError
from s5engine.source.retry import RetryPolicy, TransientError, parse_retry_after
from s5engine.source.session import METADATA

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

#: Answers of a server that is busy, and may not be a moment later.
_BUSY = {408, 425, 429, 500, 502, 503, 504}
#: Bytes of an answer of unknown length, for the time that it may take.
_UNKNOWN = 2**24
#: A key that no store has.
_NO_KEY = "s5-no-such-key"
#: How patient a store is that nobody told otherwise.
POLICY = RetryPolicy()


T = TypeVar("T")
Wrapped = TypeVar("Wrapped", bound=Store)


class OneWayStore(WrapperStore[Wrapped]):
    """A store around another one, whose `get` is the only way to a value."""

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


class PatientStore(OneWayStore[FsspecStore]):
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
        self._known: str | None = None
        self._refusal: StoreRefusedError | None = None

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
        asked = _asked(byte_range)

        async def attempt() -> Buffer | None:
            value = await self._store.get(key, prototype, byte_range)
            return _checked(value, asked, f"{self._store.path}/{key}")

        try:
            value = await self._patiently(key, attempt, asked)
        except StoreRefusedError as error:
            if not await self._is_absent(key):
                raise
            self._refusal = error
            return None
        if value is not None and key.rpartition("/")[2] in METADATA:
            self._known = self._known or key
        return value

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        try:
            return bool(await self._patiently(key, lambda: self._store.exists(key)))
        except StoreRefusedError:
            if await self._is_absent(key):
                return False
            raise

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Yield the names in a folder, where the server lists them."""

        async def attempt() -> list[str]:
            return [name async for name in self._store.list_dir(prefix)]

        for name in await self._patiently(prefix, attempt):
            yield name

    def refused(self) -> StoreRefusedError | None:
        """Return the error of a key that may not be read, if nothing was found beside it."""
        return None if self._known else self._refusal

    async def _is_absent(self, key: str) -> bool:
        """Whether the server says of what is not there that it may not be read.

        So does S3 where nobody may list the keys. It is believed if that is the answer for a key
        that nobody has, and what was there is there still.
        """
        prototype = default_buffer_prototype()

        async def is_refused(name: str) -> bool:
            try:
                await self._patiently(name, lambda: self._store.get(name, prototype))
            except StoreRefusedError:
                return True
            return False

        nowhere = f"{key.rpartition('/')[0]}/{_NO_KEY}".lstrip("/")
        if not await is_refused(nowhere):
            return False
        return self._known is None or not await is_refused(self._known)

    async def _patiently(
        self, key: str, attempt: Callable[[], Awaitable[T]], size: int | None = None
    ) -> T:
        """Return what ``attempt`` returns, within the time that the policy allows."""
        failures = 0
        allowed = self._policy.allowed(_UNKNOWN if size is None else size)
        while True:
            try:
                async with asyncio.timeout(allowed):
                    return await attempt()
            except (OSError, EOFError, aiohttp.ClientError, TransientError) as error:
                wait = _seconds_to_wait(error)
                failures += 1
                vain = wait is None or wait > self._policy.longest_wait
                if isinstance(error, StoreError):
                    raise
                if wait is None or vain or failures >= self._policy.attempts:
                    # Not from it: its text holds the address that was asked for, query and all.
                    raise self._given_up(key, error, failures) from None
                await asyncio.sleep(max(wait, self._policy.pause(failures)))

    def _given_up(self, key: str, error: BaseException, failures: int) -> StoreError:
        tries = "once" if failures == 1 else f"{failures} times"
        status = _status(error)
        reason = f"status {status}" if status else str(error) or f"{type(error).__name__}"
        kind = StoreRefusedError if status == 403 else StoreError
        return kind(
            f"{self._store.path}/{key} could not be read (tried {tries}): {reason}.",
            "Check the address and the connection, and run it again.",
        )


def _asked(byte_range: ByteRequest | None) -> int | None:
    """Return how many bytes are asked for, if that is known."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else None


def _checked(value: Buffer | None, asked: int | None, name: str) -> Buffer | None:
    """Return the bytes if they are as many as were asked for.

    Raises
    ------
    EOFError
        If they are too few: the connection broke off.
    StoreError
        If they are too many: the server knows no ranges.
    """
    if asked is None or value is None or len(value) == asked:
        return value
    if len(value) < asked:
        raise EOFError(f"{len(value)} of {asked} bytes came")
    raise StoreError(
        f"The server sent more bytes of {name} than the {asked} that were asked for: it does not "
        "answer range requests.",
        "Copy the store to this machine and open it there.",
    )


def _status(error: BaseException | None) -> int:
    if isinstance(error, PermissionError):
        return 403
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def _seconds_to_wait(error: BaseException) -> float | None:
    """Return how long the server asks to wait, 0 if it says nothing; None if waiting is vain."""
    if isinstance(error, S5Error | PermissionError):
        return None
    status = _status(error)
    if status and status not in _BUSY:
        return None
    headers: Any = getattr(error, "headers", None) or {}
    return parse_retry_after(headers.get("Retry-After")) or 0.0
