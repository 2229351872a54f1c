"""Boxes of a volume or of lazy ink, each read and computed by itself where it is needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
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


class VolumePieces:
    """Cuts boxes out of a volume: from its source where that is known, else out of its graph.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
    """

    def __init__(self, volume: xr.DataArray) -> None:
        self._layers = tuple(int(n) for n in volume.layer.values)
        self._source, self._corner = source_of(volume), (0, 0)
        self._pieces: Pieces | None = None
        self._is_ready, self._lock = False, threading.Lock()
        if self._source is None:
            self._pieces = Pieces(volume.data)
            return
        top, left = (int(volume[side][0]) for side in "yx")
        self._corner = (top - self._source.corner[0], left - self._source.corner[1])
        if self._source.is_lazy:
            self._pieces = Pieces(self._source.array[self._places(self._source)])

    def box(self, rows: slice, columns: slice) -> Piece:
        """Return a box of pixels, counted from the volume's corner."""
        if self._source is None and self._pieces is not None:
            return self._pieces.box(rows, columns)
        top, left = self._corner
        rows = slice(top + rows.start, top + rows.stop)
        columns = slice(left + columns.start, left + columns.stop)
        source = self._ready()
        if self._pieces is not None:
            return Piece(self._pieces.box(rows, columns).array, None, source.steps, self._layers)
        place = (self._places(source), rows, columns)
        return Piece(source.array, place, source.steps, self._layers)

    def _ready(self) -> PixelSource:
        """Return the source with what its steps need of the whole volume, computed once."""
        assert self._source is not None  # noqa: S101
        with self._lock:
            if not self._is_ready:
                self._source, self._is_ready = ready(self._source), True
            return self._source

    def _places(self, source: PixelSource) -> slice | list[int]:
        """Return where the volume's layers are in its source."""
        places = [source.layers.index(number) for number in self._layers]
        first, count = places[0], len(places)
        run = places == [*range(first, first + count)]
        return slice(first, first + count) if run else places
