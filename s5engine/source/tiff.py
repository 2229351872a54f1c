"""The directory of a TIFF layer, read once, in a few small requests, wherever it is.

Only what layers of surface volumes are made of is accepted: one gray sample of 8 or 16 bits per
pixel. Everything else is refused with its reason. The layout follows TIFF 6.0 (Adobe, 1992) and
its 64-bit extension BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from s5engine.errors import SourceError
from s5engine.source.grid import Codec, Compression, Order, SegmentGrid
from s5engine.source.retry import Halt
from s5engine.source.transport import Buffer, RangeFile

_COMPRESSIONS: dict[int, Compression] = {
    1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits", 50000: "zstd",
}  # fmt: skip
_FORMATS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_SIZES, PREDICTOR = 273, 277, 278, 279, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
_WANTED = {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, STRIP_ROWS,
    STRIP_SIZES, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, SAMPLE_FORMAT,
}  # fmt: skip

#: Bytes asked for when only the start of a directory is known.
DIRECTORY_GUESS = 512
#: Values further apart than this are fetched by requests of their own, bytes.
DIRECTORY_GAP = 4096


@dataclass(frozen=True)
class TiffDirectory:
    """What the first directory of a TIFF file says.

    ``dtype`` is in native byte order.
    """

    grid: SegmentGrid
    codec: Codec
    dtype: np.dtype[np.generic]


class _Window:
    """The parts of a file that were fetched so far."""

    def __init__(self, file: RangeFile, head: Buffer, halt: Halt) -> None:
        self._file, self._halt = file, halt
        self._parts: list[tuple[int, Buffer]] = [(0, head)]
        self.size = file.size

    def get(self, start: int, size: int, ahead: int = 0) -> memoryview:
        """Return ``size`` bytes; if they must be fetched, up to ``ahead`` more come along."""
        for first, part in self._parts:
            if first <= start and start + size <= first + len(part):
                return memoryview(part)[start - first : start - first + size]
        part = self._file.read(start, start + size + ahead, self._halt)
        self._parts.append((start, part))
        return memoryview(part)[:size]


@dataclass(frozen=True)
class _Entry:
    """One line of the directory: its values are ``inline`` if they fit, else at ``offset``."""

    format: str
    count: int
    offset: int
    inline: bytes

    @property
    def nbytes(self) -> int:
        return self.count * int(self.format[1:])


def read_directory(file: RangeFile, head: Buffer, halt: Halt | None = None) -> TiffDirectory:
    """Return the first directory of the TIFF ``file``, of which ``head`` are the first bytes.

    Raises
    ------
    SourceError
        If it is no TIFF, is cut off, or holds something other than one gray layer.
    """
    window = _Window(file, head, Halt() if halt is None else halt)
    order, entries = _entries(window, file.name, head)
    tags = _values(window, entries, order, file.name)
    return _interpret(tags, order, file.size)


def _entries(window: _Window, name: str, head: Buffer) -> tuple[Order, dict[int, _Entry]]:
    """Find and cut up the directory: byte order and entry by tag."""
    mark = bytes(head[:4])
    order: Order = "<" if mark[:2] == b"II" else ">"
    magic = {b"II*\0": 4, b"MM\0*": 4, b"II+\0": 8, b"MM\0+": 8}.get(mark)
    if magic is None or len(head) < 2 * magic:
        _refuse_head(name, head)
    big = magic == 8
    start = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    head_size, step, count_code = (8, 20, "Q") if big else (2, 12, "H")
    if start < 8 or start + head_size > window.size:
        raise SourceError(
            f"{name} is cut off: its directory should be at byte {start}, it has {window.size}.",
            "Fetch the file again.",
        )
    ahead = min(DIRECTORY_GUESS, window.size - start - head_size)
    count = struct.unpack(order + count_code, window.get(start, head_size, ahead))[0]
    if count == 0 or start + head_size + count * step > window.size:
        raise SourceError(
            f"{name} is cut off or damaged: its directory at byte {start} has {count} entries.",
            "Fetch the file again.",
        )
    table = window.get(start + head_size, count * step)
    entries: dict[int, _Entry] = {}
    for i in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), table, i * step)
        if tag not in _WANTED or kind not in _FORMATS:
            continue
        field = bytes(table[i * step + step - magic : (i + 1) * step])
        offset = struct.unpack(order + ("Q" if big else "I"), field)[0]
        entries[tag] = _Entry(_FORMATS[kind], number, offset, field)
    return order, entries


def _refuse_head(name: str, head: Buffer) -> NoReturn:
    text = bytes(head[:256]).lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise SourceError(
            f"{name} is an HTML or XML page, not a TIFF file: the server has probably sent an "
            "error page.",
            "Open the address in a browser to see it.",
        )
    raise SourceError(f"{name} is not a TIFF file: it begins with {bytes(head[:8])!r}.")


class _Tags:
    """The values of the directory's tags."""

    def __init__(self, values: dict[int, npt.NDArray[np.int64]], name: str) -> None:
        self._values, self.name = values, name

    def all(self, tag: int) -> npt.NDArray[np.int64] | None:
        """Return every value of a tag, or None."""
        return self._values.get(tag)

    def one(self, tag: int, default: int | None = None) -> int:
        """Return the first value of a tag."""
        values = self._values.get(tag)
        if values is not None and values.size:
            return int(values[0])
        if default is None:
            raise SourceError(f"{self.name} is damaged: its directory has no tag {tag}.")
        return default


def _values(window: _Window, entries: dict[int, _Entry], order: Order, name: str) -> _Tags:
    """Fetch what the entries point to, neighbours together."""
    far = sorted(
        (e.offset, e.offset + e.nbytes) for e in entries.values() if e.nbytes > len(e.inline)
    )
    spans: list[list[int]] = []
    for start, stop in far:
        if spans and start - spans[-1][1] <= DIRECTORY_GAP:
            spans[-1][1] = max(spans[-1][1], stop)
        else:
            spans.append([start, stop])
    for start, stop in spans:
        window.get(start, stop - start)
    values = {}
    for tag, entry in entries.items():
        inline = entry.nbytes <= len(entry.inline)
        raw = entry.inline if inline else window.get(entry.offset, entry.nbytes)
        values[tag] = np.frombuffer(raw, order + entry.format, entry.count).astype(np.int64)
    return _Tags(values, name)


def _interpret(tags: _Tags, order: Order, size: int) -> TiffDirectory:
    """Check the values and make the grid of them."""
    name = tags.name
    height, width = tags.one(HEIGHT), tags.one(WIDTH)
    bits = _sample_bits(tags)
    method = tags.one(COMPRESSION, 1)
    if method not in _COMPRESSIONS:
        raise SourceError(
            f"{name} is compressed by method {method}, which is not supported.",
            "Layers may be uncompressed, LZW, PackBits, Deflate or Zstandard.",
        )
    compression = _COMPRESSIONS[method]
    codec = Codec(compression, _has_differences(tags, compression), order)
    tiled = tags.all(TILE_OFFSETS) is not None or tags.all(TILE_WIDTH) is not None
    if tiled:
        seg_height, seg_width = tags.one(TILE_HEIGHT), tags.one(TILE_WIDTH)
    else:
        seg_height, seg_width = min(tags.one(STRIP_ROWS, height), height), width
    if min(height, width, seg_height, seg_width) < 1:
        raise SourceError(
            f"{name} is damaged: it is {height} × {width} px in pieces of "
            f"{seg_height} × {seg_width} px."
        )
    rows, columns = -(-height // seg_height), -(-width // seg_width)
    offsets = tags.all(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = tags.all(TILE_SIZES if tiled else STRIP_SIZES)
    if offsets is None or sizes is None or {offsets.size, sizes.size} != {rows * columns}:
        raise SourceError(
            f"{name} is damaged: {rows * columns} strips or tiles need as many offsets and sizes; "
            f"it has {0 if offsets is None else offsets.size} and "
            f"{0 if sizes is None else sizes.size}."
        )
    grid = SegmentGrid(height, width, seg_height, seg_width, offsets, sizes, tiled)
    _check_extent(grid, compression, bits // 8, name, size)
    return TiffDirectory(grid, codec, np.dtype(f"u{bits // 8}"))


def _sample_bits(tags: _Tags) -> int:
    """Return the bits per sample; refuse all but one unsigned gray sample per pixel."""
    name, samples, bits = tags.name, tags.one(SAMPLES, 1), tags.one(BITS, 1)
    kind = tags.one(SAMPLE_FORMAT, 1)
    if samples != 1:
        raise SourceError(
            f"{name} has {samples} samples per pixel.", "Layers must be gray: one sample."
        )
    if kind not in (1, 4) or bits not in (8, 16):
        kinds = {1: "unsigned", 2: "signed", 3: "floating-point"}
        raise SourceError(
            f"{name} has {bits}-bit {kinds.get(kind, 'unknown')} samples.",
            "Layers must be 8- or 16-bit unsigned.",
        )
    if tags.one(PHOTOMETRIC, 1) != 1:
        raise SourceError(
            f"{name} has photometric interpretation {tags.one(PHOTOMETRIC)}.",
            "Layers must be gray with 0 as black (1).",
        )
    if tags.one(FILL_ORDER, 1) != 1:
        raise SourceError(f"{name} has its bits in reverse order (FillOrder 2).")
    return bits


def _has_differences(tags: _Tags, compression: Compression) -> bool:
    predictor = tags.one(PREDICTOR, 1)
    if predictor == 1:
        return False
    if predictor != 2 or compression == "none":
        raise SourceError(
            f"{tags.name} has predictor {predictor} with compression {compression}, which is not "
            "supported."
        )
    return True


def _check_extent(
    grid: SegmentGrid, compression: Compression, itemsize: int, name: str, size: int
) -> None:
    """Find out now, from the directory alone, whether pixels are missing."""
    ends = grid.offsets + grid.sizes
    if (grid.offsets < 0).any() or (grid.sizes < 0).any():
        raise SourceError(f"{name} is damaged: it has strips at impossible places.")
    if int(ends.max()) > size:
        bad = int(np.argmax(ends > size))
        raise SourceError(
            f"{name} is cut off: {grid.name(bad)} ends at byte {int(ends[bad])}, the file has "
            f"{size}.",
            "Fetch the file again.",
        )
    if compression == "none":
        stored = np.full(grid.sizes.shape, grid.seg_height, np.int64)
        if not grid.tiled:
            stored[-1] = grid.stored_rows(stored.size - 1)
        short = (grid.sizes > 0) & (grid.sizes < stored * grid.seg_width * itemsize)
        if short.any():
            bad = int(np.argmax(short))
            raise SourceError(f"{name} is damaged: {grid.name(bad)} is too short.")
