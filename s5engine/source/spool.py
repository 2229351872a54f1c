"""Decoded rows on disk, in a temporary file that vanishes with the process."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from s5engine.source.decode import Pixels
from s5engine.source.disk import need_disk, pread_all

#: Rows are read from disk in runs of about this many bytes.
RUN = 4 * 2**20


class RowFile:
    """Rows of an image, as raw samples.

    Parameters
    ----------
    height, width : int
        The image, px.
    dtype : dtype
        Of the samples, in the byte order in which they are kept.
    name : str
        The layer, for messages.

    Raises
    ------
    SourceError
        If the disk is too full.
    """

    def __init__(self, height: int, width: int, dtype: np.dtype[Any], name: str) -> None:
        self.name, self._dtype = name, dtype
        self.row_bytes = width * dtype.itemsize
        need_disk(height * self.row_bytes, f"{name}: decoding it to disk")
        self._file = tempfile.TemporaryFile(prefix="s5-rows-")  # noqa: SIM115
        self.fileno = self._file.fileno()
        os.truncate(self.fileno, height * self.row_bytes)  # what is never written reads as 0

    def write(self, position: int, data: bytes | memoryview) -> None:
        """Put bytes at a position."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fileno, view, position)
            view, position = view[done:], position + done

    def read(self, y0: int, y1: int, x0: int, x1: int, out: Pixels) -> None:
        """Copy rows ``y0``…``y1`` and columns ``x0``…``x1`` into ``out``, in its byte order."""
        for a, b, pixels in self.runs(y0, y1, x0, x1):
            out[a - y0 : b - y0] = pixels

    def runs(self, y0: int, y1: int, x0: int, x1: int) -> Iterator[tuple[int, int, Pixels]]:
        """Yield ``(first row, last row + 1, pixels)`` in runs of bounded size."""
        item = self._dtype.itemsize
        cut = (x1 - x0) * item
        step = 1 if self.row_bytes - cut > 2**16 else max(1, RUN // self.row_bytes)
        for a in range(y0, y1, step):
            b = min(a + step, y1)
            start = a * self.row_bytes + x0 * item
            data = pread_all(
                self.fileno, start, start + (b - a - 1) * self.row_bytes + cut, self.name
            )
            strides = (self.row_bytes, item)
            yield a, b, np.ndarray((b - a, x1 - x0), self._dtype, data, 0, strides)

    @contextmanager
    def mapped(self, position: int, size: int) -> Iterator[memoryview]:
        """Map ``size`` bytes at a position into memory, to be written."""
        skipped = position % mmap.ALLOCATIONGRANULARITY
        start = position - skipped
        with (
            mmap.mmap(self.fileno, size + skipped, offset=start) as pages,
            memoryview(pages) as whole,
            whole[skipped:] as view,
        ):
            yield view

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
