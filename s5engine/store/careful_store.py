"""A store of zarr that takes nothing for a chunk that is none."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest

from s5engine.address import shown
from s5engine.errors import StoreError
from s5engine.foreign import cause
from s5engine.store import remote
from s5engine.store.chunk_keys import (
    chunk_grid,
    chunk_key,
    naming,
    no_chunks,
    other_namings,
    root_of,
    sample,
)
from s5engine.store.present import Present, lost
from s5engine.store.remote import OneWayStore, PatientStore

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

#: How often a chunk is asked for that a server says is not there, and that nothing lists.
ASKED = 3
#: Longest page of a folder that is worth reading, entries, and so many are kept.
LONGEST_PAGE, MOST_PAGES = 20_000, 256
#: Chunks that are asked for at the same time.
AT_ONCE = 16


class CarefulStore(OneWayStore[Store]):
    """Takes nothing for a chunk that is none, and believes late that a chunk is not there.

    No folder, no empty file and no piece of a chunk passes. A server that says that a chunk is not
    there is asked again: as often as the retry policy says if its folder's page lists the chunk,
    a few times if there is no page.

    Parameters
    ----------
    store : Store
        Holds the array.
    array : zarr Array
        Whose chunks are read.
    partial : bool
        Whether all of its chunks may be missing.
    present : bool ndarray, optional
        Which of its chunk files are there, if this is known.
    """

    def __init__(
        self, store: Store, array: zarr.Array[Any], partial: bool, present: Present | None = None
    ) -> None:
        super().__init__(store)
        self._array, self._believed, self._present = array, partial, present
        self._pages: dict[str, frozenset[str]] = {}
        self._lock = asyncio.Lock()

    def _with_store(self, store: Store) -> CarefulStore:
        return type(self)(store, self._array, self._believed, self._present)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of ``key``; None if it is certain that there is no such chunk."""
        value = await self._store.get(key, prototype, byte_range)
        if value is None:
            value = await self._ask_again(key, prototype, byte_range)
        if value is None:
            return None
        if isinstance(byte_range, RangeByteRequest):
            asked = byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            asked = byte_range.suffix
        else:
            asked = len(value)
        if not len(value):
            raise EOFError("it is empty")
        if len(value) != asked:
            raise EOFError(f"{len(value)} bytes are there where {asked} should be")
        return value

    async def _ask_again(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        """Return a chunk that was not there at first; None if that is believed."""
        root = root_of(self._store)
        if root is not None:
            check_absent(root / key)
        listed = self._is_known(key)
        if not isinstance(self._store, PatientStore):
            if listed:
                raise lost(f"{address_of(self._store)}/{key}")
            return None
        known = listed is not None
        if not known:
            listed = await self._is_listed(key)
        if listed is not False:
            for tries in range(1, remote.POLICY.attempts if listed else ASKED):
                await asyncio.sleep(remote.POLICY.pause(tries))
                value = await self._store.get(key, prototype, byte_range)
                if value is not None:
                    return value
        if listed:
            raise StoreError(
                f"{'The store was finished with' if known else 'The server lists'} "
                f"{address_of(self._store)}/{key}, and the server says that it is not there "
                f"(tried {remote.POLICY.attempts} times).",
                "Run it again later, or copy the store to this machine.",
            )
        if not known:
            async with self._lock:
                await self._check_any()
        return None

    def _is_known(self, key: str) -> bool | None:
        """Whether a chunk file was there when the array was finished; None if nobody knows."""
        if self._present is None:
            return None
        within = key.removeprefix(f"{self._array.path}/")
        return bool(self._present[tuple(int(n) for n in re.findall(r"\d+", within))])

    async def _is_listed(self, key: str) -> bool | None:
        """Whether the page of a chunk's folder lists it; None if there is no such page."""
        folder, _, name = key.rpartition("/")
        nested = naming(self._array).endswith("/0")
        grid = chunk_grid(self._array)
        if (grid[-1] if nested else math.prod(grid)) > LONGEST_PAGE:
            return None
        if folder not in self._pages:
            if len(self._pages) >= MOST_PAGES:
                self._pages.clear()
            try:
                names = frozenset([n async for n in self._store.list_dir(folder)])
            except Exception:  # noqa: BLE001 - an odd page is no page, whatever fsspec makes of it
                names = frozenset()
            self._pages[folder] = names
        siblings = [n for n in self._pages[folder] if re.fullmatch(r"(c\.)?\d+(\.\d+)*", n)]
        return name in siblings if siblings else None

    async def _check_any(self) -> None:
        """Raise if no chunk of the array is there, before the first one is taken to be 0."""
        if self._believed:
            return
        places = sample(chunk_grid(self._array))
        keys = [chunk_key(self._array, place) for place in places]
        if not await self._any(keys):
            named = []
            for other in other_namings(self._array):
                first = chunk_key(self._array, [0] * self._array.ndim)
                moved = f"{first.removesuffix(naming(self._array))}{other}"
                named += [other] if await self._any([moved]) else []
            where = f"{address_of(self._store)}/{self._array.path}".rstrip("/")
            raise no_chunks(self._array, where, [], 0, named)
        self._believed = True

    async def _any(self, keys: Sequence[str]) -> bool:
        for start in range(0, len(keys), AT_ONCE):
            asked = (self._store.exists(key) for key in keys[start : start + AT_ONCE])
            if any(await asyncio.gather(*asked)):
                return True
        return False


def address_of(store: Any) -> str:
    """Return where a store lies, as it may be shown."""
    return shown(str(getattr(store, "address", store))).removeprefix("file://")


def chunk_file(array: zarr.Array[Any], place: Sequence[int]) -> str:
    """Return the path or address of a chunk."""
    return f"{address_of(array.store)}/{chunk_key(array, place)}"


def check_absent(path: Path) -> None:
    """Check that nothing is at a path, which could not be read.

    Raises
    ------
    StoreError
        If anything is there: a folder, a broken link, a file where one of its folders should be.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise damaged(path, error) from error
    raise damaged(path, IsADirectoryError("there is a folder or a broken link, and no file"))


def damaged(file: str | Path, error: Exception) -> StoreError:
    """Return the error of a chunk or shard that cannot be read, with the name of its file."""
    return StoreError(
        f"The chunk {file} is damaged: {cause(error)}.",
        "Copy it from its source again, or make the store again.",
    )
