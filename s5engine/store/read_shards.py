"""Reading boxes of sharded arrays of ours, at a quarter of zarr-python's cost.

A pyramid reads every pixel of a volume once, in chunks of a quarter of a megabyte; with zarr-python
3.1 it took as long as all of the ingest before it.

References
----------
Zarr v3, sharding codec, https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.geometry import take
from s5engine.store.careful_store import check_absent, damaged
from s5engine.store.chunk_codecs import check_claims
from s5engine.store.chunk_keys import root_of
from s5engine.store.present import Present, lost
from s5engine.store.shards import CHECKSUM, EMPTY, Chunk, ChunkFiles, without_checksum
from s5engine.store.stored_array import StoredArray

if TYPE_CHECKING:
    import zarr

Pixels = npt.NDArray[Any]
#: The codecs of a chunk in a shard of ours; stores of before 2026-11 have no checksums.
_CODECS = (["bytes", "blosc"], ["bytes", "blosc", "crc32c"])


@dataclass(frozen=True)
class ShardFiles:
    """The shards of a local array (layers, height, width), each of all layers.

    Parameters
    ----------
    folder : Path
        The array's folder.
    shape : (layers, height, width)
        Of the array.
    shard, chunk : (layers, height, width)
        Of a shard and of a chunk in it, px.
    dtype : dtype
        Of the pixels.
    checksums : bool
        Whether each chunk has one.
    present : (1, rows, columns) bool ndarray, optional
        Which shards are there, if this is known.
    """

    folder: Path
    shape: Chunk
    shard: Chunk
    chunk: Chunk
    dtype: np.dtype[Any]
    checksums: bool = False
    present: Present | None = field(default=None, compare=False)

    @classmethod
    def of(cls, array: zarr.Array[Any], present: Present | None = None) -> ShardFiles | None:
        """Return the shards of a local array that is stored as ours are; None of any other."""
        root = root_of(array.store)
        codecs = _own_codecs(array)
        if array.shards is None or root is None or not codecs:
            return None
        if len(array.shape) != 3 or array.shards[0] != array.shape[0]:
            return None
        shape, shard, chunk = map(_three, (array.shape, array.shards, array.chunks))
        return cls(
            root / array.path,
            shape,
            shard,
            chunk,
            array.dtype.newbyteorder("="),
            "crc32c" in codecs,
            present,
        )

    @property
    def ndim(self) -> int:
        """Number of axes; with ``shape``, ``dtype`` and slicing, what dask wants of an array."""
        return len(self.shape)

    def __getitem__(self, place: tuple[Any, ...]) -> Pixels:
        """Return what numpy would of slices, whole numbers and lists."""
        return take(self._box, self.shape, place, self.dtype)

    def _box(self, box: tuple[slice, ...]) -> Pixels:
        layers, rows, columns = box
        pixels = self.read(rows, columns)
        return pixels if layers == slice(0, self.shape[0]) else pixels[layers]

    def writer(self) -> ChunkFiles:
        """Return what writes whole shards of the same array."""
        return ChunkFiles(
            self.folder,
            self.shape,
            self.shard[1],
            sharded=True,
            chunk=self.chunk,
            checksums=self.checksums,
        )

    def read(self, rows: slice, columns: slice) -> Pixels:
        """Return a box of all layers; what was never written is 0.

        Parameters
        ----------
        rows, columns : slice
            With both ends, px; what lies outside the array is left out.

        Returns
        -------
        (layers, rows, columns) ndarray

        Raises
        ------
        StoreError
            If a shard is damaged, or one that was there is not.
        """
        y0, y1 = rows.start, min(rows.stop, self.shape[1])
        x0, x1 = columns.start, min(columns.stop, self.shape[2])
        pixels = np.zeros((self.shape[0], y1 - y0, x1 - x0), self.dtype)
        _, high, wide = self.shard
        for row, column in itertools.product(_touched(y0, y1, high), _touched(x0, x1, wide)):
            self._read_shard(row, column, (y0, x0), pixels)
        return pixels

    def _read_shard(self, row: int, column: int, first: tuple[int, int], out: Pixels) -> None:
        """Copy what a shard has of the box ``out``, which begins at pixel ``first``."""
        path = self.folder / f"c/0/{row}/{column}"
        try:
            with path.open("rb") as file:
                corner = row * self.shard[1], column * self.shard[2]
                self._copy(file.fileno(), corner, first, out)
        except FileNotFoundError:
            check_absent(path)
            if self.present is not None and self.present[0, row, column]:
                raise lost(path) from None
            # Else all of it is 0.
        except (OSError, RuntimeError, ValueError) as error:  # imagecodecs' are RuntimeErrors
            raise damaged(path, error) from error

    def _copy(
        self, file: int, corner: tuple[int, int], first: tuple[int, int], out: Pixels
    ) -> None:
        import imagecodecs

        index, end = self._index(file), os.fstat(file).st_size
        buffer = np.empty(self.chunk, self.dtype)
        decoded: Any = buffer.reshape(-1).view(np.uint8)
        spans = []
        for axis in (1, 2):
            start = first[axis - 1] - corner[axis - 1]
            stop = min(start + out.shape[axis], self.shard[axis])
            spans.append(_touched(max(start, 0), stop, self.chunk[axis]))
        for layer, row, column in itertools.product(range(len(index)), *spans):
            offset, size = (int(n) for n in index[layer, row, column])
            if offset == size == EMPTY:
                continue
            if offset + size > end:
                raise ValueError(f"its index points to byte {offset + size} of {end}")
            data = os.pread(file, size, offset)
            if self.checksums:
                data = without_checksum(data, "a chunk in it")
            check_claims("blosc", data, decoded.nbytes)
            imagecodecs.blosc_decode(data, out=decoded)
            top = corner[0] + row * self.chunk[1] - first[0]
            left = corner[1] + column * self.chunk[2] - first[1]
            a, b = max(top, 0), max(left, 0)
            target = out[
                layer * self.chunk[0] : (layer + 1) * self.chunk[0],
                a : top + self.chunk[1],
                b : left + self.chunk[2],
            ]
            target[...] = buffer[
                :, a - top : a - top + target.shape[1], b - left : b - left + target.shape[2]
            ]

    def _index(self, file: int) -> npt.NDArray[np.uint64]:
        """Return offset and length of each chunk of a shard, (layers, rows, columns, 2)."""
        counts = [whole // part for whole, part in zip(self.shard, self.chunk, strict=True)]
        size = 16 * int(np.prod(counts))
        end = os.fstat(file).st_size
        data = os.pread(file, size + CHECKSUM, max(0, end - size - CHECKSUM))
        if len(data) < size + CHECKSUM:
            raise ValueError(f"its {end} bytes are fewer than its index")
        table = without_checksum(data, "its index")
        return np.frombuffer(table, "<u8").reshape(*counts, 2)


def reader_of(
    array: zarr.Array[Any], *, partial: bool = False, present: Present | None = None
) -> ShardFiles | StoredArray:
    """Return what reads boxes of an array: its shards if they are as ours, else zarr.

    ``partial`` and ``present`` are as `StoredArray` takes them.
    """
    return ShardFiles.of(array, present) or StoredArray(array, partial=partial, present=present)


def _three(sides: Sequence[int]) -> Chunk:
    layers, height, width = map(int, sides)
    return layers, height, width


def has_checksums(array: zarr.Array[Any]) -> bool:
    """Whether the chunks in an array's shards have checksums, as those of new stores do."""
    return "crc32c" in _own_codecs(array)


def _own_codecs(array: zarr.Array[Any]) -> list[str]:
    """Return the codecs in a shard if the metadata say all that reading here takes for granted."""
    told: dict[str, Any] = json.loads(json.dumps(array.metadata.to_dict(), default=str))
    codecs = told.get("codecs", ())
    if len(codecs) != 1 or codecs[0].get("name") != "sharding_indexed":
        return []
    inside = codecs[0]["configuration"]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    bare = {"name": "bytes"}  # one byte has no order
    keys = {"name": "default", "configuration": {"separator": "/"}}
    names = [codec.get("name") for codec in inside["codecs"]]
    own = (
        names in _CODECS
        and inside["codecs"][0] in ((little, bare) if array.dtype.itemsize == 1 else (little,))
        and inside["index_codecs"] == [little, {"name": "crc32c"}]
        and inside.get("index_location", "end") == "end"
        and told["chunk_key_encoding"] == keys
        and told["fill_value"] == 0
    )
    return names if own else []


def _touched(start: int, stop: int, side: int) -> range:
    """Return which pieces of ``side`` px the pixels ``start``…``stop`` lie in."""
    return range(start // side, -(-stop // side))
