"""Tile predictions and ink as zarr arrays, written block by block, each block once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import StoreError, afresh
from s5engine.infer.culling import Index, Neighbourhoods
from s5engine.infer.execute import compute_blocks
from s5engine.runtime.attempts import Attempt
from s5engine.runtime.clients import current_client
from s5engine.runtime.journal import Journal
from s5engine.store.create import remove_strays
from s5engine.store.named_array import open_named
from s5engine.store.nodes import find_member, open_group
from s5engine.store.origins import remember

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

#: What each step of a run writes, for the names of its tasks.
WRITTEN = {"predict": "tiles", "blend": "ink"}
#: Attributes of lazy arrays that say with what means they are computed; a result is the same.
EXECUTION_ATTRS = ("budget", "threads")
#: Side of a block of ink that has no blocks of its own, px.
BLOCK = 1024


class BlockWriter:
    """Writes the blocks of a lazy array to a zarr array, each once, and journals them.

    Parameters
    ----------
    step : {"predict", "blend"}
        What the journal and the tasks call it.
    data : dask Array
        What is computed.
    array : zarr Array
        Same shape; each block of ``data`` is whole chunks of it.
    journal : Journal
    device : str, optional
        Where the network runs, if this step runs it.
    """

    def __init__(
        self, step: str, data: da.Array, array: Any, journal: Journal, device: str | None = None
    ) -> None:
        from dask.base import tokenize

        self.step, self.array, self._journal, self._device = step, array, journal, device
        attempt = None if current_client() is None else journal.attempt()
        lazy = data.map_blocks(
            _write_block,
            target=array,
            offsets=[np.concatenate([[0], np.cumsum(c)]).tolist() for c in data.chunks],
            attempt=attempt,
            # Workers may still be at a task of an earlier attempt: this is another one.
            name=f"write-{WRITTEN[step]}-{tokenize(data.name, str(array.store), attempt)}",
            dtype=bool,
            meta=np.empty((0,) * data.ndim, bool),
            chunks=tuple((1,) * n for n in data.numblocks),
        )
        self._near = Neighbourhoods(lazy)

    def is_written(self, index: Index) -> bool:
        """Whether the journal says that a block is finished."""
        return self._unit(index) in self._journal

    def write(self, indices: Sequence[Index], done: Callable[[Index], None]) -> None:
        """Compute and write some blocks; ``done`` is called after each was journaled."""

        def finished(index: Index) -> None:
            self._journal.finish(self._unit(index))
            done(index)

        if indices:
            compute_blocks(self._near.around(indices), indices, finished, self._device)

    def _unit(self, index: Index) -> str:
        return f"{self.step} {index[1]} {index[2]}"


def create_tiles(tiles: xr.DataArray, path: Path, dtype: str) -> Any:
    """Create the zarr array of tile predictions, or open the one that is there."""
    # The first block's size: the last one may be larger, and then holds two chunks.
    # Mean and spread lie in chunks of their own, so that one is read without the other.
    sides = (sizes[0] for sizes in tiles.data.chunks[1:3])
    chunks = (1, *sides, *tiles.shape[3:5], *(1 for _ in tiles.shape[5:]))
    return _create("tiles", tiles, path, chunks, dtype, np.nan)


def create_ink(ink: xr.DataArray, path: Path, dtype: str) -> tuple[Any, tuple[int, int, int]]:
    """Create the zarr array of ink, or open the one that is there; return it and its blocks."""
    sides = [min(BLOCK, n) if n else 1 for n in ink.shape[1:]]
    if "block" in ink.attrs:
        sides = [min(step, n) for step, n in zip(ink.attrs["block"], ink.shape[1:], strict=True)]
    return _create("ink", ink, path, (1, *sides), dtype, 0), (ink.shape[0], sides[0], sides[1])


def _write_block(
    block: np.ndarray,
    *,
    target: Any,
    offsets: list[list[int]],
    attempt: Attempt | None,
    block_id: Index,
) -> np.ndarray:
    """Write one block to its place; whole chunks of the target, which no other block touches."""
    place = tuple(
        slice(offsets[axis][i], offsets[axis][i] + side)
        for axis, (i, side) in enumerate(zip(block_id, block.shape, strict=True))
    )
    with nullcontext() if attempt is None else attempt.at_work():
        target[place] = block.astype(target.dtype, copy=False)
    return np.ones((1,) * block.ndim, bool)


def _create(
    name: str, like: xr.DataArray, path: Path, chunks: tuple[int, ...], dtype: str, fill: float
) -> Any:
    """Create a zarr group with the array and its coordinates, or open the one that is there."""
    import zarr

    if (path / name / "zarr.json").exists():
        remove_strays(path)
        # Absolute, since workers may be in another folder.
        found = find_member(open_group(path.absolute(), "r+"), name)
        if not isinstance(found, zarr.Array) or found.shape != like.shape:
            raise StoreError(
                f"{path} is damaged: its {name} are not of {like.shape}.",
                afresh(),
            )
        return found
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path.absolute())
    for coordinate in like.dims:
        # Text has no agreed form in zarr: the statistics are known by their order.
        if coordinate in like.coords and like[coordinate].dtype.kind in "iuf":
            values = like[coordinate].values
            axis = group.create_array(
                str(coordinate),
                shape=values.shape,
                dtype=values.dtype,
                chunks=values.shape,
                dimension_names=(str(coordinate),),
                compressors=_compressors(),
            )
            axis[:] = values
    return group.create_array(
        name,
        shape=like.shape,
        dtype=dtype,
        chunks=chunks,
        fill_value=fill,
        compressors=_compressors(),
        dimension_names=[str(d) for d in like.dims],
        attributes={k: plain_value(v) for k, v in like.attrs.items() if k not in EXECUTION_ATTRS},
    )


def _compressors() -> list[Any]:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(), Crc32cCodec()]


def open_stored(path: Path, name: str) -> xr.DataArray:
    """Open an array that `_create` made, lazily."""
    from dask.base import tokenize

    if not path.exists():
        raise StoreError(
            f"{path} is not there: the run was written without zarr.",
            'Write it again with "zarr" among the formats.',
        )
    token = tokenize(str(path.absolute()), path.stat().st_mtime_ns)
    # The tasks that read are called read-tiles and read-ink.
    array = open_named(open_group(path.absolute()), name, task=f"read-{name}-{token}")
    return remember(array, path)


def plain_value(value: Any) -> Any:
    """Return numpy scalars and arrays as what JSON knows."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
