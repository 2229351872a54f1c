"""Bands of rows from an opened volume, in the way in which a stack of layer files gives them."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import recorded
from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Box
from s5engine.store.identity import pixels_identity

if TYPE_CHECKING:
    import xarray as xr


class VolumeBands:
    """Reads bands of a volume (layer, y, x); rows and columns are segment pixels.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
        Numpy or dask; a crop is fine as long as its rows and columns are contiguous.
    layers : sequence of int, optional
        Only these of its layers.
    """

    def __init__(self, volume: xr.DataArray, layers: Sequence[int] | None = None) -> None:
        if volume.dims != ("layer", "y", "x"):
            raise InvalidArgumentError(
                f"A volume has the dimensions (layer, y, x), not {volume.dims}."
            )
        self._identity = pixels_identity(volume)
        volume = volume if layers is None else volume.sel(layer=list(layers))
        self._volume = volume
        self.layers = tuple(int(n) for n in volume["layer"].values)
        self.dtype = np.dtype(volume.dtype)
        self.segment = str(volume.attrs.get("segment") or volume.name or "segment")
        self.url = recorded(str(volume.attrs.get("source", "")))
        self.box = Box(*_span(volume, "y"), *_span(volume, "x"))

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the volume."""
        return {"volume": self.url, "pixels": self._identity, "box": list(self.box)}

    def overhead_bytes(
        self,
        bands: Sequence[tuple[int, int]],
        x0: int,
        x1: int,
        *,
        layers: Sequence[int] | None = None,
        in_flight: int = 0,
        threads: int | None = None,
    ) -> int:
        """Return the bytes that reading takes beside the bands: the blocks in flight."""
        if self._volume.chunks is None:
            return 0
        depth, height, width = (max(sizes) for sizes in self._volume.chunks)
        # Each thread holds a block as it is stored, decoded, and cut.
        return 3 * (threads or os.cpu_count() or 1) * depth * height * width * self.dtype.itemsize

    def iter_bands(
        self,
        bands: Sequence[tuple[int, int]],
        x0: int,
        x1: int,
        *,
        layers: Sequence[int] | None = None,
        ahead: int = 0,
        in_flight: int = 0,
        threads: int | None = None,
    ) -> Generator[tuple[tuple[int, int], np.ndarray], None, None]:
        """Yield each band's rows and pixels ``(layers, rows, x1 - x0)``, one at a time."""
        columns = slice(x0 - self.box.x0, x1 - self.box.x0)
        chosen = self._volume.isel(x=columns)
        if layers is not None:
            chosen = chosen.sel(layer=list(layers))
        for y0, y1 in bands:
            rows = slice(y0 - self.box.y0, y1 - self.box.y0)
            yield (y0, y1), _computed(chosen.isel(y=rows), threads)

    def alone(self, y0: int, y1: int) -> VolumeBands:
        """Return the same for some rows alone: little to send to another process."""
        import dask

        rows = self._volume.isel(y=slice(y0 - self.box.y0, y1 - self.box.y0))
        (culled,) = dask.optimize(rows)
        return VolumeBands(culled)

    def open(self) -> VolumeBands:
        """Return itself: a volume is read where it is."""
        return self

    def close(self) -> None:
        """Do nothing: who opened the volume closes it."""


def _computed(band: xr.DataArray, threads: int | None) -> np.ndarray:
    """Return a fresh array of the pixels; a lazy one is filled block by block, without a copy.

    In threads, whatever dask works on: another process would fill an array of its own.
    """
    if band.chunks is None:
        return np.array(band.values)
    import dask.array as da

    pixels = np.empty(band.shape, band.dtype)
    # Blocks do not overlap.
    da.store(band.data, pixels, lock=False, scheduler="threads", num_workers=threads)
    return pixels


def _span(volume: xr.DataArray, dim: str) -> tuple[int, int]:
    """Return first and one past the last pixel index along ``dim``."""
    length = volume.sizes[dim]
    if dim not in volume.coords:
        return 0, length
    first, last = int(volume[dim].values[0]), int(volume[dim].values[-1])
    if last - first + 1 != length:
        raise InvalidArgumentError(
            f"The volume's {dim} runs from {first} to {last} in {length} steps.",
            "Parts are cut from every pixel: take a slice without a step.",
        )
    return first, last + 1
