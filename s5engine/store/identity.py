"""What tells pixels from others: their content, never the way in which a place is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.errors import SourceChangedError, WayOut
from s5engine.store.chunk_keys import chunk_grid, chunk_key, root_of, sample

if TYPE_CHECKING:
    import xarray as xr
    import zarr

#: Entries of a fingerprint that say where something lies, not what it is.
_PLACES = ("url", "volume")
#: Chunks of a local array that are looked into, and bytes of each.
_SAMPLES, _SAMPLE_BYTES = 8, 4096


def content_of(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint without the places in it."""
    return {
        key: content_of(value) if isinstance(value, Mapping) else value
        for key, value in fingerprint.items()
        if key not in _PLACES
    }


def check_source(
    found: Mapping[str, Any], wanted: Mapping[str, Any], source: str, work: str, fix: str | WayOut
) -> None:
    """Refuse to go on from a source whose files are not those that the work was begun from.

    What only one of the two knows is not compared: earlier versions noted less.

    Parameters
    ----------
    found, wanted : mapping
        The fingerprints of the beginning and of now.
    source, work, fix : str, the last one or WayOut
        For the error: where the files are, what was made from them, and the way out.

    Raises
    ------
    SourceChangedError
        The message names the first file that differs, and how.
    """
    change = _first_change(content_of(found), content_of(wanted))
    if change is not None:
        raise SourceChangedError(
            f"The source {source} has changed since {work} was begun: {change}.", fix
        )


def _first_change(found: Any, wanted: Any, name: str = "") -> str | None:
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return None if found == wanted else f"{name} was {found!r:.80} and is now {wanted!r:.80}"
    shared = found.keys() & wanted.keys()
    if found and wanted and not shared:
        return f"it held {_some(found)} and holds {_some(wanted)}"
    changes = (_first_change(found[k], wanted[k], f"{name} {k}".strip()) for k in sorted(shared))
    return next((change for change in changes if change is not None), None)


def _some(entries: Mapping[str, Any]) -> str:
    return ", ".join(sorted(entries)[:4])


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
