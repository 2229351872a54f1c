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
    height, width = shape
    temporary = path.with_name(f"{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        packer = zlib.compressobj(6)
        for band in bands:
            # Each row begins with its filter: 0, none.
            lines = np.zeros((band.shape[0], width + 1), np.uint8)
            lines[:, 1:] = band
            _chunk(file, b"IDAT", packer.compress(lines.tobytes()))
        _chunk(file, b"IDAT", packer.flush())
        _chunk(file, b"IEND", b"")
    temporary.replace(path)


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind != b"IDAT":
        checksum = zlib.crc32(kind + data)
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))
