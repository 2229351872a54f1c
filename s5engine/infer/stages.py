"""The two stages of a run as units of work: tiles are predicted and stored, then blended to ink.

Which tiles a block of ink needs is arithmetic on the grid. Each unit reads its box of the volume,
or the stored tiles that reach into its block, and writes whole chunks that no other unit touches.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.infer.blend import blend_box
from s5engine.infer.pieces import Piece, Pieces, volume_pieces
from s5engine.infer.prediction import Pair, Prediction, reaching
from s5engine.infer.stored import write_box
from s5engine.infer.taper import Taper, taper_weights
from s5engine.infer.tiles import STATISTICS, TileTask, predict_block
from s5engine.runtime.units import Unit, Work

if TYPE_CHECKING:
    import xarray as xr

#: The stages, as the journal calls them, and their tasks on the dashboard.
PREDICT, BLEND = "predict", "blend"
STEPS = {PREDICT: "predict-tiles", BLEND: "blend"}


@dataclass(frozen=True)
class InkBlock:
    """A block of the ink that is written: its place in the stored array."""

    index: Pair
    rows: slice
    columns: slice

    @property
    def key(self) -> str:
        """The block's line in the journal."""
        return f"{BLEND} {self.index[0]} {self.index[1]}"


def ink_blocks(shape: tuple[int, ...], sides: Sequence[int]) -> Iterator[InkBlock]:
    """Yield the blocks of an ink array (window, y, x) down its columns."""
    rows, columns = (
        [slice(start, min(start + side, length)) for start in range(0, length, side)]
        for length, side in zip(shape[1:], sides, strict=True)
    )
    for (x, across), (y, down) in product(enumerate(columns), enumerate(rows)):
        yield InkBlock((y, x), down, across)


def tile_key(block: Pair) -> str:
    """Return the line of a block of tiles in the journal."""
    return f"{PREDICT} {block[0]} {block[1]}"


class PredictedInk:
    """Ink that a network is yet to give: units of both stages.

    Parameters
    ----------
    prediction : Prediction
        With its taper.
    ink : (window, y, x) DataArray
        What of it is wanted: windows, rows and columns.
    tiles, stored : zarr Array
        Where tile predictions and ink are written.
    resources : mapping of str to float
        What a unit that runs the network asks of a worker.
    """

    def __init__(
        self,
        prediction: Prediction,
        ink: xr.DataArray,
        tiles: Any,
        stored: Any,
        resources: Mapping[str, float],
    ) -> None:
        self._prediction, self._tiles, self._stored = prediction, tiles, stored
        self._resources = resources
        self._windows = [prediction.windows.index(int(w)) for w in ink.window.values]
        self._corner = tuple(
            int(ink[side][0]) - int(prediction.volume[side][0]) for side in ("y", "x")
        )
        self._pixels = volume_pieces(prediction.volume)
        self._mask = None if prediction.mask is None else Pieces(prediction.mask)

    def units(self) -> list[Unit]:
        """Return all units, each block of ink right after the last tiles that it needs."""
        blocks = [*ink_blocks(self._stored.shape, self._stored.chunks[1:])]
        needs = {block.index: self._needed(block) for block in blocks}
        tiles = sorted({tile for wanted in needs.values() for tile in wanted}, key=_down_columns)
        order = {tile: number for number, tile in enumerate(tiles)}
        placed = [(order[tile], 0, self._predict_unit(tile)) for tile in tiles]
        for block in blocks:
            wanted = needs[block.index]
            last = max((order[tile] for tile in wanted), default=-1)
            placed.append((last, 1, self._blend_unit(block, wanted)))
        return [unit for *_, unit in sorted(placed, key=lambda entry: entry[:2])]

    def tiles_in(self, unit: Unit) -> int:
        """Return how many tiles a unit of the first stage predicts or skips."""
        _, row, column = unit.key.split()
        sides = (len(range(*s.indices(a.count))) for s, a in self._owned((int(row), int(column))))
        return len(self._prediction.windows) * int(np.prod([*sides]))

    def _owned(self, block: Pair) -> list[tuple[slice, Any]]:
        return [*zip(self._prediction.tiles_of(block), self._prediction.axes, strict=True)]

    def _reaching(self, block: InkBlock) -> list[slice]:
        """Return which tiles reach into a block of ink, along y and x."""
        return [
            reaching(axis, slice(first + own.start, first + own.stop))
            for axis, first, own in zip(
                self._prediction.axes, self._corner, (block.rows, block.columns), strict=True
            )
        ]

    def _needed(self, block: InkBlock) -> list[Pair]:
        """Return the blocks of tiles that hold these, along y and x."""
        found = []
        sides = zip(
            self._reaching(block),
            self._prediction.axes,
            self._prediction.steps,
            self._prediction.counts,
            strict=True,
        )
        for wanted, axis, step, count in sides:
            each = step // axis.stride
            last = min((wanted.stop - 1) // each, count - 1)
            first = min(wanted.start // each, count - 1)
            found.append(range(first, last + 1) if wanted.stop > wanted.start else range(0))
        rows, columns = found
        return [*product(rows, columns)]

    def _predict_unit(self, block: Pair) -> Unit:
        return Unit(
            tile_key(block),
            functools.partial(self._prepare_tiles, block),
            STEPS[PREDICT],
            resources=self._resources,
        )

    def _prepare_tiles(self, block: Pair) -> Work:
        place = self._prediction.pixels_of(block)
        return functools.partial(
            predict_tiles_unit,
            self._pixels.box(*place),
            None if self._mask is None else self._mask.box(*place),
            self._prediction.task,
            block,
            self._prediction.counts,
            self._prediction.spread,
            self._prediction.tiles_of(block),
            self._tiles,
        )

    def _blend_unit(self, block: InkBlock, needs: Sequence[Pair]) -> Unit:
        return Unit(
            block.key,
            functools.partial(self._prepare_ink, block),
            STEPS[BLEND],
            needs=frozenset(map(tile_key, needs)),
        )

    def _prepare_ink(self, block: InkBlock) -> Work:
        tiles = self._reaching(block)
        first = [
            c + s.start for c, s in zip(self._corner, (block.rows, block.columns), strict=True)
        ]
        origins = [
            axis.origins[wanted] - start
            for axis, wanted, start in zip(self._prediction.axes, tiles, first, strict=True)
        ]
        statistic = STATISTICS.index(self._prediction.statistic)
        return functools.partial(
            blend_unit,
            self._tiles,
            self._windows,
            (tiles[0], tiles[1]),
            (origins[0], origins[1]),
            statistic,
            self._prediction.taper or "gaussian",
            self._prediction.task.model.tile,
            self._stored,
            block,
        )


def predict_tiles_unit(
    pixels: Piece,
    mask: Piece | None,
    task: TileTask,
    block: Pair,
    counts: Pair,
    spread: bool,
    tiles: tuple[slice, slice],
    target: Any,
) -> Sequence[Path]:
    """Predict the tiles of a block and store them; return the files that hold them."""
    found = predict_block(
        pixels.compute(),
        None if mask is None else mask.compute(),
        task=task,
        block_id=(0, *block),
        num_blocks=counts,
        spread=spread,
    )
    rest = (slice(None),) * (target.ndim - 3)
    return write_box(target, (slice(None), *tiles, *rest), found)


def blend_unit(
    source: Any,
    windows: Sequence[int],
    tiles: tuple[slice, slice],
    origins: tuple[np.ndarray, np.ndarray],
    statistic: int,
    taper: Taper,
    tile: int,
    target: Any,
    block: InkBlock,
) -> Sequence[Path]:
    """Blend stored tiles into a block of ink, a window at a time; return the files that hold it."""
    shape = (block.rows.stop - block.rows.start, block.columns.stop - block.columns.start)
    files: list[Path] = []
    weights = taper_weights(taper, tile)
    for number, window in enumerate(windows):
        place = (window, *tiles) + ((..., statistic) if source.ndim == 6 else ())
        ink = blend_box(np.asarray(source[place]), *origins, weights, shape)
        where = (slice(number, number + 1), block.rows, block.columns)
        files += write_box(target, where, ink[None])
    return files


class OtherInk:
    """Ink that is an array in its own right, whatever it is computed from: one unit a block.

    Parameters
    ----------
    ink : (window, y, x) DataArray
        Lazy or in memory.
    stored : zarr Array
        Where it is written.
    resources : mapping of str to float
        What a unit asks of a worker.
    """

    def __init__(self, ink: xr.DataArray, stored: Any, resources: Mapping[str, float]) -> None:
        self._pieces, self._stored, self._resources = Pieces(ink.data), stored, resources

    def units(self) -> list[Unit]:
        """Return a unit for each block."""
        return [
            Unit(
                block.key,
                functools.partial(self._prepare, block),
                STEPS[BLEND],
                resources=self._resources,
            )
            for block in ink_blocks(self._stored.shape, self._stored.chunks[1:])
        ]

    def _prepare(self, block: InkBlock) -> Work:
        piece = self._pieces.box(block.rows, block.columns)
        return functools.partial(store_unit, piece, self._stored, block)


def store_unit(piece: Piece, target: Any, block: InkBlock) -> Sequence[Path]:
    """Compute a block of ink and store it; return the files that hold it."""
    return write_box(target, (slice(None), block.rows, block.columns), piece.compute())


def _down_columns(block: Pair) -> Pair:
    return block[1], block[0]
