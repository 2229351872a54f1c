"""Tile predictions and ink as zarr arrays, written block by block, each block once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.atomic import sync_tree
from s5engine.errors import StoreError, afresh
from s5engine.infer.prediction import Prediction
from s5engine.infer.tile_array import tiles_array
from s5engine.infer.tiles import STATISTICS
from s5engine.store.chunk_keys import files_of
from s5engine.store.create import remove_strays
from s5engine.store.named_array import open_named
from s5engine.store.nodes import find_member, open_group
from s5engine.store.origins import remember

if TYPE_CHECKING:
    import xarray as xr

#: Attributes of lazy arrays that say with what means they are computed; a result is the same.
EXECUTION_ATTRS = ("budget",)
#: Side of a block of ink that has no blocks of its own, px.
BLOCK = 1024


def create_tiles(prediction: Prediction, path: Path, dtype: str) -> Any:
    """Create the zarr array of tile predictions, or open the one that is there."""
    # The first block's size: the last one may be larger, and then holds two chunks.
    # Mean and spread lie in chunks of their own, so that one is read without the other.
    sides = (axis.tiles[0] for axis in prediction.blocks)
    axes = prediction.axes
    size = prediction.task.map_size
    both = len(STATISTICS) if prediction.spread else 0
    shape = (len(prediction.windows), *(a.count for a in axes), size, size, *([both] * bool(both)))
    like = tiles_array(np.broadcast_to(np.float32(np.nan), shape), dict(prediction.attrs), axes)
    chunks = (1, *sides, size, size, *(1 for _ in shape[5:]))
    return _create("tiles", like, path, chunks, dtype, np.nan)


def create_ink(ink: xr.DataArray, path: Path, dtype: str) -> Any:
    """Create the zarr array of ink, or open the one that is there; its chunks are its blocks."""
    sides = [min(BLOCK, n) if n else 1 for n in ink.shape[1:]]
    if "block" in ink.attrs:
        sides = [min(step, n) for step, n in zip(ink.attrs["block"], ink.shape[1:], strict=True)]
    return _create("ink", ink, path, (1, *sides), dtype, 0)


def write_box(target: Any, place: tuple[slice, ...], values: np.ndarray) -> list[Path]:
    """Write a box of whole chunks, which nobody else touches; return the files that hold it."""
    target[place] = values.astype(target.dtype, copy=False)
    return files_of(target, place)


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
    # Chunks may be there that the journal holds for finished: they stay.
    group = zarr.open_group(path.absolute(), mode="a")
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
                overwrite=True,
            )
            axis[:] = values
    array = group.create_array(
        name,
        shape=like.shape,
        dtype=dtype,
        chunks=chunks,
        fill_value=fill,
        compressors=_compressors(),
        dimension_names=[str(d) for d in like.dims],
        attributes={k: plain_value(v) for k, v in like.attrs.items() if k not in EXECUTION_ATTRS},
    )
    sync_tree(path)
    return array


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
