"""Pictures: JPEG and PNG layers, and the masks and labels of parts."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError, SourceError, SourceNotFoundError, WayOut
from s5engine.foreign import LONGEST_SIDE
from s5engine.source.decode import Pixels, damaged, imagecodecs
from s5engine.source.grid import Codec, SegmentGrid
from s5engine.source.layer import Layer
from s5engine.source.png_header import HEADER_BYTES, PNG, png_header
from s5engine.source.retry import CancelToken
from s5engine.source.spool import RowFile
from s5engine.source.transport import Buffer, RangeFile

JPEG = b"\xff\xd8\xff"

#: Rows are turned to gray in runs of about this many pixels, which bounds the memory it takes.
_GRAY_RUN = 2**22

#: Pictures are decoded whole: one at a time, however many layers are read side by side.
_one_picture = threading.Lock()


def check_threshold(threshold: int) -> None:
    """Refuse a threshold that is not a gray value above 0."""
    if not 1 <= threshold <= 255:
        raise InvalidArgumentError(f"The threshold {threshold} is not in 1…255.")


def read_mask(path: str | os.PathLike[str], *, threshold: int = 255) -> npt.NDArray[np.bool_]:
    """Read a mask or label: a PNG of any kind, as gray luma, compared with a threshold.

    A palette is looked up and alpha is ignored. The masks of the 2025 system count as 1 only where
    the value is 255; soft edges hold everything below it.

    Parameters
    ----------
    path : str or Path
        A PNG file: gray, palette, RGB or RGBA, 1 to 16 bits per sample.
    threshold : int
        The smallest value, 1…255, that counts as 1. Samples of 16 bits are brought to this scale
        by dividing by 257, truncated, so that only the brightest is 255.

    Returns
    -------
    (y, x) ndarray of bool

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    SourceError
        If it is not a PNG file, or damaged.
    InvalidArgumentError
        If the threshold is not in 1…255.
    """
    check_threshold(threshold)
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{path} does not exist.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    header = png_header(data, str(path))
    check_claim(header.shape, header.bits, len(data), True, str(path))
    picture = decode_picture(data, str(path))
    mask, largest = np.empty(picture.shape[:2], np.bool_), 0
    for rows in _runs(picture):
        gray = luma(picture[rows])
        np.greater_equal(gray, threshold * (257 if gray.dtype == np.uint16 else 1), out=mask[rows])
        largest = max(largest, int(gray.max()) // (257 if gray.dtype == np.uint16 else 1))
    check_counts(bool(mask.any()), largest, threshold, str(path))
    return mask


def check_counts(counts: bool, largest: int, threshold: int, name: str) -> None:
    """Refuse a mask with gray pixels none of which counts: its threshold is another.

    Parameters
    ----------
    counts : bool
        Whether any pixel counts.
    largest : int
        The largest gray value, on the scale of 0…255.

    Raises
    ------
    SourceError
    """
    if not counts and largest:
        raise SourceError(
            f"Nothing counts in {name}: its largest value is {largest}, below the threshold "
            f"{threshold}.",
            WayOut(
                f"Name threshold={largest}, or save it with 255 where it counts.",
                f"Name --threshold {largest}, or save it with 255 where it counts.",
            ),
        )


def decode_picture(data: Buffer, name: str) -> Pixels:
    """Decode a PNG or JPEG file: ``(y, x)`` or ``(y, x, samples)``, uint8 or uint16.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    codec = imagecodecs()
    decode = codec.png_decode if data[:8] == PNG else codec.jpeg8_decode
    try:
        pixels: Pixels = decode(data)
    except (RuntimeError, ValueError) as error:  # all imagecodecs' errors are the first
        raise damaged(name, "the picture", error) from error
    return pixels


def luma(pixels: Pixels) -> Pixels:
    """Return the gray luma of pixels (ITU-R BT.601 weights in 16-bit fixed point, rounded).

    ``pixels`` is ``(y, x)``, or ``(y, x, samples)`` with gray, gray and alpha, RGB, or RGBA; the
    result has its dtype. Alpha is ignored.
    """
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] < 3:
        return pixels[..., 0]
    red, green, blue = (pixels[..., i].astype(np.uint64) for i in range(3))
    gray = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return gray.astype(pixels.dtype)


def _runs(picture: Pixels) -> list[slice]:
    step = max(1, _GRAY_RUN // picture.shape[1])
    return [slice(y, min(y + step, len(picture))) for y in range(0, len(picture), step)]


class ImageSpool:
    """A JPEG or PNG layer: decoded whole when it is first needed, kept as gray rows on disk."""

    exclusive = True

    def __init__(self, file: RangeFile, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._file, self._shape, self._dtype = file, shape, dtype
        self._rows: RowFile | None = None
        self._lock = threading.Lock()

    @property
    def overhead(self) -> int:
        """Upper bound of the memory used while decoding, bytes: file, RGBA and a run of gray."""
        height, width = self._shape
        gray = max(_GRAY_RUN, width) * 5 * 8
        return self._file.size + height * width * 4 * self._dtype.itemsize + gray

    def bytes_for(self, y0: int, y1: int) -> int:
        """Return the size of the file: it is read whole."""
        return self._file.size

    def ensure(self, y0: int, y1: int, cancel_token: CancelToken) -> None:
        """Decode the picture if that was not done before."""
        with self._lock:
            if self._rows is not None:
                return
            with _one_picture:
                cancel_token.check()
                data = self._file.read(0, self._file.size, cancel_token)
                picture = decode_picture(data, self._file.name)
                if picture.shape[:2] != self._shape or picture.dtype != self._dtype:
                    raise SourceError(f"{self._file.name} is damaged: its header does not fit.")
                rows = RowFile(*self._shape, self._dtype, self._file.name)
                try:
                    for run in _runs(picture):
                        rows.write(run.start * rows.row_bytes, luma(picture[run]).tobytes())
                except BaseException:
                    rows.close()
                    raise
            self._rows = rows

    def read(self, y0: int, y1: int, x0: int, x1: int, out: Pixels) -> None:
        """Copy rows into ``out``."""
        if self._rows is None:
            raise RuntimeError("rows are read before they are decoded")
        self._rows.read(y0, y1, x0, x1, out)

    def close(self) -> None:
        """Remove the rows from disk."""
        if self._rows is not None:
            self._rows.close()


def open_picture(number: int, file: RangeFile, head: Buffer, cancel_token: CancelToken) -> Layer:
    """Return a JPEG or PNG file as a layer; only its header is read now.

    Raises
    ------
    SourceError
        If the header is damaged.
    """
    if head[:8] == PNG:
        shape, bits = _png_header(file, head)
    else:
        shape, bits = _jpeg_header(file, cancel_token)
    if min(shape) < 1 or max(shape) > LONGEST_SIDE or bits not in (1, 2, 4, 8, 16):
        raise SourceError(
            f"{file.name} is damaged or not supported: {shape[0]} × {shape[1]} px of {bits} bits."
        )
    check_claim(shape, bits, file.size, head[:8] == PNG, file.name)
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    height, width = shape
    whole = np.array([0]), np.array([file.size])
    grid = SegmentGrid(height, width, height, width, *whole, tiled=False)
    spool = ImageSpool(file, shape, dtype)
    return Layer(number, file, dtype, grid, Codec(), spool)


def check_claim(shape: tuple[int, int], bits: int, size: int, is_png: bool, name: str) -> None:
    """Refuse a picture whose file is too short for the pixels that its header tells of.

    Deflate makes at most 1,032 bytes of one; JPEG needs a bit for a block of 64 pixels at least.

    Raises
    ------
    SourceError
    """
    pixels = shape[0] * shape[1]
    most = size * 1032 * 8 // bits if is_png else size * 8 * 64
    if pixels > most:
        raise SourceError(
            f"{name} is damaged: {size} bytes cannot hold {shape[0]} × {shape[1]} px.",
            "Fetch the file again.",
        )


def _png_header(file: RangeFile, head: Buffer) -> tuple[tuple[int, int], int]:
    header = png_header(bytes(head[:HEADER_BYTES]), file.name)
    if b"acTL" in head[33:]:  # before the pixels, by the format
        raise SourceError(
            f"{file.name} is an animation, and a layer is one picture.",
            "Write each picture as a file of its own, named after its layer.",
        )
    return header.shape, header.bits


def _jpeg_header(file: RangeFile, cancel_token: CancelToken) -> tuple[tuple[int, int], int]:
    """Go from marker to marker until the frame header (ITU-T T.81, B.1.1)."""
    position = 2
    while position + 10 <= file.size:
        mark = bytes(file.read(position, position + 10, cancel_token))
        if mark[0] != 0xFF:
            break
        if mark[1] == 0xFF:  # a fill byte
            position += 1
        elif 0xC0 <= mark[1] <= 0xCF and mark[1] not in (0xC4, 0xC8, 0xCC):
            bits, height, width = struct.unpack_from(">BHH", mark, 4)
            return (height, width), bits
        else:
            position += 2 + struct.unpack_from(">H", mark, 2)[0]
    raise SourceError(f"{file.name} is a damaged JPEG file: it has no frame header.")
