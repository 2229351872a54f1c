"""What tells pixels from others: their content, never the way in which a place is written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.store.chunk_keys import chunk_grid, chunk_key, root_of, sample

if TYPE_CHECKING:
    import xarray as xr
    import zarr

#: Chunks of a local array that are looked into, and bytes of each.
_SAMPLES, _SAMPLE_BYTES = 8, 4096


def pixels_identity(array: xr.DataArray) -> str:
    """Return a text that is the same for the same pixels, in every process.

    A lazy array is named after all that makes it. What dask cannot name surely (a function that
    cannot be pickled, for example) is named anew each time: it is like no other.
    """
    from dask.base import tokenize

    return str(array.data.name) if array.chunks is not None else f"values-{tokenize(array.values)}"


def tail_of(place: str) -> tuple[str, ...]:
    """Return the last names of a place: folders that are moved together keep them.

    What lies side by side is never taken for one another, however alike it looks.
    """
    return Path(place).parts[-3:]


def array_identity(array: zarr.Array[Any], place: str) -> tuple[str, ...]:
    """Return what tells a zarr array that others made from another one.

    Of one on this machine: its metadata, the times, sizes and beginnings of a few chunks, and the
    last names of its place, so that it may be moved. Of a remote one: its metadata and its
    address without credentials.
    """
    told = json.dumps(array.metadata.to_dict(), default=str, sort_keys=True)
    root = root_of(array.store)
    if root is None:
        return told, place
    digest = hashlib.sha256()
    for key in (chunk_key(array, index) for index in sample(chunk_grid(array))[:_SAMPLES]):
        path = root / key
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(_SAMPLE_BYTES)
            info = path.stat()
            digest.update(f"{key} {info.st_size} {info.st_mtime_ns} ".encode() + start)
    return told, digest.hexdigest(), *tail_of(str(root / array.path))
