"""Decoding one very large strip piece by piece, in memory that does not depend on its size.

imagecodecs decodes a strip in one go. Here LZW is cut where the encoder cleared its table, PackBits
between two of its runs, and Deflate has a stream decoder in zlib. (Zstandard has none in reach: see
`strip_spool`.)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from s5engine.source.decode import imagecodecs

#: Decoded bytes that come at a time, about.
CHUNK = 2**20
#: Encoded bytes after which an LZW stream must have been cleared once (its table is full after
#: less than 6 KiB, but an encoder may go on with a full one).
LZW_PATIENCE = 2**20

_CLEAR, _END = 256, 257


class StreamDecoder(Protocol):
    """Takes the encoded bytes of one strip in order and gives the decoded ones."""

    def feed(self, data: bytes | bytearray, last: bool) -> Iterator[bytes]:
        """Yield what can be decoded with ``data`` added; ``last``: nothing comes after it.

        Raises
        ------
        ValueError, RuntimeError, zlib.error
            If the data are damaged.
        """


class DeflateStream:
    """Deflate with a zlib header (RFC 1950)."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj()

    def feed(self, data: bytes | bytearray, last: bool) -> Iterator[bytes]:
        """Yield what can be decoded with ``data`` added."""
        while data:
            decoded = self._inflate.decompress(data, CHUNK)
            data = self._inflate.unconsumed_tail
            if decoded:
                yield decoded
        if last and (rest := self._inflate.flush()):
            yield rest


class PackBitsStream:
    """PackBits (TIFF 6.0, section 9): runs and literals of at most 128 bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes | bytearray, last: bool) -> Iterator[bytes]:
        """Yield what can be decoded with ``data`` added."""
        data = self._rest + bytes(data)
        start = position = 0
        end = len(data)
        while position < end:
            head = data[position]
            after = position + (head + 2 if head < 128 else 1 if head == 128 else 2)
            if after > end:
                break
            position = after
            if position - start >= CHUNK // 128:  # a run of 2 bytes gives at most 128
                yield imagecodecs().packbits_decode(data[start:position])
                start = position
        if position > start:
            yield imagecodecs().packbits_decode(data[start:position])
        self._rest = data[position:]
        if last and self._rest:
            raise ValueError("it ends in the middle of a run")


class LzwStream:
    """LZW as in TIFF 6.0 (section 13): cut at the clear codes, decoded from one to the next."""

    def __init__(self) -> None:
        self._bits = np.empty(0, np.uint8)
        self._start = 0  # 9 bits before the first code after the last clear code
        self._begun = self._ended = False

    def feed(self, data: bytes | bytearray, last: bool) -> Iterator[bytes]:
        """Yield what can be decoded with ``data`` added."""
        self._bits = np.concatenate((self._bits[self._start >> 3 :], np.frombuffer(data, np.uint8)))
        self._start &= 7
        if not self._begun and self._bits.size >= 2:
            self._begun = True
            if int(self._bits[0]) << 1 | int(self._bits[1]) >> 7 != _CLEAR:
                raise ValueError("it is LZW of the old style (before TIFF 6.0), or no LZW at all")
        while not self._ended and (cut := find_cut(self._bits, self._start)) is not None:
            bit, width, code = cut
            yield self._decode(self._start, bit + width, closed=True)
            self._start, self._ended = bit + width - 9, code == _END
        waiting = self._bits.size - (self._start >> 3)
        if last and not self._ended and waiting:
            yield self._decode(self._start, self._bits.size * 8, closed=False)
            self._ended = True
        elif not self._ended and waiting > LZW_PATIENCE:
            raise ValueError(
                f"its LZW table was not cleared for {waiting} bytes, so it cannot be decoded in "
                "pieces; save it again with strips of fewer rows"
            )

    def _decode(self, start: int, stop: int, *, closed: bool) -> bytes:
        """Decode the codes from 9 bits after ``start`` to before ``stop``.

        ``closed``: the last one is a clear or end code; an end code it must become, for without
        one the decoder may lose the code before.
        """
        piece = self._bits[start >> 3 : (stop + 7) >> 3].copy()
        if shift := start & 7:
            left, right = np.uint8(shift), np.uint8(8 - shift)
            following = np.append(piece[1:], np.uint8(0))
            piece = np.bitwise_or(piece << left, following >> right)[: (stop - start + 7) >> 3]
        piece[0], piece[1] = 0x80, piece[1] & 0x7F  # the clear code, 9 bits wide
        if closed:
            last = stop - start - 1
            piece[last >> 3] |= 0x80 >> (last & 7)  # 256 becomes 257
        decoded: bytes = imagecodecs().lzw_decode(piece.tobytes())
        return decoded


@cache
def _code_places(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the widths of the codes after a clear code, and where each begins (bits).

    The table's first free entry is 258; a code is one bit wider as soon as entry 510, 1022 or 2046
    is in it, and the decoder is one entry behind the codes it has read.
    """
    free = 257 + np.arange(count)
    widths = 9 + (free >= 511).astype(np.int64) + (free >= 1023) + (free >= 2047)
    return widths, np.concatenate(([0], np.cumsum(widths)[:-1]))


def find_cut(bits: npt.NDArray[np.uint8], start: int) -> tuple[int, int, int] | None:
    """Return the next clear or end code: its first bit, its width and the code itself.

    ``start`` is 9 bits before the first code after a clear code (that may be wider than 9 bits).
    None if there is none in ``bits``.
    """
    count = 4096
    while True:
        widths, places = _code_places(count)
        first = start + 9 + places
        inside = first + widths <= bits.size * 8
        whole = int(np.count_nonzero(inside))
        first, widths = first[:whole], widths[:whole]
        byte = first >> 3
        wide = np.append(
            bits[start >> 3 : (start >> 3) + (count * 12 >> 3) + 8], np.zeros(2, np.uint8)
        )
        wide = wide.astype(np.int64)
        byte = byte - (start >> 3)
        word = wide[byte] << 16 | wide[byte + 1] << 8 | wide[byte + 2]
        codes = word >> (24 - (first & 7) - widths) & ((1 << widths) - 1)
        special = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        if special.size:
            i = special[0]
            return int(first[i]), int(widths[i]), int(codes[i])
        if whole < count:
            return None
        count *= 8
