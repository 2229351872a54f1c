"""Which chunk files a finished array has: one that is gone is a loss, and any other one is 0.

A chunk whose pixels are all 0 is no file, so that files alone do not tell what was lost. A store of
ours therefore keeps a bit for each chunk file, packed, in an attribute of its group.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import StoreError
from s5engine.foreign import mapping, reading, text
from s5engine.store.chunk_keys import chunk_grid, chunk_key, root_of
from s5engine.store.nodes import find_arrays, find_member, open_group

if TYPE_CHECKING:
    import zarr

#: The attribute: bits in the order of the grid, of 8 in a byte the highest first, as base64, by the
#: names of the arrays.
CHUNKS = "s5engine_chunks"
#: Whether each chunk file of an array is there, in the shape of its grid.
Present = npt.NDArray[np.bool_]


def note_present(attributes: Mapping[str, Any], *arrays: zarr.Array[Any]) -> dict[str, Any]:
    """Return the attribute with the chunk files of finished arrays on this machine, to be set."""
    told = dict(mapping(attributes.get(CHUNKS, {})))
    for array in arrays:
        bits = np.packbits(_chunks_there(array))
        told[array.path] = base64.b64encode(bits.tobytes()).decode()
    return {CHUNKS: told}


def note_all_present(path: Path) -> None:
    """Keep account of the chunk files of all arrays in a finished group on this machine."""
    group = open_group(path, "r+")
    group.update_attributes(note_present({}, *find_arrays(group, deep=True).values()))


def forget_present(attributes: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the attribute without some arrays, which are about to change, to be set."""
    told = mapping(attributes.get(CHUNKS, {}))
    return {CHUNKS: {name: bits for name, bits in told.items() if name not in names}}


def read_present(group: zarr.Group, array: zarr.Array[Any]) -> Present | None:
    """Return which chunk files a finished array of a group has; None if nothing says so.

    Raises
    ------
    StoreError
        If what the group says cannot be understood.
    """
    where = f"What the group {group.store} says of the chunks of {array.path}"
    grid = chunk_grid(array)
    with reading(where, "Copy it from its source again, or make it again."):
        told = mapping(group.attrs.get(CHUNKS, {}))
        if array.path not in told:
            return None
        packed = np.frombuffer(base64.b64decode(text(told[array.path]), validate=True), np.uint8)
        count = int(np.prod(grid))
        if len(packed) != -(-count // 8):
            raise ValueError(f"{len(packed)} bytes for {count} chunks")
        return np.unpackbits(packed, count=count).astype(np.bool_).reshape(grid)


def lost(file: str | Path) -> StoreError:
    """Return the error of a chunk that was there when its store was finished."""
    return StoreError(
        f"The chunk {file} is gone: the store was finished with it.",
        "`s5 check` names all that is damaged, and --repair makes it again.",
    )


def check_present(path: Path, *names: str) -> None:
    """Check that no chunk file of a finished store on this machine is gone; none is read.

    Parameters
    ----------
    path : Path
        Its group.
    names : str
        The arrays; all that it keeps account of by default.

    Raises
    ------
    StoreError
        If one is gone; the message names it.
    """
    import zarr

    group = open_group(path)
    for name in names or mapping(group.attrs.get(CHUNKS, {})):
        array = find_member(group, name)
        if not isinstance(array, zarr.Array):
            raise StoreError(f"{path} is damaged: its array {name!r} is missing.")
        present = read_present(group, array)
        if present is not None and (gone := present & ~_chunks_there(array)).any():
            place = tuple(int(n) for n in np.argwhere(gone)[0])
            raise lost(path / chunk_key(array, place))


def holds_nothing(path: Path, name: str) -> bool:
    """Whether an array of a group on this machine has no chunk file at all."""
    import zarr

    array = find_member(open_group(path), name)
    return not isinstance(array, zarr.Array) or not _chunks_there(array).any()


def _chunks_there(array: zarr.Array[Any]) -> Present:
    """Return which chunk files of an array on this machine are there."""
    root = root_of(array.store)
    if root is None:
        raise ValueError(f"{array.store} is not on this machine")
    grid = chunk_grid(array)
    places = itertools.product(*map(range, grid))
    found = [(root / chunk_key(array, place)).is_file() for place in places]
    return np.array(found, np.bool_).reshape(grid)
