"""The header of a PNG file: how large a picture it says it is, and of what kind."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from s5engine.errors import SourceError

#: The first bytes of every PNG file, and those that reach to the end of the header.
PNG, HEADER_BYTES = b"\x89PNG\r\n\x1a\n", 29

#: Colour types of the format, and how many samples a pixel of each has.
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
_SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


@dataclass(frozen=True)
class PngHeader:
    """What the first chunk of a PNG file says: its size in px, bits per sample, and kind."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def samples(self) -> int:
        """Samples per pixel as they are stored; a palette's index is one."""
        return _SAMPLES[self.colour]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row without its filter byte."""
        return -(-self.width * self.samples * self.bits // 8)


def png_header(head: bytes, name: str) -> PngHeader:
    """Return what the header of a PNG file says.

    Parameters
    ----------
    head : bytes
        The file's first `HEADER_BYTES`, or more.
    name : str
        For the error: what people call the file.

    Raises
    ------
    SourceError
        If it is not a PNG file, or its header is damaged.

    References
    ----------
    Portable Network Graphics (PNG) Specification, third edition, W3C, 11.2.1.
    """
    if not head.startswith(PNG):
        raise SourceError(f"{name} is not a PNG file: it begins with {head[:8]!r}.")
    if len(head) < HEADER_BYTES or head[12:16] != b"IHDR":
        raise SourceError(f"{name} is a damaged PNG file: it has no header.")
    width, height, bits, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", head, 16)
    if not width or not height or bits not in (1, 2, 4, 8, 16) or colour not in _SAMPLES:
        raise SourceError(
            f"{name} is a damaged PNG file: {height} × {width} px, {bits} bits, type {colour}."
        )
    return PngHeader(width, height, bits, colour, bool(interlace))
