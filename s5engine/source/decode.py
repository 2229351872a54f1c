"""Decoding strips and tiles: only as far as the last wanted pixel, straight into the target."""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import SourceError
from s5engine.source.grid import Codec

Pixels = npt.NDArray[Any]
Data = bytes | bytearray | memoryview

#: Room after the pixels, for codes that run past them (PackBits does).
_SLACK = 256
#: Below this share of a Deflate strip the stream is stopped instead of decoded whole (libdeflate is
#: about twice as fast as zlib, but cannot stop).
_PREFIX_SHARE = 0.5


@functools.cache
def imagecodecs() -> Any:
    """Import imagecodecs when it is first needed (its types know no arrays as buffers)."""
    return importlib.import_module("imagecodecs")


class Scratch:
    """A buffer that is used again for strip after strip; one for each thread's run of strips."""

    def __init__(self) -> None:
        self._buffer: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def get(self, size: int) -> npt.NDArray[np.uint8]:
        """Return ``size`` bytes with undefined content."""
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


def decode_segment(
    data: Data,
    codec: Codec,
    size: tuple[int, int],
    wanted: tuple[int, int, int, int],
    out: Pixels,
    scratch: Scratch,
) -> None:
    """Decode rows and columns of one strip or tile into ``out``.

    Parameters
    ----------
    data : bytes-like
        The encoded strip or tile.
    codec : Codec
        How it is encoded.
    size : (height, width)
        The most that it holds, px.
    wanted : (r0, r1, c0, c1)
        Rows and columns to decode, px from its upper left corner.
    out : (r1 - r0, c1 - c0) ndarray of uint8 or uint16
        Where they go; columns must be contiguous.
    scratch : Scratch
        Memory to work in.

    Raises
    ------
    ValueError
        If the data are damaged, with the reason.
    """
    r0, r1, c0, c1 = wanted
    height, width = size
    itemsize = out.dtype.itemsize
    prefix = ((r1 - 1) * width + c1) * itemsize
    if _direct(codec, width, wanted, out):
        _decompress(data, codec, prefix, prefix, out.reshape(-1).view(np.uint8))
        pixels = out
    else:
        full = height * width * itemsize
        buffer = scratch.get(max(full, prefix) + _SLACK)
        _decompress(data, codec, prefix, full, buffer)
        stored = buffer[: r1 * width * itemsize].view(out.dtype).reshape(r1, width)
        pixels = stored[r0:r1, :c1]
    if codec.order == ">" and itemsize > 1:
        pixels.byteswap(inplace=True)
    undo_differences(pixels, codec.differences, c0, out)


def undo_differences(pixels: Pixels, differences: bool, c0: int, out: Pixels) -> None:
    """Put columns ``c0``… of ``pixels`` into ``out``; with predictor 2, as running sums.

    ``pixels`` must begin at the first column of the strip and may be overwritten.
    """
    if not differences:
        if pixels is not out:
            out[...] = pixels[:, c0:]
        return
    if c0:  # what lies left of the wanted columns counts by its sum alone
        pixels[:, c0] += pixels[:, :c0].sum(axis=1, dtype=pixels.dtype)
    imagecodecs().delta_decode(pixels[:, c0:], axis=-1, out=out)


def _direct(codec: Codec, width: int, wanted: tuple[int, int, int, int], out: Pixels) -> bool:
    """Whether the decoder can write into ``out`` itself: LZW rows from the first column on."""
    r0, r1, c0, c1 = wanted
    whole = r1 - r0 == 1 or c1 == width
    return codec.compression == "lzw" and r0 == c0 == 0 and whole and out.flags.c_contiguous


def _decompress(
    data: Data, codec: Codec, prefix: int, full: int, out: npt.NDArray[np.uint8]
) -> None:
    """Decompress at least the first ``prefix`` of ``full`` bytes into ``out``."""
    decode = _DECODERS[codec.compression]
    try:
        got = decode(data, prefix, full, out)
    except (RuntimeError, ValueError, zlib.error) as error:  # all imagecodecs' errors are the first
        raise ValueError(_reason(data, codec, error)) from error
    if got < prefix:
        raise ValueError(f"it ends after {got} of {prefix} decoded bytes")


def _reason(data: Data, codec: Codec, error: Exception) -> str:
    if codec.compression == "lzw" and bytes(data[:1]) == b"\0":
        return "it is LZW of the old style (before TIFF 6.0), which is not supported"
    return str(error)


def _lzw(data: Data, prefix: int, full: int, out: npt.NDArray[np.uint8]) -> int:
    return len(imagecodecs().lzw_decode(data, out=out[:prefix]))


def _packbits(data: Data, prefix: int, full: int, out: npt.NDArray[np.uint8]) -> int:
    return len(imagecodecs().packbits_decode(data, out=out))


def _deflate(data: Data, prefix: int, full: int, out: npt.NDArray[np.uint8]) -> int:
    if prefix < full * _PREFIX_SHARE:
        text = zlib.decompressobj().decompress(data, prefix)
        out[: len(text)] = np.frombuffer(text, np.uint8)
        return len(text)
    return len(imagecodecs().deflate_decode(data, out=out))


def _zstd(data: Data, prefix: int, full: int, out: npt.NDArray[np.uint8]) -> int:
    return len(imagecodecs().zstd_decode(data, out=out))


_DECODERS: dict[str, Callable[[Data, int, int, npt.NDArray[np.uint8]], int]] = {
    "lzw": _lzw,
    "packbits": _packbits,
    "deflate": _deflate,
    "zstd": _zstd,
}


def damaged(name: str, where: str, error: Exception) -> SourceError:
    """Return the error for a strip or tile that cannot be decoded."""
    return SourceError(f"{name}: {where} is damaged: {error}.", "Fetch the file again.")
