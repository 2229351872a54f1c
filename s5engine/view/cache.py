"""Tiles that were read, the latest used ones, within a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy.typing as npt

#: Memory for tiles, bytes.
CACHE_BYTES = 384 * 2**20


class Kept(NamedTuple):
    """A tile and the version of the picture that it was read from."""

    pixels: npt.NDArray[Any]
    version: int


class TileCache:
    """Tiles by key; safe to use from several threads.

    Parameters
    ----------
    most : int
        Bytes; the tile used longest ago goes first.
    """

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._tiles: OrderedDict[tuple[Any, ...], Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Kept | None:
        """Return a tile, or None."""
        with self._lock:
            kept = self._tiles.get(key)
            if kept is not None:
                self._tiles.move_to_end(key)
            return kept

    def put(self, key: tuple[Any, ...], pixels: npt.NDArray[Any], version: int) -> None:
        """Keep a tile."""
        with self._lock:
            former = self._tiles.pop(key, None)
            self._bytes += pixels.nbytes - (former.pixels.nbytes if former else 0)
            self._tiles[key] = Kept(pixels, version)
            while self._bytes > self._most and len(self._tiles) > 1:
                _, gone = self._tiles.popitem(last=False)
                self._bytes -= gone.pixels.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all tiles."""
        return self._bytes
