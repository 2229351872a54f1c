"""Make an empty store of ours: an OME-Zarr group with one array whose shards are never cut."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from s5engine.atomic import sync_files_in, sync_folder, sync_tree
from s5engine.errors import FETCH_AFRESH, StoreError
from s5engine.store.band_plan import CHUNK, SHARD_WIDTH
from s5engine.store.files import open_zarr_node
from s5engine.store.nodes import find_member, open_group
from s5engine.store.ome import KEY, LEVEL, VolumeRecord, read_record
from s5engine.store.present import forget_present, note_present
from s5engine.store.read_shards import has_checksums
from s5engine.store.shards import ChunkFiles

#: How the name of a folder ends in which a store is being made.
_NEW = ".new"


def find_record(path: Path) -> VolumeRecord | None:
    """Return what the store at ``path`` says about itself; None if there is nothing yet.

    Raises
    ------
    StoreError
        If something else is there.
    """
    import zarr

    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    node = open_zarr_node(path)
    record = read_record(dict(node.attrs), str(path)) if isinstance(node, zarr.Group) else None
    if record is None:
        raise StoreError(
            f"{path} exists and is not a store made from layers; it is left alone.",
            "Choose another place for the store, or move that away.",
        )
    return record


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises
    ------
    StoreError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {path} cannot be made: {error.strerror}.", "Choose a writable place."
        ) from error


def create_store(path: Path, record: VolumeRecord) -> None:
    """Put an empty store at ``path``, whole at once, in place of an earlier one of ours.

    Raises
    ------
    StoreError
        If something else is there, or it cannot be written.
    """
    earlier = find_record(path) is not None
    try:
        # What a killed attempt left: the journal's lock says that nobody is at work here.
        for stray in path.parent.glob(f".{glob.escape(path.name)}.*{_NEW}"):
            shutil.rmtree(stray, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", suffix=_NEW, dir=path.parent
        ) as scratch:
            made = Path(scratch) / "store"
            _write_metadata(made, record)
            sync_tree(made)
            if earlier:
                path.rename(Path(scratch) / "earlier")
            # A folder appears with its metadata or not at all, so a kill leaves no half-made one.
            os.replace(made, path)  # noqa: PTH105 - replaces an empty folder, unlike rename
            sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be made: {error.strerror or error}.",
            "Choose a writable place with room.",
        ) from error


def _write_metadata(path: Path, record: VolumeRecord) -> None:
    import zarr
    from zarr.storage import LocalStore

    group = zarr.open_group(
        LocalStore(path),
        mode="w",
        zarr_format=record.zarr_format,
        attributes=record.attributes(),
    )
    y0, y1, x0, x1 = record.box
    group.create_array(
        LEVEL,
        shape=(len(record.layers), y1 - y0, x1 - x0),
        dtype=record.dtype,
        fill_value=0,
        **_layout(record),
    )


def _layout(record: VolumeRecord) -> dict[str, Any]:
    """Return chunks, shards and compression; bytes of 16-bit pixels compress better shuffled."""
    layers = len(record.layers)
    chunks = (layers, CHUNK, CHUNK)
    wide = record.dtype != "uint8"
    if record.zarr_format == 2:
        return {
            "chunks": chunks,
            "compressors": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2 * wide},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            # xarray reads the names of a v2 array's dimensions here.
            "attributes": {"_ARRAY_DIMENSIONS": list("zyx")},
        }
    from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

    shuffle_v3 = BloscShuffle.bitshuffle if wide else BloscShuffle.noshuffle
    return {
        "chunks": chunks,
        "shards": (layers, record.band_height, SHARD_WIDTH),
        "compressors": [BloscCodec(cname="zstd", clevel=1, shuffle=shuffle_v3), Crc32cCodec()],
        "dimension_names": list("zyx"),
    }


def level_files(path: Path, record: VolumeRecord) -> ChunkFiles:
    """Return how the shards of a store of ours are written."""
    y0, y1, x0, x1 = record.box
    shape = len(record.layers), y1 - y0, x1 - x0
    # As the store was begun: earlier ones have no checksums.
    return ChunkFiles(
        path / LEVEL,
        shape,
        record.band_height,
        sharded=record.zarr_format == 3,
        checksums=has_checksums(first_level(path)),
    )


def first_level(path: Path) -> Any:
    """Return the array of full resolution of a store of ours."""
    array = find_member(open_group(path), LEVEL)
    if array is None:
        raise StoreError(
            f"{path} is damaged: its array {LEVEL!r} is missing.",
            FETCH_AFRESH,
        )
    return array


def mark_complete(path: Path) -> None:
    """Note in the store itself that all of it is written, and which chunks that are.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    _mark(path, complete=True)


def mark_incomplete(path: Path) -> None:
    """Note in the store itself that some of it has to be written again.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    _mark(path, complete=False)


def _mark(path: Path, *, complete: bool) -> None:
    try:
        group = open_group(path, "r+")
        attributes = dict(group.attrs)
        if complete:
            chunks = note_present(attributes, first_level(path))
        else:
            chunks = forget_present(attributes, [LEVEL])
        own: Any = attributes[KEY]
        group.update_attributes({KEY: {**own, "complete": complete}, **chunks})
        sync_files_in(path)
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be finished: {error.strerror or error}.",
            "Make room, then run the same command again.",
        ) from error


def remove_strays(path: Path) -> None:
    """Delete the temporary files that a killed ingest left beside its shards."""
    for stray in path.rglob("*.partial"):
        stray.unlink(missing_ok=True)
