"""Shards that grow: the chunks of some rows are put down as soon as these rows are there.

A band of a wide segment is more than memory holds. Its rows come in a few hundred at a time; whole
rows of chunks among them are compressed at once and added to every shard of the band, so that no
pixel goes to the disk and back before it is compressed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s5engine.store.band_plan import CHUNK
from s5engine.store.shards import (
    ChunkFiles,
    Pixels,
    empty_index,
    encode_chunks,
    finished_index,
    partial_path,
)


@dataclass
class _Growing:
    """A shard so far: its unfinished file, which chunks are in it, and its bytes."""

    path: Path
    index: npt.NDArray[np.uint64]
    size: int = 0


@dataclass(frozen=True)
class GrowingShards:
    """The shards of one band; add rows in order, finish them, close them.

    Parameters
    ----------
    files : ChunkFiles
        Of a volume at full resolution, whose chunks hold all layers.
    y0 : int
        First row of the band in the array, px.
    """

    files: ChunkFiles
    y0: int
    _shards: dict[int, _Growing] = field(default_factory=dict)

    def add(self, y: int, x0: int, pixels: Pixels) -> None:
        """Put down some rows of one shard; several threads may, each for another shard.

        Parameters
        ----------
        y : int
            The first of the rows in the array, px; a whole number of chunks below the band's.
        x0 : int
            First column of the shard in the array, px.
        pixels : (layers, rows, columns) ndarray
            Whole chunks, but at the far borders of the array.
        """
        if not self.files.sharded:
            self.files.write(y, x0, pixels)
            return
        shard = self._shards.get(x0)
        if shard is None:
            index = empty_index(pixels.shape[0], self.files.height, None)
            shard = _Growing(partial_path(self.files.shard_path(self.y0, x0)), index)
            shard.path.parent.mkdir(parents=True, exist_ok=True)
            self._shards[x0] = shard
        above = (y - self.y0) // CHUNK
        with shard.path.open("ab") as file:
            for (layer, row, column), data in encode_chunks(pixels, checksums=self.files.checksums):
                if data:
                    file.write(data)
                    shard.index[layer, above + row, column] = shard.size, len(data)
                    shard.size += len(data)

    def finish(self) -> None:
        """Make all shards whole; one whose pixels are all 0 is no file."""
        for x0, shard in self._shards.items():
            if shard.size:
                with shard.path.open("ab") as file:
                    file.write(finished_index(shard.index))
                shard.path.replace(self.files.shard_path(self.y0, x0))

    def close(self) -> None:
        """Remove what is unfinished. Closing twice does nothing."""
        for shard in self._shards.values():
            shard.path.unlink(missing_ok=True)
        self._shards.clear()
