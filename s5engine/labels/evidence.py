"""What a run says of its pixels, block by block, each window on its own: little is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError, StoreError
from s5engine.geometry import Box, TileAxis
from s5engine.infer.graph import blend
from s5engine.infer.run import Run
from s5engine.labels.relabel_rule import Evidence

if TYPE_CHECKING:
    import xarray as xr


class RunEvidence:
    """The evidence of a run.

    Parameters
    ----------
    run : Run
        Finished, with its ink stored as zarr and not worked on after blending.

    Attributes
    ----------
    box : Box
        Where its ink lies, in the pixels of the volume that was predicted.
    has_spread : bool
        Whether it was predicted with ``spread=True``.
    has_tiles : bool
        Whether it holds tile predictions, which tell unpredicted pixels from ink of 0.

    Raises
    ------
    StoreError
        If the run is not finished or holds no ink.
    InvalidArgumentError
        If its ink is not as the network gave it.
    """

    def __init__(self, run: Run) -> None:
        if not run.record.get("completed"):
            raise StoreError(
                f"The run in {run.directory} is not finished.",
                "The same command again lets it go on.",
            )
        self._run, self._settings = run, run.record["settings"]
        self._ink = run.ink
        self.box = _check(run, self._ink)
        self.has_tiles = (run.directory / "tiles.zarr").exists()
        self._spread = self._spread_maps()
        self.has_spread = self._spread is not None

    def rows(self) -> Iterator[slice]:
        """Yield the rows of each band of stored blocks, from the ink's first row."""
        yield from _spans(self._ink.chunksizes["y"])

    def columns(self) -> Iterator[slice]:
        """Yield the columns of each block of a band."""
        yield from _spans(self._ink.chunksizes["x"])

    def block(self, rows: slice, columns: slice) -> Evidence:
        """Return the evidence of one block; at most a few float maps of its size at a time."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        total, highest = np.zeros(shape, np.float32), np.full(shape, -np.inf, np.float32)
        lowest, spread = np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32)
        for number in range(self._ink.sizes["window"]):
            ink = _read(self._ink, number, rows, columns)
            total += ink
            np.minimum(lowest, ink, out=lowest)
            np.maximum(highest, ink, out=highest)
            if self._spread is not None:
                np.maximum(spread, _read(self._spread[number], 0, rows, columns), out=spread)
        predicted = self._predicted(rows, columns) if self.has_tiles else highest > 0
        return Evidence(total / self._ink.sizes["window"], lowest, highest, spread, predicted)

    def _spread_maps(self) -> list[xr.DataArray] | None:
        """Return each window's blended spread over the ink's box, lazily."""
        if not self.has_tiles or not self._settings.get("spread"):
            return None
        y0, y1, x0, x1 = self.box
        maps = []
        for window in self._ink.window.values:
            tiles = self._run.spread.sel(window=[window])
            whole = blend(tiles, taper=self._settings["taper"])
            top, left = y0 - int(whole.y[0]), x0 - int(whole.x[0])
            maps.append(whole.isel(y=slice(top, top + y1 - y0), x=slice(left, left + x1 - x0)))
        return maps

    @cached_property
    def _tiles(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """The first rows and columns, in the ink, of the tiles that were run; and their size."""
        found = self._settings
        axes = [
            TileAxis(found[n], found["tile"], found["stride"], found["edge"])
            for n in ("height", "width")
        ]
        if found.get("mask") is None:
            active = np.ones((axes[0].count, axes[1].count), bool)
        else:
            # Windows skip the same tiles; a skipped one is NaN throughout.
            corner = self._run.tiles.isel(window=0, v=0, u=0)
            active = ~np.isnan(corner.data.compute(scheduler="synchronous"))
        i, j = np.nonzero(active)
        return (
            axes[0].origins[i] + found["y0"] - self.box.y0,
            axes[1].origins[j] + found["x0"] - self.box.x0,
            found["tile"],
        )

    def _predicted(self, rows: slice, columns: slice) -> npt.NDArray[np.bool_]:
        """Return which pixels of the block lie in a tile that was run."""
        ys, xs, tile = self._tiles
        result = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        near = (ys < rows.stop) & (ys + tile > rows.start)
        near &= (xs < columns.stop) & (xs + tile > columns.start)
        for y, x in zip(ys[near] - rows.start, xs[near] - columns.start, strict=True):
            result[max(y, 0) : max(y + tile, 0), max(x, 0) : max(x + tile, 0)] = True
        return result


def _check(run: Run, ink: xr.DataArray) -> Box:
    """Refuse ink that is not as the network gave it; return its box."""
    settings = run.record["settings"]
    worked = ["computed from ink"] if settings.get("worked_on") else []
    if "written_pixels" in settings or any((np.diff(ink[s].values) != 1).any() for s in "yx"):
        worked.append("its pixels chosen or turned")
    if settings.get("statistic", "mean") != "mean":
        worked.append("not ink but its spread")
    if worked:
        raise InvalidArgumentError(
            f"The ink of the run in {run.directory} was worked on ({', '.join(worked)}).",
            "Relabel from ink as predict_ink gives it, or a box of it.",
        )
    y0, x0 = int(ink.y[0]), int(ink.x[0])
    return Box(y0, y0 + ink.sizes["y"], x0, x0 + ink.sizes["x"])


def _read(maps: xr.DataArray, window: int, rows: slice, columns: slice) -> Any:
    """Compute one window's block as float32, in this thread."""
    data = maps.data[window, rows, columns].compute(scheduler="synchronous")
    return data.astype(np.float32, copy=False)


def _spans(sizes: tuple[int, ...]) -> Iterator[slice]:
    """Yield the slice of each block along an axis."""
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size
