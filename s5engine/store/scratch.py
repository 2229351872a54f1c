"""A band of rows on disk, turned into shards: for memory that cannot hold a whole band.

A layer's rows run along the whole width, a shard is a narrow column of them. Rows come in a few at
a time and are put down shard by shard; when the band is whole, each shard is read back by itself.
The file is read and written, not mapped, so that its pages do not count as this process's memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.budget import format_bytes
from s5engine.errors import StoreError
from s5engine.store.band_plan import SHARD_WIDTH

Pixels = npt.NDArray[np.generic]


class BandScratch:
    """One band (layers, rows, width) in a file: fill it with rows, take shards from it, close it.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced, and it is removed at the end.
    shape : (layers, rows, width)
        Of the highest band, px.
    dtype : dtype
        Of the pixels.

    Raises
    ------
    StoreError
        If there is no room for it.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        free = os.statvfs(path.parent)
        size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        path.unlink(missing_ok=True)
        if size > free.f_bavail * free.f_frsize:
            raise StoreError(
                f"A band of {format_bytes(size)} is put down at {path} while it is written, and "
                f"only {format_bytes(free.f_bavail * free.f_frsize)} are free there.",
                "Make room, or give a larger budget, which needs no such file.",
            )
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def put(self, row: int, pixels: Pixels) -> None:
        """Put down some rows (layers, rows, width) of the band, the first at ``row``."""
        for x0 in range(0, self.shape[2], SHARD_WIDTH):
            for layer in range(self.shape[0]):
                part = np.ascontiguousarray(pixels[layer, :, x0 : x0 + SHARD_WIDTH])
                self._write(part.reshape(-1).view(np.uint8).data, self._place(layer, row, x0))

    def shard(self, x0: int, rows: int) -> Pixels:
        """Return the first ``rows`` rows of the shard that begins at column ``x0``."""
        width = min(SHARD_WIDTH, self.shape[2] - x0)
        result = np.empty((self.shape[0], rows, width), self.dtype)
        for layer in range(self.shape[0]):
            target = memoryview(result[layer].reshape(-1).view(np.uint8))
            place = self._place(layer, 0, x0)
            while target:
                done = os.preadv(self._file, [target], place)
                if not done:
                    raise StoreError(
                        f"The scratch file {self.path} is shorter than what was put into it.",
                        "Leave it alone while the ingest runs, and run the same command again.",
                    )
                target, place = target[done:], place + done
        return result

    def _place(self, layer: int, row: int, x0: int) -> int:
        """Return where a row of a layer begins in the shard at ``x0``, bytes."""
        layers, rows, width = self.shape
        before = x0 * rows * layers + (layer * rows + row) * min(SHARD_WIDTH, width - x0)
        return before * self.dtype.itemsize

    def _write(self, data: memoryview, place: int) -> None:
        while data:
            done = os.pwrite(self._file, data, place)
            data, place = data[done:], place + done

    def close(self) -> None:
        """Close and remove the file. Closing twice does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.path.unlink(missing_ok=True)
