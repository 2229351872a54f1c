"""Where the chunks of a zarr array should be, and whether any is there at all.

A chunk that is missing is 0 by the format, so that an array whose chunks have other names than its
metadata say would read as 0 everywhere.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.errors import StoreError, WayOut

if TYPE_CHECKING:
    import zarr

#: So many files are looked at before an array counts as one without chunks.
MOST_FILES = 10_000
#: So many chunks are asked for before a remote array counts as one without chunks.
MOST_ASKED = 64


def root_of(store: Any) -> Path | None:
    """Return the folder of a zarr store on this machine; None of any other store."""
    root = getattr(store, "root", None)
    return root if isinstance(root, Path) else None


def chunk_grid(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return how many chunk files (shards, where there are any) an array has along each axis."""
    unit = array.shards or array.chunks
    return tuple(-(-length // side) for length, side in zip(array.shape, unit, strict=True))


def chunk_key(array: zarr.Array[Any], place: Sequence[int]) -> str:
    """Return the key of a chunk file, from the store's root."""
    metadata: Any = array.metadata
    return f"{array.path}/{metadata.encode_chunk_key(tuple(place))}".lstrip("/")


def files_of(array: zarr.Array[Any], place: Sequence[slice]) -> list[Path]:
    """Return the chunk files (shards, where there are any) of a box of an array on this machine.

    Those that are there: a chunk of the fill value alone is no file.
    """
    root = root_of(array.store)
    if root is None:
        raise ValueError(f"{array.store} is not on this machine")
    unit = array.shards or array.chunks
    spans = (
        range(first // side, -(-stop // side))
        for (first, stop, _), side in zip(
            (part.indices(length) for part, length in zip(place, array.shape, strict=True)),
            unit,
            strict=True,
        )
    )
    paths = (root / chunk_key(array, index) for index in itertools.product(*spans))
    return [path for path in paths if path.is_file()]


def naming(array: zarr.Array[Any]) -> str:
    """Return the key of the first chunk within the array, which shows how all are named."""
    metadata: Any = array.metadata
    return str(metadata.encode_chunk_key((0,) * array.ndim))


def other_namings(array: zarr.Array[Any]) -> list[str]:
    """Return the first key as zarr would have it with other separators and prefixes."""
    zeros = ["0"] * array.ndim
    known = [".".join(zeros), "/".join(zeros), "/".join(["c", *zeros]), ".".join(["c", *zeros])]
    return [key for key in known if key != naming(array)]


def sample(grid: Sequence[int]) -> list[tuple[int, ...]]:
    """Return places spread over a grid, first and middle first; all of a small one."""
    total = 1
    for count in grid:
        total *= count
    if total <= MOST_ASKED:
        return list(itertools.product(*map(range, grid)))
    middle = [count // 2 for count in grid]
    spread = {tuple([0] * len(grid)): None, tuple(middle): None}
    for number in range(MOST_ASKED):
        # Steps of irrational length fill the grid evenly along each axis.
        shares = [(0.5 + number * step) % 1 for step in (0.7549, 0.5698, 0.8192, 0.671, 0.549)]
        spread[tuple(int(s * n) for s, n in zip(itertools.cycle(shares), grid, strict=False))] = (
            None
        )
    return list(spread)[:MOST_ASKED]


def check_chunks(array: zarr.Array[Any], where: str) -> zarr.Array[Any]:
    """Return a local array if any of its chunks is there; arrays elsewhere are not looked at.

    A Zarr v2 array whose metadata name no separator, and whose chunks are all in folders, is
    returned as one with folders: older programs wrote it so.

    Raises
    ------
    StoreError
        If there is none; the message has what was looked for and what is there.
    """
    root = root_of(array.store)
    if root is None:
        return array
    folder = root / array.path
    grid, found = chunk_grid(array), []
    for name in itertools.islice(_files(folder), MOST_FILES):
        if _is_key(name, naming(array), grid):
            return array
        found.append(name)
    told = [key for key in other_namings(array) if any(_is_key(n, key, grid) for n in found)]
    nested = "/".join(["0"] * array.ndim)
    if told == [nested] and _names_no_separator(folder):
        import zarr

        metadata: Any = array.metadata
        changed: Any = replace(metadata, dimension_separator="/")
        return zarr.Array(zarr.AsyncArray(changed, array.store_path))
    raise no_chunks(array, where, found[:3], len(found), told)


def no_chunks(
    array: zarr.Array[Any], where: str, found: Sequence[str], count: int, told: Sequence[str]
) -> StoreError:
    """Return the error of an array of which no chunk is there."""
    metadata: Any = array.metadata
    last = metadata.encode_chunk_key(tuple(count - 1 for count in chunk_grid(array)))
    there = f"{count} other files, such as {', '.join(found)}" if found else "none"
    again = "Copy it again, with all its files"
    fix: str | WayOut = WayOut(
        f"{again}; if all of its pixels are 0, partial=True opens it.", f"{again}."
    )
    if told:
        fix = (
            f"Its chunks are named like {told[0]!r}: say so in its metadata "
            '("dimension_separator" in .zarray, "chunk_key_encoding" in zarr.json).'
        )
    return StoreError(
        f"The array {where} of {array.shape} has none of its chunks: they should be named "
        f"{naming(array)} … {last}, and there are {there}.",
        fix,
    )


def _files(folder: Path, prefix: str = "", depth: int = 6) -> Iterator[str]:
    """Yield the names of files below a folder that are no metadata."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "zarr.json":
                    continue
                if not entry.is_dir():
                    yield prefix + entry.name
                elif depth:
                    yield from _files(Path(entry.path), f"{prefix}{entry.name}/", depth - 1)
    except OSError as error:
        raise StoreError(f"The folder {folder} cannot be read: {error.strerror}.") from error


def _is_key(name: str, first: str, grid: Sequence[int]) -> bool:
    """Whether a file's name is that of a chunk of the grid, named as its first one is."""
    match = re.fullmatch(re.escape(first).replace("0", r"(\d{1,12})"), name)
    return match is not None and all(
        int(n) < count for n, count in zip(match.groups(), grid, strict=True)
    )


def _names_no_separator(folder: Path) -> bool:
    try:
        return "dimension_separator" not in json.loads((folder / ".zarray").read_bytes())
    except (OSError, ValueError):
        return False
