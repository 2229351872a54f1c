"""A tileset: the tiles that a network is trained on, as an index into a surface volume.

Kept as a zarr group: the pipeline has zarr anyway, a group takes the index, the reduced maps and a
copy of the pixels alike, and it opens without reading any of them. It holds

- the attribute ``s5engine_tileset``: what the tiles were made from and by which rules;
- ``index/part``, ``y``, ``x``, ``ink_percent``, ``ignore_percent``: one entry per tile;
- ``maps/<part>``: label and keep of the whole part at a quarter of its size, one bit per pixel.
  Tiles overlap fourfold at stride 64: a tile's maps are cut from these when it is asked for;
- ``layers/<part>``, if packed: the pixels under tiles, for the same reason each of them once.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from s5engine.address import on_this_machine
from s5engine.errors import InvalidArgumentError, StoreError, WayOut, afresh
from s5engine.geometry import Box
from s5engine.source.mask_rows import Mask
from s5engine.store.nodes import find_member, open_group
from s5engine.store.present import Present, read_present
from s5engine.store.stored_array import StoredArray, read_whole
from s5engine.training.labelled import (
    Parts,
    choose_layers,
    contrast_of,
    describe_part,
    name_parts,
    select_layers,
)
from s5engine.training.tile_table import REDUCTION, TileRules
from s5engine.training.tileset_record import read_record

if TYPE_CHECKING:
    import xarray as xr
    import zarr

#: Type of each column of the index.
COLUMNS = {
    "part": "uint16",
    "y": "int32",
    "x": "int32",
    "ink_percent": "uint8",
    "ignore_percent": "uint8",
}


class Example(NamedTuple):
    """One tile to train on.

    Attributes
    ----------
    layers : (L, P, P) ndarray of uint8
        Contrasted pixels.
    label, keep : (P/4, P/4) ndarray of bool
        Ink, and where it counts; the label is 0 where it does not.
    """

    layers: npt.NDArray[np.uint8]
    label: Mask
    keep: Mask


class Tileset:
    """Tiles with labels. Make one with `build_tileset`, open one with `open_tileset`.

    ``tileset[i]`` is an `Example`; ``len(tileset)`` is their number. It can be pickled and forked,
    so that a torch ``DataLoader`` may send it to its workers: its place and the lazy parts are
    sent, not what was read. Only the index and the maps of parts that were asked for are in memory,
    11 bytes a tile and 2 MB for a real part.

    Attributes
    ----------
    store : Path
        Where it lies.
    record : dict
        What it was made from: rules, layers, contrast, parts, hashes of the label files.
    tile, stride : int
        Size and step, px.
    layers : tuple of int
        Layer numbers of each tile.
    part_names : tuple of str
        ``<segment>_<NN>``; ``part`` of the index counts in these.
    packed : bool
        Whether it has its own copy of the pixels.
    part, y, x : (n,) ndarray
        Each tile's part, first row and first column in that part, px.
    ink_percent, ignore_percent : (n,) ndarray of uint8
        Share of ink and of ignored pixels of each tile, 0…100.
    """

    part: npt.NDArray[np.uint16]
    y: npt.NDArray[np.int32]
    x: npt.NDArray[np.int32]
    ink_percent: npt.NDArray[np.uint8]
    ignore_percent: npt.NDArray[np.uint8]

    def __init__(self, store: Path, volumes: Mapping[str, xr.DataArray] | None = None) -> None:
        self.store = store
        self.record = read_record(store)
        self.tile: int = self.record["tile"]
        self.stride: int = self.record["stride"]
        self.layers: tuple[int, ...] = tuple(self.record["layers"])
        self.part_names: tuple[str, ...] = tuple(p["name"] for p in self.record["parts"])
        self.packed: bool = self.record["packed"]
        self._volumes = {} if volumes is None else self._fitting(volumes)
        self._maps: dict[str, npt.NDArray[np.uint8]] = {}
        for name, column in self._read_index().items():
            setattr(self, name, column)

    def _read_index(self) -> dict[str, npt.NDArray[Any]]:
        """Return each column of the index; tiles lie in the parts that the record tells of."""
        columns = {name: read_whole(*self._array(f"index/{name}")) for name in COLUMNS}
        known = self.record["parts"]
        sizes = np.array([part["shape"] for part in known]).reshape(-1, 2)
        sound = [c.ndim == 1 and c.dtype == COLUMNS[n] for n, c in columns.items()]
        sound.append(len({c.shape for c in columns.values()}) == 1)
        if all(sound) and len(columns["part"]):
            sound.append(int(columns["part"].max()) < len(known))
        if all(sound) and len(columns["part"]):
            corners = np.stack([columns["y"], columns["x"]], axis=1).astype(np.int64)
            sound.append(bool((corners >= 0).all()))
            sound.append(bool((corners + self.tile <= sizes[columns["part"]]).all()))
        if not all(sound):
            raise StoreError(
                f"The tileset {self.store} is damaged: its index holds no tiles of its parts.",
                afresh("Build it again"),
            )
        return columns

    def __len__(self) -> int:
        return len(self.part)

    def __repr__(self) -> str:
        kind = "packed" if self.packed else "index"
        return (
            f"<Tileset ({kind}) {self.store}: {len(self)} tiles of {len(self.layers)} × "
            f"{self.tile} × {self.tile} px from {len(self.part_names)} parts>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the place and the lazy parts, not what was read."""
        return _reopen, (self.store, self._volumes)

    def __getitem__(self, index: int) -> Example:
        """Return one tile; negative indices count from the end."""
        i = self._position(index)
        return Example(self._pixels(i), *self.labels(i))

    @property
    def rules(self) -> TileRules:
        """Size, step and least kept share."""
        return TileRules(self.tile, self.stride, self.record["min_keep"])

    def labels(self, index: int) -> tuple[Mask, Mask]:
        """Return label and keep of one tile, (P/4, P/4) each, without reading its pixels."""
        i = self._position(index)
        maps = self._part_maps(self.part_names[self.part[i]])
        side = self.tile // REDUCTION
        row, column = int(self.y[i]) // REDUCTION, int(self.x[i]) // REDUCTION
        skipped, last = column % 8, -(-(column + side) // 8)
        bits = np.unpackbits(maps[:, row : row + side, column // 8 : last], axis=2)
        label, keep = np.ascontiguousarray(bits[:, :, skipped : skipped + side]).view(np.bool_)
        return label, keep

    def box(self, index: int) -> Box:
        """Return where a tile lies, in segment pixels."""
        i = self._position(index)
        y0, x0 = self.record["parts"][self.part[i]]["origin"]
        y, x = y0 + int(self.y[i]), x0 + int(self.x[i])
        return Box(y, y + self.tile, x, x + self.tile)

    def _position(self, index: int) -> int:
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            # An IndexError, so that iterating over a tileset ends.
            raise IndexError(f"tile {i} of a tileset of {len(self)}")
        return i % len(self)

    def _pixels(self, i: int) -> npt.NDArray[np.uint8]:
        name = self.part_names[self.part[i]]
        rows = slice(int(self.y[i]), int(self.y[i]) + self.tile)
        columns = slice(int(self.x[i]), int(self.x[i]) + self.tile)
        if self.packed:
            array, present = self._array(f"layers/{name}")
            return StoredArray(array, partial=True, present=present)[:, rows, columns]
        if name not in self._volumes:
            raise StoreError(
                f"The tileset {self.store} is an index without pixels, and the part {name} it "
                "points into is not given.",
                WayOut(
                    "Open it with open_tileset(store, parts), or build it with packed=True.",
                    "Build it again with `s5 tiles`, which keeps the pixels.",
                ),
            )
        piece = self._volumes[name].isel(y=rows, x=columns)
        # In this thread: a data loader's worker is a fork, where dask's pool of threads is gone.
        return np.asarray(piece.compute(scheduler="synchronous").values)

    def _part_maps(self, name: str) -> npt.NDArray[np.uint8]:
        """Return label and keep of a part, as packed bits."""
        if name not in self._maps:
            maps = read_whole(*self._array(f"maps/{name}"))
            height, width = next(p["shape"] for p in self.record["parts"] if p["name"] == name)
            least = _maps_shape(height, width)
            if maps.dtype != np.uint8 or maps.shape != least:
                raise StoreError(
                    f"The tileset {self.store} is damaged: maps/{name} has the shape {maps.shape}, "
                    f"not {least}.",
                    afresh("Build it again"),
                )
            self._maps[name] = maps
        return self._maps[name]

    @cached_property
    def _group(self) -> zarr.Group:
        return open_group(self.store)

    @cached_property
    def _arrays(self) -> dict[str, tuple[zarr.Array[Any], Present | None]]:
        return {}

    def _array(self, path: str) -> tuple[zarr.Array[Any], Present | None]:
        """Return an array of the store, opened once, and which of its chunks are there."""
        import zarr

        if path not in self._arrays:
            array = find_member(self._group, path)
            if not isinstance(array, zarr.Array):
                raise StoreError(
                    f"The tileset {self.store} is damaged: it has no {path}.",
                    afresh("Build it again"),
                )
            self._arrays[path] = array, read_present(self._group, array)
        return self._arrays[path]

    def _fitting(self, volumes: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
        """Return the parts that tiles point into, if they are those that it was made from."""
        used = {name: volumes[name] for name in self.part_names if name in volumes}
        if len(used) < len(self.part_names):
            raise InvalidArgumentError(
                f"The tileset {self.store} points into {list(self.part_names)}, and the parts "
                f"given are {list(volumes)}.",
                "Give the parts that it was made from.",
            )
        choose_layers(used, self.layers)
        for known, (name, volume) in zip(self.record["parts"], used.items(), strict=True):
            found = {**describe_part(name, volume), "contrast": contrast_of(volume)}
            for key, value in found.items():
                old = self.record["contrast"] if key == "contrast" else known[key]
                if value != old:
                    raise InvalidArgumentError(
                        f"The {key} of part {name} is {value}, and was {old} when the tileset "
                        f"{self.store} was made.",
                        "Give the parts that it was made from.",
                    )
        # A packed tileset has its own pixels, and stays small when it is pickled.
        kept = {} if self.packed else used
        return {name: select_layers(volume, self.layers) for name, volume in kept.items()}


def _reopen(store: Path, volumes: dict[str, xr.DataArray]) -> Tileset:
    """Unpickle: the parts were checked and cut to their layers before."""
    tileset = Tileset(store)
    tileset._volumes = volumes
    return tileset


def open_tileset(store: str | Path, parts: Parts | None = None) -> Tileset:
    """Open a tileset that `build_tileset` made.

    Parameters
    ----------
    store : str or Path
        Its folder.
    parts : mapping of int to DataArray, or several DataArrays, optional
        The parts that it was made from, as `build_tileset` took them; they have to fit. Needed for
        the pixels of a tileset that is not packed.

    Returns
    -------
    Tileset

    Raises
    ------
    StoreError
        If there is no tileset, or it is unfinished.
    InvalidArgumentError
        If the parts are not those that it was made from.
    """
    named = None if parts is None else name_parts(parts)
    tileset = Tileset(local_path(store), named)
    if not tileset.record["complete"]:
        raise StoreError(
            f"The tileset {store} is unfinished: packing was interrupted.",
            WayOut(
                "The same build_tileset again lets it go on.",
                "The same `s5 tiles` again lets it go on.",
            ),
        )
    return tileset


def local_path(store: str | Path) -> Path:
    """Return the place of a tileset on this machine.

    Raises
    ------
    InvalidArgumentError
        If it is an address.
    """
    return on_this_machine(
        store, "The tileset {} is not on this machine.", "Give a folder on a local disk."
    )


def _maps_shape(height: int, width: int) -> tuple[int, int, int]:
    """Return the shape of label and keep of a part, one bit a pixel, as `reduce_map` makes them."""
    rows, columns = (
        (side - REDUCTION // 2 + REDUCTION - 1) // REDUCTION for side in (height, width)
    )
    return 2, rows, -(-columns // 8)
