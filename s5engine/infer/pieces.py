"""Boxes of a volume or of lazy ink, each read and computed by itself where it is needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.store.pixel_source import PixelSource, Step, ready, source_of

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

#: What numpy takes in square brackets.
Place = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """A box that is still to be computed, small enough to be sent to a worker.

    Attributes
    ----------
    array : object
        Gives pixels of slices; a dask array is cut already.
    place : tuple or None
        What is read of it; None is all.
    steps : tuple of Step
        What is done to it then.
    layers : tuple of int
        Its layer numbers.
    """

    array: Any
    place: Place | None = None
    steps: tuple[Step, ...] = ()
    layers: tuple[int, ...] = ()

    def compute(self) -> np.ndarray:
        """Return its pixels, computed in this thread."""
        pixels = self.array if self.place is None else self.array[self.place]
        if hasattr(pixels, "compute"):
            pixels = pixels.compute(scheduler="synchronous")
        for step in self.steps:
            pixels = step(np.asarray(pixels), self.layers)
        return np.asarray(pixels)


class Pieces:
    """Cuts boxes out of a large lazy array, down its columns.

    Cutting goes through the whole graph of an array; a strip of columns is cut out of it once, and
    then the boxes in the strip.

    Parameters
    ----------
    array : dask Array or ndarray
        Its last two axes are y and x.
    """

    def __init__(self, array: da.Array | np.ndarray) -> None:
        self._array = array
        self._strip: tuple[slice, Any] | None = None
        self._lock = threading.Lock()

    def box(self, rows: slice, columns: slice) -> Piece:
        """Return a box."""
        if isinstance(self._array, np.ndarray):
            return Piece(self._array[..., rows, columns])
        with self._lock:
            if self._strip is None or self._strip[0] != columns:
                self._strip = columns, _culled(self._array[..., columns])
            strip = self._strip[1]
        return Piece(_culled(strip[..., rows, :]))


def _culled(array: da.Array) -> Any:
    """Return a lazy array with only the part of its graph that it is computed from."""
    import dask

    # An expression has no graph yet; dask 2026.8 cannot optimize all of them by themselves.
    is_expression = dask.config.get("array.query-planning", False)
    return array if is_expression else dask.optimize(array)[0]


class SourcePieces:
    """Cuts boxes out of a volume whose source is known, as `Pieces` cuts them out of a graph.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
    source : PixelSource
        Its own.
    """

    def __init__(self, volume: xr.DataArray, source: PixelSource) -> None:
        self._source, self._is_ready, self._lock = source, False, threading.Lock()
        self._layers = tuple(int(n) for n in volume.layer.values)
        self._corner = [int(volume[s][0]) - n for s, n in zip("yx", source.corner, strict=True)]
        places = [source.layers.index(number) for number in self._layers]
        run = places == [*range(places[0], places[0] + len(places))]
        self._places = slice(places[0], places[0] + len(places)) if run else places
        self._pieces = Pieces(source.array[self._places]) if source.is_lazy else None

    def box(self, rows: slice, columns: slice) -> Piece:
        """Return a box of pixels, counted from the volume's corner."""
        rows, columns = (
            slice(first + side.start, first + side.stop)
            for first, side in zip(self._corner, (rows, columns), strict=True)
        )
        with self._lock:
            if not self._is_ready:  # what needs the whole volume is computed once
                self._source, self._is_ready = ready(self._source), True
        steps = self._source.steps
        if self._pieces is not None:
            return replace(self._pieces.box(rows, columns), steps=steps, layers=self._layers)
        place = (self._places, rows, columns)
        return Piece(self._source.array, place, steps, self._layers)


def volume_pieces(volume: xr.DataArray) -> Pieces | SourcePieces:
    """Return what cuts boxes out of a volume: from its source if known, else out of its graph."""
    source = source_of(volume)
    return Pieces(volume.data) if source is None else SourcePieces(volume, source)
