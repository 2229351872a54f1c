"""Masks and labels of parts, a few rows at a time: a real one is 138 million pixels.

PNG decoders work on whole pictures. A band of rows is therefore inflated from the file's stream and
given to the decoder as a small picture of its own, which undoes the rows' filters: its first row is
the last one of the band before, unfiltered, because filters look one row up. Filters work on bytes,
so every kind of PNG passes as 8-bit or 16-bit samples with as many bytes per pixel.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.address import local_file
from s5engine.errors import SourceError, SourceNotFoundError
from s5engine.source.decode import damaged, imagecodecs
from s5engine.source.images import check_claim, check_counts, check_threshold, luma, read_mask
from s5engine.source.png_header import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    PNG,
    RGB,
    RGBA,
    PngHeader,
    png_header,
)

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Bytes per pixel → (bits, colour type) of a picture that is filtered with that distance.
_SAME_FILTERS = {
    1: (8, GRAY),
    2: (8, GRAY_ALPHA),
    3: (8, RGB),
    4: (8, RGBA),
    6: (16, RGB),
    8: (16, RGBA),
}


def read_header(path: str | os.PathLike[str]) -> PngHeader:
    """Read the header of a PNG file, and nothing else of it.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    SourceError
        If it is not a PNG file, or its header is damaged.
    """
    try:
        with local_file(path, "mask").open("rb") as file:
            head = file.read(29)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{path} does not exist.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    return png_header(head, str(path))


def mask_rows(
    path: str | os.PathLike[str], rows: int, *, threshold: int = 255
) -> Iterator[tuple[int, Mask]]:
    """Yield a mask or label from top to bottom in bands, each equal to that part of `read_mask`.

    At most the compressed file and a few bands are in memory (an interlaced file, which no editor
    makes of a label by itself, is decoded whole).

    Parameters
    ----------
    path : str or Path
        A PNG file of any kind.
    rows : int
        Rows of a band; the last one may have fewer.
    threshold : int
        The smallest gray value, 1…255, that counts as 1.

    Yields
    ------
    (int, (rows, x) ndarray of bool)
        The band's first row and its pixels.

    Raises
    ------
    SourceNotFoundError, SourceError
        If the file is missing, not a PNG, or damaged.
    InvalidArgumentError
        If the threshold is not in 1…255.
    """
    check_threshold(threshold)
    header = read_header(path)
    data = local_file(path, "mask").read_bytes()
    check_claim((header.height, header.width), header.bits, len(data), True, str(path))
    if header.interlaced:
        whole = read_mask(path, threshold=threshold)
        yield from ((y0, whole[y0 : y0 + rows]) for y0 in range(0, header.height, rows))
        return
    counts = False
    try:
        reader = _Reader(header, data, threshold)
        for y0 in range(0, header.height, rows):
            band = reader.band(min(rows, header.height - y0))
            counts = counts or bool(band.any())
            yield y0, band
        reader.finish()
        check_counts(counts, reader.largest, threshold, str(path))
    except (zlib.error, struct.error, ValueError, RuntimeError, IndexError) as error:
        raise damaged(str(path), "the picture", error) from error


class _Reader:
    """Rows of one file, in order."""

    def __init__(self, header: PngHeader, data: bytes, threshold: int) -> None:
        self._header = header
        self._threshold = threshold
        self._palette: Mask | None = None
        self._chunks = self._pixels(data)
        self._inflate = zlib.decompressobj()
        self._waiting = b""
        self._above: bytes | None = None
        self._gray: Bytes = np.zeros(1, np.uint8)
        self.largest = 0  # gray value so far, 0…255

    def _pixels(self, data: bytes) -> Iterator[bytes]:
        """Yield the contents of the chunks that hold pixels; note the palette on the way."""
        position, view = len(PNG), memoryview(data)
        while True:
            size, kind = struct.unpack_from(">I4s", data, position)
            body = view[position + 8 : position + 8 + size]
            (checksum,) = struct.unpack_from(">I", data, position + 8 + size)
            if kind in (b"IHDR", b"PLTE", b"IDAT") and zlib.crc32(body, zlib.crc32(kind)) != (
                checksum
            ):
                raise ValueError(f"the checksum of {kind.decode()} is wrong")
            if kind == b"PLTE":
                self._palette = self._look_up(np.frombuffer(body, np.uint8))
            elif kind == b"IDAT":
                yield bytes(body)
            elif kind == b"IEND":
                return
            position += 12 + size

    def _look_up(self, palette: Bytes) -> Mask:
        """Return for each index of a palette whether its colour counts as 1."""
        self._gray = luma(palette.reshape(-1, 1, 3))[:, 0]
        return self._gray >= self._threshold

    def _take(self, count: int) -> bytes:
        """Inflate the next ``count`` bytes."""
        pieces = []
        while count:
            piece = self._some(count)
            if self._inflate.eof and len(piece) < count:
                raise ValueError("it has too few rows")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def _some(self, most: int) -> bytes:
        """Inflate what the current chunk gives, at most ``most`` bytes."""
        if not self._waiting:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise ValueError("it ends too early")
            self._waiting = chunk
        piece = self._inflate.decompress(self._waiting, most)
        self._waiting = self._inflate.unconsumed_tail
        return piece

    def finish(self) -> None:
        """Go to the end of the stream, where its checksum is."""
        while not self._inflate.eof:
            self._some(2**16)

    def band(self, rows: int) -> Mask:
        """Return the next rows as a mask."""
        filtered = self._take(rows * (1 + self._header.row_bytes))
        return self._to_mask(self._unfilter(filtered, rows))

    def _unfilter(self, filtered: bytes, rows: int) -> Bytes:
        """Return rows of raw bytes (rows, row_bytes)."""
        size = self._header.row_bytes
        if self._above is not None:
            filtered = b"\0" + self._above + filtered
        pixel = max(1, self._header.samples * self._header.bits // 8)
        raw = _decode_small(filtered, len(filtered) // (1 + size), size, pixel)[-rows:]
        self._above = raw[-1].tobytes()
        return raw

    def _to_mask(self, raw: Bytes) -> Mask:
        """Return which pixels of the raw rows reach the threshold."""
        header = self._header
        if header.bits < 8:
            raw = _unpack(raw, header.bits, header.width)
        if header.colour == PALETTE:
            if self._palette is None:
                raise ValueError("it has no palette")
            self.largest = max(self.largest, int(self._gray[raw].max()))
            return self._palette[raw]
        if header.bits < 8:
            raw = raw * np.uint8(255 // (2**header.bits - 1))
        deep = header.bits == 16
        values: npt.NDArray[Any] = raw.view(">u2").astype(np.uint16) if deep else raw
        gray = luma(values.reshape(len(raw), header.width, header.samples))
        self.largest = max(self.largest, int(gray.max()) // (257 if deep else 1))
        mask: Mask = gray >= self._threshold * (257 if deep else 1)
        return mask


def _decode_small(filtered: bytes, rows: int, row_bytes: int, pixel: int) -> Bytes:
    """Decode filtered rows as a PNG file of their own; returns raw bytes (rows, row_bytes)."""
    bits, colour = _SAME_FILTERS[pixel]
    header = struct.pack(">IIBBBBB", row_bytes // pixel, rows, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered, 0)), (b"IEND", b""))
    parts = [PNG]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body]
        parts.append(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
    decoded = imagecodecs().png_decode(b"".join(parts))
    if decoded.dtype == np.uint16:
        decoded = decoded.astype(">u2")
    return np.ascontiguousarray(decoded).view(np.uint8).reshape(rows, row_bytes)


def _unpack(raw: Bytes, bits: int, width: int) -> Bytes:
    """Return the samples of 1, 2 or 4 bits that are packed in bytes, highest bits first."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    samples = (raw[:, :, None] >> shifts) & np.uint8(2**bits - 1)
    unpacked: Bytes = samples.reshape(len(raw), -1)[:, :width]
    return unpacked
