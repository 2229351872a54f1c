"""A gray PNG written row by row, so that a mask of any size needs little memory.

References
----------
Portable Network Graphics (PNG) Specification, third edition, W3C.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from s5engine.atomic import atomic_write

#: Pixels that are packed at a time, about: packing holds them three times.
AT_ONCE = 2**22


class GrayPng:
    """An 8-bit gray PNG being written; several may be, side by side, from one pass.

    Parameters
    ----------
    file : BinaryIO
        Open for writing, at its start.
    shape : (height, width)
        Pixels.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        height, self._width = shape
        self._file, self._packer = file, zlib.compressobj(6)
        self._above = np.zeros(self._width, np.uint8)
        file.write(b"\x89PNG\r\n\x1a\n")
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", self._width, height, 8, 0, 0, 0, 0))

    def append(self, band: npt.NDArray[np.uint8]) -> None:
        """Write the next (rows, width) pixels."""
        rows = max(1, AT_ONCE // max(1, self._width))
        for y in range(0, len(band), rows):
            self._append_few(band[y : y + rows])

    def _append_few(self, band: npt.NDArray[np.uint8]) -> None:
        # Each row begins with its filter: 2, less the row above. Deflate looks back 32 KiB only:
        # in wider pictures it would not find that row, however alike it is.
        lines = np.full((band.shape[0], self._width + 1), 2, np.uint8)
        np.subtract(band[0], self._above, out=lines[0, 1:])
        np.subtract(band[1:], band[:-1], out=lines[1:, 1:])
        self._above = band[-1].copy()
        _chunk(self._file, b"IDAT", self._packer.compress(lines.tobytes()))

    def finish(self) -> None:
        """Write the end of the file, once all rows are there."""
        _chunk(self._file, b"IDAT", self._packer.flush())
        _chunk(self._file, b"IEND", b"")


def write_gray_png(
    path: Path, shape: tuple[int, int], bands: Iterable[npt.NDArray[np.uint8]]
) -> None:
    """Write an 8-bit gray PNG at once, from bands of rows.

    Parameters
    ----------
    path : Path
        Where it goes; until it is whole it has a temporary name.
    shape : (height, width)
        Pixels.
    bands : iterable of (rows, width) uint8 arrays
        From the top, ``height`` rows in all.
    """
    with atomic_write(path) as partial, partial.open("wb") as file:
        picture = GrayPng(file, shape)
        for band in bands:
            picture.append(band)
        picture.finish()


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind != b"IDAT":
        checksum = zlib.crc32(kind + data)
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))
