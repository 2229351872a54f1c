"""A zarr array that is read with care: whatever is damaged is told, with the name of its file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.address import shown
from s5engine.errors import S5Error
from s5engine.geometry import take
from s5engine.store.careful_store import CarefulStore, chunk_file, damaged
from s5engine.store.chunk_codecs import checked_metadata
from s5engine.store.identity import array_identity
from s5engine.store.present import Present

if TYPE_CHECKING:
    import zarr

Pixels = npt.NDArray[Any]


def read_whole(array: zarr.Array[Any], present: Present | None = None) -> Pixels:
    """Return all of a small array, such as coordinates; ``present`` as `StoredArray` takes it.

    Raises
    ------
    StoreError
        If a chunk is damaged, or one that was there is not.
    """
    return StoredArray(array, present=present)[(slice(None),) * array.ndim]


class StoredArray:
    """An array on zarr for dask: reads boxes, and names the file of a chunk that is damaged.

    Parameters
    ----------
    array : zarr Array
        Opened for reading.
    partial : bool
        Whether all of its chunks may be missing.
    present : bool ndarray, optional
        Which of its chunk files are there, if this is known.
    """

    def __init__(
        self, array: zarr.Array[Any], *, partial: bool = False, present: Present | None = None
    ) -> None:
        self._array, self._partial, self._present = array, partial, present
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self._careful: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_careful": None}  # zarr pickles a shard's codecs by their names

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # Workers read what is sent to them: the name says what the pixels are, not where.
        place = shown(str(getattr(self._array.store, "address", self._array.store)))
        return "s5engine-array", self._array.path, *array_identity(self._array, place)

    def __getitem__(self, place: tuple[Any, ...]) -> Pixels:
        """Return what numpy would of slices, whole numbers and lists."""
        return take(self.read, self.shape, place, self.dtype)

    def read(self, box: Sequence[slice]) -> Pixels:
        """Return a box, which has both ends on each axis.

        Raises
        ------
        StoreError
            If a chunk is damaged or cannot be read.
        """
        try:
            return self._read(box)
        except Exception as error:  # codecs raise of all kinds
            self._find_damaged(box)
            if isinstance(error, S5Error):
                raise
        return self._read(box)  # each chunk can be read now: it was in passing

    def _read(self, box: Sequence[slice]) -> Pixels:
        import zarr
        from zarr.storage import StorePath

        if self._careful is None:
            source = self._array
            store = CarefulStore(source.store, source, self._partial, self._present)
            place: Any = StorePath(store, source.path)
            self._careful = zarr.Array(zarr.AsyncArray(checked_metadata(source), place))
        return np.asarray(self._careful[tuple(box)])

    def _find_damaged(self, box: Sequence[slice]) -> None:
        """Read the chunks of a box one by one; raise with the name of the first that fails."""
        unit = self._array.shards or self._array.chunks
        counts = [
            range(part.start // side, -(-part.stop // side))
            for part, side in zip(box, unit, strict=True)
        ]
        for place in itertools.product(*counts):
            inside = [
                slice(max(part.start, n * side), min(part.stop, (n + 1) * side))
                for part, n, side in zip(box, place, unit, strict=True)
            ]
            try:
                self._read(inside)
            except S5Error:
                raise
            except Exception as error:  # codecs raise of all kinds
                raise damaged(chunk_file(self._array, place), error) from error
