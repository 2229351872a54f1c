"""Read all of a store and name what is damaged; make those pieces of a volume again."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine import console
from s5engine.address import place_of, shown
from s5engine.budget import resolve_budget
from s5engine.errors import SourceError, StoreError, WayOut
from s5engine.foreign import mapping
from s5engine.runtime.clients import asked_threads
from s5engine.runtime.journal import Journal, rewrite
from s5engine.store.band_plan import CHUNK
from s5engine.store.careful_store import chunk_file
from s5engine.store.chunk_keys import chunk_grid, chunk_key, root_of
from s5engine.store.create import find_record, mark_incomplete
from s5engine.store.files import open_zarr_node
from s5engine.store.ingest import check_same, ingest, journal_path, unit_of_band
from s5engine.store.ingest_plan import wanted_record
from s5engine.store.levels import find_base, listed_levels
from s5engine.store.nodes import find_arrays, find_member
from s5engine.store.ome import LEVEL, VolumeRecord, read_levels
from s5engine.store.present import CHUNKS, Present, read_present
from s5engine.store.pyramid import write_levels
from s5engine.store.read_shards import reader_of

if TYPE_CHECKING:
    import zarr

    from s5engine.address import StorageOptions

_ELSEWHERE = WayOut(
    "Give source=: where the layers that it was made from are now.",
    "Name where the layers that it was made from are now with --source.",
)
#: Place of a chunk file in the grid of its array.
Place = tuple[int, ...]


@dataclass(frozen=True)
class Damage:
    """A chunk file that cannot be read, or is gone.

    Attributes
    ----------
    array : str
        Path of its array in the store.
    place : tuple of int
        Of the file in the array's grid of chunk files.
    file : str
        Its path or address.
    told : str
        What is the matter, with the name of the file.
    """

    array: str
    place: Place
    file: str
    told: str


def check_store(
    store: str | Path,
    *,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    progress: bool = True,
) -> list[Damage]:
    """Read all chunks of a store, and return those that are damaged or gone.

    Checksums tell of every flipped bit in stores that were begun with them; in others' and in
    Zarr v2 what cannot be decoded is found, and in finished stores of ours what is gone.

    Parameters
    ----------
    store : str or Path
        Of Zarr: a volume, a run's ``ink.zarr`` or ``tiles.zarr``, a tileset; an address too.
    budget : int or str, optional
        Memory that this process may use, as `ingest` takes it.
    storage_options : mapping, optional
        Passed to fsspec for an address.
    progress : bool
        Show how far it is.

    Returns
    -------
    list of Damage
        Sorted by array and place; empty if all is well.

    Raises
    ------
    StoreError
        If there is no store, or its metadata cannot be understood.

    Examples
    --------
    >>> check_store("volume.zarr", progress=False)  # doctest: +SKIP
    []
    """
    import zarr

    place = place_of(store)
    node = open_zarr_node(place, storage_options)
    if node is None:
        raise StoreError(
            f"There is no zarr store at {shown(str(store))}.",
            "Check the path; a folder of layers is not checked.",
        )
    arrays = _arrays(node)
    presents = {
        path: read_present(node, array) if isinstance(node, zarr.Group) else None
        for path, array in arrays.items()
    }
    places = [
        (path, at)
        for path, array in arrays.items()
        for at in itertools.product(*map(range, chunk_grid(array)))
    ]
    # Each thread holds what it reads, compressed and not.
    most = max((2 * math.prod(_piece(a)) * a.dtype.itemsize for a in arrays.values()), default=1)
    threads_here = asked_threads() or os.cpu_count() or 1
    count = max(1, min(threads_here, resolve_budget(budget) // most))
    name = Path(shown(str(store))).name

    def look(at: tuple[str, Place]) -> Damage | None:
        path, place = at
        return _look(path, arrays[path], presents[path], place)

    found = []
    with (
        console.progress(f"check {name}", len(places), "chunks", enabled=progress) as meter,
        ThreadPoolExecutor(count, "s5-check") as threads,
        closing(_in_order(threads, look, places)) as looked,
    ):
        for damage in looked:
            meter.advance()
            found += [damage] if damage is not None else []
    return found


def _in_order(threads: ThreadPoolExecutor, look: Any, places: Sequence[Any]) -> Generator[Any]:
    """Yield what is found at each place; what is not begun is dropped if the caller stops."""
    try:
        yield from threads.map(look, places)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _arrays(node: zarr.Array[Any] | zarr.Group) -> dict[str, zarr.Array[Any]]:
    """Return all arrays of a store on this machine; elsewhere, those that it tells of."""
    import zarr

    if isinstance(node, zarr.Array):
        return {"": node}
    arrays = find_arrays(node, deep=True)
    attributes = dict(node.attrs)
    told = attributes.get(CHUNKS, {})
    listed = [level.path for level in read_levels(attributes)]
    for path in [*listed, *(mapping(told) if isinstance(told, dict) else ())]:
        if path not in arrays:
            array = find_member(node, path)
            if not isinstance(array, zarr.Array):
                raise StoreError(f"The store {node.store} is damaged: it has no array {path!r}.")
            arrays[path] = array
    return arrays


def _piece(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the shape of what is read at a time: a shard is large, and read in rows of chunks."""
    unit = array.shards or array.chunks
    return unit if array.ndim < 2 else (*unit[:-2], array.chunks[-2], unit[-1])


def _pieces(array: zarr.Array[Any], place: Place) -> Iterator[tuple[slice, ...]]:
    """Yield the boxes that a chunk file is read in."""
    unit, steps = array.shards or array.chunks, _piece(array)
    axes = [
        [
            slice(y, min(y + step, length))
            for y in range(n * side, min((n + 1) * side, length), step)
        ]
        for n, side, length, step in zip(place, unit, array.shape, steps, strict=True)
    ]
    return itertools.product(*axes)


def _look(
    path: str, array: zarr.Array[Any], present: Present | None, place: Place
) -> Damage | None:
    """Read a chunk file; return what is the matter with it."""
    root = root_of(array.store)
    file = chunk_file(array, place)
    if root is not None:
        file = str(root / chunk_key(array, place))
        if present is not None and not present[place] and os.path.lexists(file):
            return Damage(path, place, file, f"The chunk {file} is there, and should not be.")
    stored = reader_of(array, partial=True, present=present)
    try:
        for piece in _pieces(array, place):
            stored[piece]
    except StoreError as error:
        return Damage(path, place, file, error.what)
    return None


def remove_chunk(damage: Damage, store: Path) -> None:
    """Remove whatever is at the place of a chunk file, or of a folder above it, in a store."""
    path = Path(damage.file)
    above = reversed(list(itertools.takewhile(lambda p: p != store, path.parents)))
    # A file where a folder should be is what keeps the chunk from being written.
    place = next((p for p in above if p.is_symlink() or not p.is_dir()), path)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def repair_volume(
    store: Path,
    damages: Sequence[Damage],
    *,
    source: str | Path | None = None,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    progress: bool = True,
) -> None:
    """Read the damaged bands of a volume from its source again, and make damaged levels again.

    Killed at any moment, `ingest` or another repair goes on: nothing half-made is taken for
    finished.

    Parameters
    ----------
    store : Path
        A volume that `ingest` made, on this machine.
    damages : sequence of Damage
        What `check_store` found in it.
    source : str or Path, optional
        Where its layers are now; where they were by default.
    budget, storage_options, progress
        As `ingest` takes them.

    Raises
    ------
    StoreError
        If it is no such store, or something of it that no source has is damaged.
    SourceError
        If the layers are not there.
    SourceChangedError
        If they are other ones now; the store is left as it is.
    """
    record = find_record(store)
    if record is None:
        raise StoreError(
            f"{store} is not a volume that was made from layers, and nothing of it can be made "
            "again.",
            "Copy it from its source again.",
        )
    has_levels = len(listed_levels(find_base(store))) > 0 if record.complete else True
    if any(damage.array == LEVEL for damage in damages):
        origin = record.source if source is None else source
        _check_origin(store, record, origin, storage_options)
        _reopen(store, record, [d for d in damages if d.array == LEVEL])
        ingest(
            origin,
            store,
            layers=record.layers,
            box=record.box,
            budget=budget,
            storage_options=storage_options,
            zarr_format=record.zarr_format,
            progress=progress,
            pyramid=has_levels,
        )
    if any(damage.array != LEVEL for damage in damages):
        write_levels(store, budget=budget, resume=False, progress=progress)


def _check_origin(
    store: Path, record: VolumeRecord, origin: str | Path, options: StorageOptions | None
) -> None:
    """Refuse another source while nothing has been changed yet."""
    from s5engine.source.stack import open_stack

    try:
        with open_stack(origin, layers=record.layers, storage_options=options) as stack:
            check_same(record, wanted_record(stack, record.box, record.zarr_format), store)
    except SourceError as error:
        raise type(error)(error.what, _ELSEWHERE) from error


def _reopen(store: Path, record: VolumeRecord, damages: Sequence[Damage]) -> None:
    """Make a store an unfinished one that lacks the bands of damaged chunks.

    In this order a kill leaves the store as it was, or without a journal, which makes all of it
    again, or as it should be.
    """
    y0, y1 = record.box[:2]
    height = record.band_height
    high = height if record.zarr_format == 3 else CHUNK
    bands = {damage.place[1] * high // height for damage in damages}
    journal = journal_path(store)
    settings = {**record.settings(), "band_height": height}
    units: dict[str, dict[str, Any]] = {
        unit_of_band((top, min(top + height, y1 - y0))): {}
        for number, top in enumerate(range(0, y1 - y0, height))
        if number not in bands
    }
    if not record.complete:
        with Journal.open(journal, settings) as earlier:
            units = {k: files for k, files in earlier.without(()).items() if k in units}
    mark_incomplete(store)
    for damage in damages:
        remove_chunk(damage, store)
    rewrite(journal, settings, units)
