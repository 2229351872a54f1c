"""The packed copy of a tileset's pixels: what lies under tiles, each pixel once.

Tiles at stride 64 overlap fourfold, so tiles stored one by one would take four times the room and
decode as many bytes. Each part has one array instead, of the part's size, whose chunks without
tiles are not written and whose blocks without tiles are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.budget import current_rss, format_bytes
from s5engine.console import progress as show_progress
from s5engine.errors import BudgetError, StoreError, WayOut
from s5engine.geometry import Box
from s5engine.runtime.journal import Journal
from s5engine.source.mask_rows import Mask
from s5engine.store.chunk_keys import files_of
from s5engine.training.labelled import select_layers
from s5engine.training.tile_table import TileRules, covered_cells

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.training.tileset import Tileset

Pixels = npt.NDArray[np.uint8]

#: Largest side of a chunk, px, and chunks along the side of a shard.
_CHUNK, _SHARD = 64, 16


def chunk_side(rules: TileRules) -> int:
    """Return the side of a chunk, px."""
    return min(rules.tile, _CHUNK)


def _shard_side(rules: TileRules) -> int:
    return chunk_side(rules) * _SHARD


def create_layers(group: Any, name: str, layers: int, shape: tuple[int, int], side: int) -> None:
    """Make the empty array of a part's pixels."""
    from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

    group.create_array(
        f"layers/{name}",
        shape=(layers, *shape),
        dtype="uint8",
        chunks=(layers, side, side),
        shards=(layers, side * _SHARD, side * _SHARD),
        compressors=[
            BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.noshuffle),
            Crc32cCodec(),
        ],
        fill_value=0,
    )


def plan_slabs(
    volumes: Mapping[str, xr.DataArray], layers: int, rules: TileRules, budget: int
) -> list[tuple[str, Box]]:
    """Return the slabs that the parts are copied in, by the parts' names.

    Raises
    ------
    BudgetError
        If one shard does not fit into the budget.
    """
    return [
        (name, box)
        for name, volume in volumes.items()
        for box in _slabs(volume, layers, rules, budget)
    ]


def pack_layers(
    tileset: Tileset,
    volumes: Mapping[str, xr.DataArray],
    group: Any,
    journal: Journal,
    budget: int,
    progress: bool,
) -> None:
    """Copy the pixels under tiles, slab by slab of whole shards; what the journal has is skipped.

    Raises
    ------
    StoreError
        If the disk is full.
    """
    work = plan_slabs(volumes, len(tileset.layers), tileset.rules, budget)
    side = _shard_side(tileset.rules)
    todo = [(n, box) for n, box in work if any(u not in journal for u in _units(n, box, side))]
    done = len(work) - len(todo)
    with show_progress("pack", len(work), "slabs", done=done, enabled=progress) as meter:
        covered_of, covered = "", np.empty((0, 0), np.bool_)
        for name, box in todo:
            if name != covered_of:
                covered_of, covered = name, _covered(tileset, name)
            slab = read_slab(
                select_layers(volumes[name], tileset.layers), box, covered, tileset.rules.cell
            )
            array = group[f"layers/{name}"]
            try:
                # Zarr reads what is there of shards at far borders, and it may be torn.
                place = (slice(None), slice(box.y0, box.y1), slice(box.x0, box.x1))
                for file in files_of(array, place):
                    file.unlink()
                if slab is not None:
                    array[place] = slab
            except OSError as error:
                raise StoreError(
                    f"The tileset {tileset.store} cannot be written: {error.strerror or error}.",
                    "Make room, then run the same command to go on.",
                ) from error
            for unit, columns in zip(_units(name, box, side), _columns(box, side), strict=True):
                place = (slice(None), slice(box.y0, box.y1), columns)
                journal.finish(unit, files_of(array, place))
            meter.advance()


def _units(name: str, box: Box, side: int) -> list[str]:
    """Return the journal's names of a slab's shards, which unlike slabs suit every budget."""
    return [f"pack {name} {box.y0} {x}" for x in range(box.x0, box.x1, side)]


def _columns(box: Box, side: int) -> list[slice]:
    """Return the columns of each of a slab's shards."""
    return [slice(x, min(x + side, box.x1)) for x in range(box.x0, box.x1, side)]


def _covered(tileset: Tileset, name: str) -> Mask:
    """Return which cells of a part lie under tiles."""
    number = tileset.part_names.index(name)
    own = tileset.part == number
    height, width = tileset.record["parts"][number]["shape"]
    y, x = tileset.y[own].astype(np.int64), tileset.x[own].astype(np.int64)
    return covered_cells(y, x, (height, width), tileset.rules)


def _slabs(volume: xr.DataArray, layers: int, rules: TileRules, budget: int) -> Iterator[Box]:
    """Cut a part into slabs of whole shards, as wide as the budget allows.

    A slab is in memory twice, once as dask's blocks and once put together; beside it are the
    blocks in flight, contrasted and not.
    """
    side = _shard_side(rules)
    height, width = volume.shape[1:]
    block = volume.nbytes if volume.chunks is None else np.prod([max(c) for c in volume.chunks])
    flight = 2 * int(block) * (os.cpu_count() or 1) if volume.chunks is not None else 0
    one = 2 * layers * side * min(side, width)
    room = budget - current_rss() - flight
    if room < one:
        raise BudgetError(
            f"Packing needs {format_bytes(current_rss() + flight + one)} and the budget is "
            f"{format_bytes(budget)}.",
            WayOut(
                "Give a larger budget, or build the tileset without packed=True.",
                "Give a larger --budget.",
            ),
        )
    step = side * min(room // one, -(-width // side))
    for y in range(0, height, side):
        for x in range(0, width, step):
            yield Box(y, min(y + side, height), x, min(x + step, width))


def read_slab(volume: xr.DataArray, box: Box, covered: Mask, cell: int) -> Pixels | None:
    """Return the pixels in ``box`` that lie under tiles, the rest 0; None if none do.

    Only blocks that hold such pixels are computed, each once and all side by side.

    Parameters
    ----------
    volume : (layer, y, x) DataArray, uint8
    box : Box
        Pixels of the part.
    covered : (y/cell, x/cell) ndarray of bool
        From `covered_cells`.
    cell : int
        Side of a cell, px.
    """
    import dask

    places = [
        Box(y0, y1, x0, x1)
        for y0, y1 in _cuts(volume, 1, box.y0, box.y1)
        for x0, x1 in _cuts(volume, 2, box.x0, box.x1)
        if _cells(covered, Box(y0, y1, x0, x1), cell).any()
    ]
    if not places:
        return None
    data = volume.data
    pieces = dask.compute(*(data[:, p.y0 : p.y1, p.x0 : p.x1] for p in places))
    slab = np.zeros((volume.shape[0], *box.shape), np.uint8)
    for place, piece in zip(places, pieces, strict=True):
        rows = slice(place.y0 - box.y0, place.y1 - box.y0)
        slab[:, rows, place.x0 - box.x0 : place.x1 - box.x0] = piece
    slab *= _pixels_under(covered, box, cell)
    return slab


def _cuts(volume: xr.DataArray, axis: int, start: int, stop: int) -> list[tuple[int, int]]:
    """Cut ``start``…``stop`` where blocks of the volume begin."""
    blocks = volume.chunks[axis] if volume.chunks is not None else (volume.shape[axis],)
    begins = np.cumsum([0, *blocks])
    inside = [int(b) for b in begins if start < b < stop]
    return list(zip([start, *inside], [*inside, stop], strict=True))


def _cells(covered: Mask, place: Box, cell: int) -> Mask:
    """Return the cells that ``place`` touches."""
    rows = slice(place.y0 // cell, -(-place.y1 // cell))
    return covered[rows, place.x0 // cell : -(-place.x1 // cell)]


def _pixels_under(covered: Mask, box: Box, cell: int) -> Mask:
    """Return which pixels of ``box`` lie under tiles."""
    cells = _cells(covered, box, cell)
    pixels = np.repeat(np.repeat(cells, cell, axis=0), cell, axis=1)
    y, x = box.y0 % cell, box.x0 % cell
    return pixels[y : y + box.height, x : x + box.width]
