"""Where the coarser levels of a store of ours lie, how they are laid out, and when they are listed.

A volume holds its levels beside the first one: ``0``, ``1``, ``2``, … A run's ink store holds them
in ``pyramid/``, where ``xarray.open_zarr`` of the store does not meet them.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import on_this_machine
from s5engine.atomic import sync_tree
from s5engine.errors import StoreError, WayOut
from s5engine.store.band_plan import CHUNK
from s5engine.store.files import open_zarr_node
from s5engine.store.halve import level_shapes
from s5engine.store.nodes import find_member, open_group
from s5engine.store.ome import (
    KEY,
    LEVEL,
    channel_names,
    list_level,
    read_levels,
    read_record,
    unlist_levels,
)
from s5engine.store.present import forget_present, note_present
from s5engine.store.pyramid_plan import BLOCK_HEIGHTS, BLOCK_WIDTH, LEVEL_CHUNK
from s5engine.store.stored_array import read_whole

if TYPE_CHECKING:
    import zarr

#: The array of a run's ink store, and the group of its levels.
INK, INK_LEVELS = "ink", "pyramid"
#: Side of a chunk of a level of ink, px: half of what is blended at a time.
INK_CHUNK = 512
#: Heights in which blocks of a level of ink may be made: whole chunks, best first, px.
INK_HEIGHTS = tuple(h for h in BLOCK_HEIGHTS if h % INK_CHUNK == 0)
#: Side of a block in which a level of ink is opened, px.
LEVEL_BLOCK = 1024


@dataclass(frozen=True)
class Base:
    """A store of ours that can have levels: its full resolution and where it lies.

    Attributes
    ----------
    path : Path
        The group's folder.
    array : str
        The full resolution in it.
    folder : str
        Where the levels are, up to their numbers: nothing, or ``pyramid/``.
    axes : tuple of (str, str)
        Name and OME type of each axis.
    shape : (layers or windows, height, width)
    dtype : dtype
    chunks : tuple of int
        Of the full resolution.
    zarr_format : int
        2 or 3.
    first, step : (float, float, float)
        Coordinates of the first pixel, and the distances of two, segment pixels.
    name : str
        What the image is called.
    windows : tuple of int
        First layers of ink's windows.
    """

    path: Path
    array: str
    folder: str
    axes: tuple[tuple[str, str], ...]
    shape: tuple[int, int, int]
    dtype: np.dtype
    chunks: tuple[int, ...]
    zarr_format: int
    first: tuple[float, float, float]
    step: tuple[float, float, float]
    name: str
    windows: tuple[int, ...] = ()

    @property
    def is_ink(self) -> bool:
        """Whether it is a run's ink, not a volume."""
        return self.array == INK

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shapes of the levels, finest first."""
        return [(self.shape[0], *sides) for sides in level_shapes(*self.shape[1:])]

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights in which blocks of a level may be made, whole shards or chunks, best first."""
        return INK_HEIGHTS if self.is_ink else BLOCK_HEIGHTS

    def level(self, number: int) -> str:
        """Return the path of a level in the group."""
        return f"{self.folder}{number}"

    def transform(self, number: int) -> dict[str, list[float]]:
        """Return scale and translation of a level: pixel 0 is where its pixels have their mean."""
        scale = [self.step[0], *(s * 2.0**number for s in self.step[1:])]
        moved = [f + s * (2.0**number - 1) / 2 for f, s in zip(self.first, self.step, strict=True)]
        return {"scale": scale, "translation": [self.first[0], *moved[1:]]}


def resolve_store(store: str | Path) -> Path:
    """Return the folder of a local store; of a run's folder, its ink store.

    Raises
    ------
    InvalidArgumentError
        If it is an address.
    """
    path = on_this_machine(
        store, "The store {} is not on this machine; levels are only written to local disks."
    )
    return path / "ink.zarr" if (path / "ink.zarr").is_dir() else path


def find_base(path: Path) -> Base:
    """Return what can get levels at ``path``.

    Raises
    ------
    StoreError
        If it is not a store that `ingest` or `write_run` made, or its ingest is unfinished.
    """
    import zarr

    group = open_zarr_node(path)
    base = None
    if isinstance(group, zarr.Group):
        is_ink = find_member(group, INK) is not None
        base = _ink_base(path, group) if is_ink else _volume_base(path, group)
    if base is None:
        raise StoreError(
            f"{path} is neither a store made from layers nor a run's ink: it gets no pyramid.",
            WayOut(
                "Ingest it into a store, or give the folder of a run.",
                "Fetch it into a store, or give the folder of a run.",
            ),
        )
    return base


def _volume_base(path: Path, group: zarr.Group) -> Base | None:
    record = read_record(dict(group.attrs), str(path))
    if record is None:
        return None
    if not record.complete:
        raise StoreError(
            f"The store {path} is unfinished: its ingest was interrupted.",
            f"Ingest {record.source} into it again to go on.",
        )
    array = _array(group, LEVEL, path)
    y0, _, x0, _ = record.box
    layers, height, width = array.shape
    return Base(
        path,
        LEVEL,
        "",
        (("z", "space"), ("y", "space"), ("x", "space")),
        (layers, height, width),
        array.dtype,
        array.chunks,
        record.zarr_format,
        (float(record.layers[0]), float(y0), float(x0)),
        (1.0, 1.0, 1.0),
        record.segment,
    )


def _ink_base(path: Path, group: zarr.Group) -> Base:
    array = _array(group, INK, path)
    windows, height, width = array.shape
    places = [_places(group, dim) for dim in ("y", "x")]
    segment = array.attrs.get("segment")
    return Base(
        path,
        INK,
        f"{INK_LEVELS}/",
        (("window", "channel"), ("y", "space"), ("x", "space")),
        (windows, height, width),
        array.dtype,
        array.chunks,
        3,
        (0.0, places[0][0], places[1][0]),
        (1.0, places[0][1], places[1][1]),
        f"ink of {segment}" if segment else "ink",
        tuple(int(n) for n in _coordinates(group, "window", windows)),
    )


def _places(group: zarr.Group, dim: str) -> tuple[float, float]:
    """Return the first coordinate along ``dim`` and the mean distance of two."""
    values = _coordinates(group, dim, 1)
    if len(values) < 2:
        return float(values[0]), 1.0
    return float(values[0]), float(values[-1] - values[0]) / (len(values) - 1)


def _coordinates(group: zarr.Group, dim: str, count: int) -> np.ndarray:
    """Return the coordinates along ``dim``; without any, those from 0."""
    import zarr

    found = find_member(group, dim)
    return read_whole(found) if isinstance(found, zarr.Array) else np.arange(count)


def _array(group: zarr.Group, name: str, path: Path) -> zarr.Array[Any]:
    import zarr

    found = find_member(group, name)
    if not isinstance(found, zarr.Array) or found.ndim != 3:
        raise StoreError(f"{path} is damaged: its array {name!r} is missing or has no three axes.")
    return found


def open_levels(base: Base) -> tuple[str, list[zarr.Array[Any]]] | None:
    """Return the token of the levels that were begun and the levels, to be written; or None.

    The token tells which attempt they are of: the journal's lines of another one prove nothing.
    """
    import zarr

    marker = "zarr.json" if base.zarr_format == 3 else ".zarray"
    if not (base.path / base.level(1) / marker).exists():
        return None
    group = open_group(base.path, "r+")
    found = [find_member(group, base.level(n + 1)) for n in range(len(base.shapes))]
    arrays = [array for array in found if isinstance(array, zarr.Array)]
    own = arrays[0].attrs.get(KEY) if arrays else None
    if [a.shape for a in arrays] != base.shapes or not isinstance(own, dict):
        return None
    return str(own.get("token", "")), arrays


def create_levels(base: Base, height: int) -> tuple[str, list[zarr.Array[Any]]]:
    """Make empty levels in place of earlier ones; the finest one, by which they are known, last."""
    remove_levels(base)
    token = uuid.uuid4().hex[:12]
    group = open_group(base.path, "r+")
    arrays = []
    for number, shape in reversed(list(enumerate(base.shapes, start=1))):
        layout = _layout(base, height)
        if number == 1:
            layout["attributes"] = {**layout.get("attributes", {}), KEY: {"token": token}}
        arrays.append(
            group.create_array(
                base.level(number), shape=shape, dtype=base.dtype, fill_value=0, **layout
            )
        )
    for top in {Path(base.level(n)).parts[0] for n in range(1, len(base.shapes) + 1)}:
        sync_tree(base.path / top)
    return token, arrays[::-1]


def forget_token(level: zarr.Array[Any]) -> None:
    """Take the token out of a finished pyramid's finest level: equal stores have equal files."""
    level.attrs.put({name: value for name, value in level.attrs.items() if name != KEY})


def remove_levels(base: Base) -> None:
    """Take the levels out of the metadata, then from the disk."""
    group = open_group(base.path, "r+")
    if len(listed_levels(base)):
        changed = unlist_levels(dict(group.attrs), base.zarr_format)
        names = [base.level(number) for number in range(1, len(base.shapes) + 1)]
        group.update_attributes({**changed, **forget_present(changed, names)})
    folders = [base.path / INK_LEVELS] if base.is_ink else []
    numbered = [] if base.is_ink else base.path.iterdir()
    folders += [p for p in numbered if p.is_dir() and p.name.isdigit() and p.name != LEVEL]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def full_resolution(base: Base) -> zarr.Array[Any]:
    """Open the array that the levels are made from."""
    return _array(open_group(base.path), base.array, base.path)


def is_image(base: Base) -> bool:
    """Return whether the metadata say that the store is an image with at least one level."""
    return bool(read_levels(dict(open_group(base.path).attrs)))


def listed_levels(base: Base) -> list[str]:
    """Return the paths of the coarser levels that the metadata list."""
    told = read_levels(dict(open_group(base.path).attrs))
    return [level.path for level in told if level.path != base.array]


def add_to_list(base: Base, number: int) -> None:
    """List a level, which is whole, and its chunks in the metadata; 0 is the full resolution."""
    group = open_group(base.path, "r+")
    path = base.level(number) if number else base.array
    changed = list_level(
        dict(group.attrs), base.zarr_format, base.name, base.axes, path, **base.transform(number)
    )
    if base.windows:
        changed["ome"]["omero"] = channel_names([f"window {n}" for n in base.windows])
    array = _array(group, path, base.path)
    group.update_attributes({**changed, **note_present(changed, array)})


def _layout(base: Base, height: int) -> dict[str, Any]:
    """Return chunks, shards and compression of a level: one layer at a time can be read.

    Zarr v2 has no shards, and so many small files would be too many: it keeps the chunks of the
    full resolution.
    """
    layers, wide = base.shape[0], base.dtype.itemsize > 1
    names = [name for name, _ in base.axes]
    if base.zarr_format == 2:
        return {
            "chunks": (layers, CHUNK, CHUNK),
            "compressors": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 2 * wide},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            "attributes": {"_ARRAY_DIMENSIONS": names},
        }
    from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

    shuffle = BloscShuffle.bitshuffle if wide else BloscShuffle.noshuffle
    common = {
        "compressors": [BloscCodec(cname="zstd", clevel=1, shuffle=shuffle), Crc32cCodec()],
        "dimension_names": names,
    }
    if base.is_ink:
        return {"chunks": (1, INK_CHUNK, INK_CHUNK), **common}
    return {
        "chunks": (1, LEVEL_CHUNK, LEVEL_CHUNK),
        "shards": (layers, height, BLOCK_WIDTH),
        **common,
    }


def block_heights(base: Base, arrays: Sequence[zarr.Array[Any]]) -> tuple[int, ...]:
    """Return the heights in which blocks of levels that are there may be made: their shards'."""
    shards = arrays[0].shards if arrays else None
    return base.heights if shards is None else (shards[1],)
