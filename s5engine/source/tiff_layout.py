"""What the tags of a TIFF directory mean: where strips or tiles lie, and how they are encoded.

Only what layers of surface volumes are made of is accepted: one gray sample of 8 or 16 bits per
pixel. Where a directory says too little or too much of uncompressed strips, and there is one way to
understand it, it is understood as libtiff does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from s5engine.errors import SourceError
from s5engine.foreign import LONGEST_SIDE
from s5engine.source.grid import Codec, Compression, Order, SegmentGrid

_COMPRESSIONS: dict[int, Compression] = {
    1: "none",
    5: "lzw",
    8: "deflate",
    32946: "deflate",
    32773: "packbits",
    50000: "zstd",
}
#: Bytes that one byte of a code stands for at most. Deflate: 258 for two bits. LZW: 4,096 for 12
#: bits. PackBits: 128 for two bytes. Zstandard: a block of 128 KiB for four bytes.
_LARGEST_RATIO = {"none": 1, "lzw": 2731, "packbits": 64, "deflate": 1032, "zstd": 2**15}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_SIZES, PREDICTOR = 273, 277, 278, 279, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, SAMPLE_FORMAT = 322, 323, 324, 325, 339

#: Strips or tiles of a layer at most; their places are held in memory, 16 bytes each.
MOST_SEGMENTS = 2**20
#: A tile may reach beyond its image, but what it holds beyond this many pixels is no image, px.
_LARGEST_TILE = 2**24


@dataclass(frozen=True)
class TiffDirectory:
    """What the first directory of a TIFF file says.

    ``dtype`` is in native byte order.
    """

    grid: SegmentGrid
    codec: Codec
    dtype: np.dtype[np.generic]


class Tags:
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


def interpret(tags: Tags, order: Order, size: int) -> TiffDirectory:
    """Check the values of a directory and make the grid of them.

    Parameters
    ----------
    tags : Tags
    order : {"<", ">"}
        The file's byte order.
    size : int
        The file's length, bytes.

    Raises
    ------
    SourceError
        If it is not one gray layer, or pixels are missing, or it claims more than can be there.
    """
    name = tags.name
    bits = _sample_bits(tags)
    method = tags.one(COMPRESSION, 1)
    if method not in _COMPRESSIONS:
        raise SourceError(
            f"{name} is compressed by method {method}, which is not supported.",
            "Layers may be uncompressed, LZW, PackBits, Deflate or Zstandard.",
        )
    compression = _COMPRESSIONS[method]
    codec = Codec(compression, _has_differences(tags, compression), order)
    grid = _grid(tags, compression, bits // 8)
    _check_places(grid, compression, bits // 8, name, size)
    return TiffDirectory(grid, codec, np.dtype(f"u{bits // 8}"))


def _grid(tags: Tags, compression: Compression, itemsize: int) -> SegmentGrid:
    """Return where the strips or tiles lie, with as many places as there have to be."""
    name, height, width = tags.name, tags.one(HEIGHT), tags.one(WIDTH)
    tiled = tags.all(TILE_OFFSETS) is not None or tags.all(TILE_WIDTH) is not None
    offsets = tags.all(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = tags.all(TILE_SIZES if tiled else STRIP_SIZES)
    if tiled:
        seg_height, seg_width = tags.one(TILE_HEIGHT), tags.one(TILE_WIDTH)
    else:
        seg_height, seg_width = min(tags.one(STRIP_ROWS, height), height), width
        if _is_one_strip(offsets, sizes, compression, height * width * itemsize):
            seg_height = height
    if min(height, width, seg_height, seg_width) < 1 or max(height, width) > LONGEST_SIDE:
        raise SourceError(
            f"{name} is damaged: it is {height} × {width} px in pieces of "
            f"{seg_height} × {seg_width} px.",
            "Fetch the file again.",
        )
    if tiled and seg_height * seg_width > max(4 * height * width, _LARGEST_TILE):
        raise SourceError(
            f"{name} is {height} × {width} px in a tile of {seg_height} × {seg_width} px, which "
            "would take more memory than the image.",
            "Write it again with smaller tiles.",
        )
    count = -(-height // seg_height) * -(-width // seg_width)
    if sizes is None and offsets is not None and compression == "none":
        sizes = np.zeros_like(offsets)
    if count > MOST_SEGMENTS:
        raise SourceError(
            f"{name} has {count:,} strips or tiles; at most {MOST_SEGMENTS:,} are read.",
            "Write it again with larger ones.",
        )
    if offsets is None or sizes is None or {offsets.size, sizes.size} != {count}:
        raise SourceError(
            f"{name} is damaged: {count} strips or tiles need as many offsets and sizes; "
            f"it has {0 if offsets is None else offsets.size} and "
            f"{0 if sizes is None else sizes.size}.",
            "Fetch the file again, or write it anew with another program.",
        )
    grid = SegmentGrid(height, width, seg_height, seg_width, offsets, sizes, tiled)
    return _with_certain_sizes(grid, itemsize) if compression == "none" else grid


def _is_one_strip(
    offsets: npt.NDArray[np.int64] | None,
    sizes: npt.NDArray[np.int64] | None,
    compression: Compression,
    whole: int,
) -> bool:
    """Return whether all rows lie in one strip, whatever RowsPerStrip says.

    Old writers kept it in 16 bits: 66,000 rows became 464.
    """
    one = offsets is not None and offsets.size == 1 and (sizes is None or sizes.size == 1)
    return one and compression == "none" and (sizes is None or int(sizes[0]) in (0, whole))


def _with_certain_sizes(grid: SegmentGrid, itemsize: int) -> SegmentGrid:
    """Return a grid of uncompressed pieces whose sizes are those of their pixels.

    A missing size is certain, and so is one that is too large. Of one single strip libtiff
    believes no size that cannot be; of several, one that is too small is damage.
    """
    rows = np.full(grid.offsets.shape, grid.seg_height, np.int64)
    if not grid.tiled:
        rows[-1] = grid.stored_rows(rows.size - 1)
    certain = rows * grid.seg_width * itemsize
    there = (grid.sizes > 0) | (grid.offsets > 0)
    short = (grid.sizes > 0) & (grid.sizes < certain)
    if grid.offsets.size == 1 and not grid.tiled:
        short[:] = False
    sizes = np.where(there & ~short, certain, grid.sizes)
    return replace(grid, sizes=sizes)


def _sample_bits(tags: Tags) -> int:
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


def _has_differences(tags: Tags, compression: Compression) -> bool:
    predictor = tags.one(PREDICTOR, 1)
    if predictor == 1 or compression == "none":  # there it means nothing, as libtiff has it
        return False
    if predictor != 2:
        raise SourceError(
            f"{tags.name} has predictor {predictor}, which is not supported.",
            "Layers may have none (1) or horizontal differences (2).",
        )
    return True


def _first(flags: npt.NDArray[np.bool_]) -> int | None:
    """Return which of the pieces is the first with a fault; None if none has one."""
    return int(np.argmax(flags)) if flags.any() else None


def _check_places(
    grid: SegmentGrid, compression: Compression, itemsize: int, name: str, size: int
) -> None:
    """Find out now, from the directory alone, whether pixels are missing."""
    offsets, sizes = grid.offsets, grid.sizes
    if (offsets < 0).any() or (sizes < 0).any() or (offsets > 2**62).any():
        raise SourceError(f"{name} is damaged: it has strips at impossible places.")
    beyond = sizes > size - offsets
    if (bad := _first(beyond)) is not None:
        raise SourceError(
            f"{name} is cut off: {grid.name(bad)} ends at byte {int(offsets[bad] + sizes[bad])}, "
            f"the file has {size}.",
            "Fetch the file again.",
        )
    # A piece was left out because it is empty only if it has neither a place nor a size.
    half = (offsets == 0) != (sizes == 0)
    if (bad := _first(half)) is not None:
        raise SourceError(
            f"{name} is damaged: {grid.name(bad)} has the place {int(offsets[bad])} and the size "
            f"{int(sizes[bad])}.",
            "Fetch the file again, or write it anew with another program.",
        )
    rows = np.full(sizes.shape, grid.seg_height, np.int64)
    if not grid.tiled:
        rows[-1] = grid.stored_rows(rows.size - 1)
    needed = rows * grid.seg_width * itemsize
    short = (sizes > 0) & ((sizes + 16) * _LARGEST_RATIO[compression] < needed)
    if compression == "none":
        short = (sizes > 0) & (sizes < needed)
    if (bad := _first(short)) is not None:
        raise SourceError(
            f"{name} is damaged: {grid.name(bad)} is too short: {int(sizes[bad])} bytes "
            f"cannot hold {int(needed[bad])}.",
            "Fetch the file again.",
        )
