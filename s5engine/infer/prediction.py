"""What a prediction is: all that its tiles depend on.

`predict_ink` gives a lazy array for looking at. A run does not search that array's graph for the
network: the array knows the `Prediction` that it was made from, and so does any crop of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.geometry import AxisBlocks, TileAxis
from s5engine.infer.taper import Taper
from s5engine.infer.tiles import STATISTICS, TileTask, owned
from s5engine.known import Known, is_box, known, origin_of
from s5engine.store.identity import pixels_identity

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

    from s5engine.infer.memory import InferenceMemory

#: Along y and along x.
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Everything that tile predictions depend on, and how they are blended.

    Attributes
    ----------
    volume : (layer, y, x) DataArray, uint8
        The layers that the windows need.
    mask : (y, x) bool dask Array or None
        The papyrus mask.
    windows : tuple of int
        First layer number of each layer window.
    task : TileTask
        Network, grid, TTA and batch.
    spread : bool
        Whether the spread over the views is kept beside the mean.
    attrs : dict
        What tiles and ink say of themselves.
    memory : InferenceMemory
        What it will take; chosen within the budget.
    taper : {"gaussian", "hann", "uniform"} or None
        How the tiles are blended; None before they are.
    statistic : {"mean", "spread"}
        What of them is blended.
    """

    volume: xr.DataArray
    mask: da.Array | None
    windows: tuple[int, ...]
    task: TileTask
    spread: bool
    attrs: Mapping[str, Any]
    memory: InferenceMemory
    taper: Taper | None = None
    statistic: str = STATISTICS[0]

    @property
    def axes(self) -> tuple[TileAxis, TileAxis]:
        """The global tile grid along y and x."""
        return self.task.y, self.task.x

    @property
    def steps(self) -> Pair:
        """Distance between the starts of blocks, px."""
        return self.task.step_y, self.task.step_x

    @cached_property
    def blocks(self) -> tuple[AxisBlocks, AxisBlocks]:
        """The blocks of tiles along y and x."""
        down, across = (a.blocks(s) for a, s in zip(self.axes, self.steps, strict=True))
        return down, across

    @property
    def counts(self) -> Pair:
        """Number of blocks along y and x."""
        down, across = self.blocks
        return len(down.tiles), len(across.tiles)

    @property
    def identity(self) -> str:
        """What tells it from every other prediction, by content."""
        from dask.base import tokenize

        told: str = tokenize(
            pixels_identity(self.volume),
            None if self.mask is None else self.mask.name,
            self.windows,
            self.task,
            self.spread,
            self.taper,
            self.statistic,
        )
        return told

    def tiles_of(self, block: Pair) -> tuple[slice, slice]:
        """Return which tiles a block owns, along y and x."""
        rows, columns = (
            owned(axis, step, index, count)
            for axis, step, index, count in zip(
                self.axes, self.steps, block, self.counts, strict=True
            )
        )
        return rows, columns

    def pixels_of(self, block: Pair) -> tuple[slice, slice]:
        """Return the pixels that a block's tiles are cut from: its own and a halo beyond."""
        rows, columns = (
            slice(index * step, min(int(axis.origins[mine.stop - 1]) + axis.tile, axis.length))
            for axis, step, index, mine in zip(
                self.axes, self.steps, block, self.tiles_of(block), strict=True
            )
        )
        return rows, columns


def reaching(axis: TileAxis, pixels: slice) -> slice:
    """Return which tiles of an axis reach into some of its pixels."""
    first = int(np.searchsorted(axis.origins, pixels.start - axis.tile, side="right"))
    return slice(first, int(np.searchsorted(axis.origins, pixels.stop, side="left")))


class Predicted(Known):  # type: ignore[no-untyped-call]  # xarray's hook has no types
    """Lazy tile predictions or ink, or an array that was computed from such."""

    __slots__ = ()


@dataclass(frozen=True)
class _Stored:
    """The origin of ink that is blended from tiles which are there already."""


def predicted(array: xr.DataArray, prediction: Prediction | None) -> xr.DataArray:
    """Return a lazy array that knows its prediction; None if its tiles were there already."""
    if prediction is None:
        return known(array, _Stored())
    return known(array, prediction, Predicted)


def is_as_blended(array: xr.DataArray) -> bool:
    """Whether ink is what `blend` gave, or a crop of it."""
    return prediction_of(array) is not None or (
        origin_of(array, _Stored) is not None and is_box(array)
    )


def prediction_of(array: xr.DataArray) -> Prediction | None:
    """Return what tiles or ink were predicted from, if they are that, or a crop of it."""
    found = origin_of(array, Prediction)
    return found if found is None or "y" not in array.dims or is_box(array) else None


def blended_as(tiles: xr.DataArray, taper: Taper, statistic: str) -> Prediction | None:
    """Return the prediction of ink blended from lazy tiles that know theirs."""
    known = prediction_of(tiles)
    return None if known is None else replace(known, taper=taper, statistic=statistic)
