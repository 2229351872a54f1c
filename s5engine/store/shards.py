"""Writing whole shards: the same files as zarr-python's, at less than half its cost.

zarr-python 3.1 takes about as long to write a band as decoding it took. Chunks that are never read
back while they are written need none of its machinery: each is compressed, and a shard is its
chunks one after the other with an index behind them.

References
----------
Zarr v3, sharding codec, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from s5engine.errors import StoreError
from s5engine.store.band_plan import CHUNK, SHARD_WIDTH

#: Offset and length of a chunk that is empty and not stored.
EMPTY = 2**64 - 1
#: Bytes of a checksum.
CHECKSUM = 4

Pixels = npt.NDArray[np.generic]
#: Layers, rows and columns of a chunk.
Chunk = tuple[int, int, int]


@dataclass(frozen=True)
class ChunkFiles:
    """The files of an array (layers, height, width), written shard by shard.

    Parameters
    ----------
    folder : Path
        The array's folder.
    shape : (layers, height, width)
        Of the array.
    height : int
        Rows of a shard, or of what is written at once, px; a multiple of 128.
    sharded : bool
        If false each chunk is a file (Zarr v2).
    chunk : (layers, height, width), optional
        Of a chunk, px; all layers × 128 × 128 by default.
    checksums : bool
        Whether each chunk of a shard ends in its checksum; Zarr v2 has none.
    """

    folder: Path
    shape: tuple[int, int, int]
    height: int
    sharded: bool
    chunk: Chunk | None = None
    checksums: bool = False

    def columns(self) -> range:
        """Return the first columns of the shards in a band."""
        return range(0, self.shape[2], SHARD_WIDTH)

    def check(self, y0: int, shape: tuple[int, ...]) -> None:
        """Refuse a band that is not whole shards: the rest of a shard would be lost.

        Raises
        ------
        StoreError
            If rows, columns or layers do not fit.
        """
        layers, rows, width = self.shape
        y1 = y0 + shape[1]
        whole = y0 % self.height == 0 and y1 == min(y0 + self.height, rows)
        if not whole or (shape[0], shape[2]) != (layers, width):
            raise StoreError(
                f"Rows {y0}:{y1} of {shape[0]} layers × {shape[2]} px are not whole "
                f"shards of {self.shape}, which are {self.height} rows high."
            )

    def shard_path(self, y0: int, x0: int) -> Path:
        """Return the file of the shard whose first pixel is at row ``y0``, column ``x0``."""
        return self.folder / f"c/0/{y0 // self.height}/{x0 // SHARD_WIDTH}"

    def write(self, y0: int, x0: int, pixels: Pixels) -> None:
        """Write the shard, or its chunks, whose first pixel is at row ``y0``, column ``x0``."""
        if self.sharded:
            data = encode_shard(pixels, self.height, self.chunk, checksums=self.checksums)
            if data:
                _put(self.shard_path(y0, x0), data)
            return
        for (_, row, column), data in encode_chunks(pixels, self.chunk):
            if data:
                _put(self.folder / f"0/{y0 // CHUNK + row}/{x0 // CHUNK + column}", data)


def encode_shard(
    pixels: Pixels, height: int, chunk: Chunk | None = None, *, checksums: bool = False
) -> bytes:
    """Return the bytes of a shard of ``height`` × 1024 px; none if all of it is 0.

    Parameters
    ----------
    pixels : (layers, rows, columns) ndarray
        What the shard holds of the array; the rest, at the array's far borders, is 0.
    height : int
        Rows of the whole shard, px.
    chunk, checksums
        As `ChunkFiles` has them.
    """
    index = empty_index(len(pixels), height, chunk)
    body = []
    position = 0
    for place, data in encode_chunks(pixels, chunk, checksums=checksums):
        if data:
            index[place] = position, len(data)
            body.append(data)
            position += len(data)
    return b"".join([*body, finished_index(index)]) if body else b""


def empty_index(layers: int, height: int, chunk: Chunk | None) -> npt.NDArray[np.uint64]:
    """Return the index of a shard of ``height`` rows without chunks: (layers, rows, columns, 2)."""
    deep, high, wide = chunk or (layers, CHUNK, CHUNK)
    return np.full((layers // deep, height // high, SHARD_WIDTH // wide, 2), EMPTY, "<u8")


def finished_index(index: npt.NDArray[np.uint64]) -> bytes:
    """Return what ends a shard: offset and length of each chunk, and their checksum."""
    return with_checksum(index.tobytes())


def with_checksum(data: bytes) -> bytes:
    """Return bytes with their crc32c behind them, as zarr's codec of that name writes it."""
    import google_crc32c

    return data + struct.pack("<I", google_crc32c.value(data))


def without_checksum(data: bytes, what: str) -> bytes:
    """Return bytes without the checksum behind them.

    Raises
    ------
    ValueError
        If it is not theirs, or they are too few; the message calls them ``what``.
    """
    bare = data[:-CHECKSUM]
    if with_checksum(bare) != data:
        raise ValueError(f"the checksum of {what} is wrong")
    return bare


def encode_chunks(
    pixels: Pixels, chunk: Chunk | None = None, *, checksums: bool = False
) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """Yield the place and the bytes of each chunk, compressed; no bytes if all of it is 0."""
    import imagecodecs

    shape = chunk or (len(pixels), CHUNK, CHUNK)
    shuffle = 2 * (pixels.itemsize > 1)  # by bits: 16-bit pixels compress better so
    counts = [-(-length // side) for length, side in zip(pixels.shape, shape, strict=True)]
    for place in np.ndindex(*counts):
        where = tuple(slice(n * side, (n + 1) * side) for n, side in zip(place, shape, strict=True))
        part = pixels[where]
        packed = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
        if not packed.any():
            yield place, b""
            continue
        if packed.shape != shape:
            whole = np.zeros(shape, packed.dtype)
            whole[:, : packed.shape[1], : packed.shape[2]] = packed
            packed = whole
        # The array itself, not its bytes: its item size is what is shuffled by.
        encoded = imagecodecs.blosc_encode(
            cast(Any, packed), level=1, compressor="zstd", shuffle=shuffle, numthreads=1
        )
        data = bytes(encoded)
        yield place, with_checksum(data) if checksums else data


def partial_path(path: Path) -> Path:
    """Return where a file is written before it is whole: beside it."""
    return path.with_suffix(f".{uuid.uuid4().hex}.partial")


def _put(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whenever the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_path(path)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
