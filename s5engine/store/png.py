"""Write 8-bit gray PNGs of any size row band by row band."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from s5engine.errors import InvalidArgumentError

#: A PNG's sides are 31-bit numbers (PNG specification, IHDR).
_LARGEST_SIDE = 2**31 - 1


def write_gray_png(path: Path, shape: tuple[int, int], bands: Iterable[np.ndarray]) -> None:
    """Write a PNG from row bands, holding one band at a time; whole or not at all.

    Parameters
    ----------
    path : Path
        The file; it is written under a ``.partial`` name and renamed when it is whole.
    shape : (int, int)
        Height and width, px.
    bands : iterable of (rows, width) uint8 ndarray
        From top to bottom, ``height`` rows in all.

    Raises
    ------
    InvalidArgumentError
        If the size is no PNG's, or the bands do not add up to it.
    """
    height, width = shape
    if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
        raise InvalidArgumentError(f"A PNG cannot be {height} × {width} px.")
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        # Width, height, 8 bits, gray, and the only compression, filter and no interlacing.
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        written = _rows(file, width, bands)
        _chunk(file, b"IEND", b"")
    if written != height:
        partial.unlink()
        raise InvalidArgumentError(f"{written} rows were given for a PNG of {height}.")
    partial.replace(path)


def _rows(file: BinaryIO, width: int, bands: Iterable[np.ndarray]) -> int:
    """Write all rows as IDAT chunks; return how many there were."""
    packer = zlib.compressobj(4)
    written = 0
    for band in bands:
        if band.dtype != np.uint8 or band.ndim != 2 or band.shape[1] != width:
            raise InvalidArgumentError(
                f"A band of {band.shape} {band.dtype} does not belong in a gray PNG {width} wide."
            )
        # Each row begins with its filter's number: 0, as it is.
        rows = np.zeros((len(band), width + 1), np.uint8)
        rows[:, 1:] = band
        if data := packer.compress(rows.data):
            _chunk(file, b"IDAT", data)
        written += len(band)
    _chunk(file, b"IDAT", packer.flush())
    return written


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    """Write one PNG chunk: length, kind, data, checksum."""
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
