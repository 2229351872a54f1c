"""16-bit volumes to 8-bit, lazily: by each layer's own range (as 2025), by the type's, or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from s5engine.alignment import check_dims
from s5engine.errors import InvalidArgumentError
from s5engine.ops.contrast import apply_table
from s5engine.store.pixel_source import worked_on

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

Limits = Literal["layer", "dtype"] | tuple[float, float]


def scale_table(low: float, high: float) -> np.ndarray:
    """Return the 65,536 8-bit values of ``(v - low) · 255 / (high - low)``, nearest integer.

    Values outside the limits are clipped; a layer without contrast (``high == low``) becomes 0.
    """
    values = np.arange(65_536, dtype=np.float64)
    span = high - low
    scaled = (values - low) * 255.0 / span if span > 0 else np.zeros_like(values)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _scale_block(block: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Scale each layer of a block by its own table."""
    result = np.empty(block.shape, np.uint8)
    limits = zip(low.ravel(), high.ravel(), strict=True)
    for layer, (lo, hi) in enumerate(limits):
        result[layer] = apply_table(block[layer], scale_table(float(lo), float(hi)))
    return result


def to_uint8(volume: xr.DataArray, *, limits: Limits = "layer") -> xr.DataArray:
    """Return the volume as uint8, lazily; a uint8 volume is returned as it is.

    Parameters
    ----------
    volume : (layer, y, x) DataArray, uint8 or uint16
    limits : "layer", "dtype" or (low, high)
        What becomes 0 and 255. ``"layer"``: each layer's own minimum and maximum over the volume
        as it is given, as the 2025 system does it (crop first, as it did); it reads the volume one
        more time when something is computed. ``"dtype"``: 0 and 65,535.

    Returns
    -------
    (layer, y, x) DataArray, uint8
        ``attrs["limits"]`` of a converted volume holds the limits.

    Raises
    ------
    InvalidArgumentError
        If the volume's type or the limits do not fit.
    """
    check_dims(volume, "to_uint8")
    if volume.dtype == np.uint8:
        return volume
    if volume.dtype != np.uint16:
        raise InvalidArgumentError(
            f"to_uint8 takes uint8 and uint16 volumes, not {volume.dtype}.",
            "Convert the pixels to one of these first.",
        )
    low, high = _limits(volume, limits)
    if volume.chunks is None:
        data = _scale_block(volume.values, np.asarray(low), np.asarray(high))
    else:
        import dask.array as da
        from dask.base import tokenize

        data = da.map_blocks(
            _scale_block,
            volume.data,
            low.rechunk((volume.chunks[0], 1, 1)),
            high.rechunk((volume.chunks[0], 1, 1)),
            name=f"to-uint8-{tokenize(volume.data.name, low.name, high.name)}",
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
        )
    named = limits if isinstance(limits, str) else list(_pair(limits))
    scaled = volume.copy(data=data).assign_attrs(limits=named)
    if volume.chunks is None:
        return scaled
    numbers = tuple(int(n) for n in volume.layer.values)
    return worked_on(volume, scaled, _Scale(numbers, low, high))


@dataclass(frozen=True, eq=False)
class _Scale:
    """Scales each layer by its own limits; see `s5engine.store.pixel_source.Step`.

    Attributes
    ----------
    numbers : tuple of int
        Of the layers that the limits are of.
    low, high : (layer, 1, 1) dask Array or ndarray
    """

    numbers: tuple[int, ...]
    low: Any
    high: Any

    def ready(self) -> _Scale:
        import dask

        low, high = dask.compute(self.low, self.high)
        return replace(self, low=low, high=high)

    def __call__(self, pixels: np.ndarray, layers: Sequence[int]) -> np.ndarray:
        places = [self.numbers.index(number) for number in layers]
        return _scale_block(pixels, self.low[places], self.high[places])


def _pair(limits: Any) -> tuple[float, float]:
    """Return limits given as numbers."""
    try:
        low, high = (float(v) for v in limits)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise InvalidArgumentError(
            f'limits is "layer", "dtype" or (low, high) with low < high, not {limits!r}.'
        )
    return low, high


def _limits(volume: xr.DataArray, limits: Limits) -> tuple[Any, Any]:
    """Return low and high of every layer as (layer, 1, 1) arrays, lazy where the volume is."""
    import dask.array as da

    lazy = volume.chunks is not None
    if limits == "layer":
        if lazy:
            return _layer_limits(volume.data)
        return volume.values.min(axis=(1, 2), keepdims=True), volume.values.max(
            axis=(1, 2), keepdims=True
        )
    if limits == "dtype":
        pair: tuple[float, float] = (0.0, 65_535.0)
    else:
        pair = _pair(limits)
    shape = (volume.shape[0], 1, 1)
    if lazy:
        return da.full(shape, pair[0]), da.full(shape, pair[1])
    return np.full(shape, pair[0]), np.full(shape, pair[1])


@dataclass(frozen=True)
class _Aside:
    """A lazy array whose blocks other tasks compute for themselves, one at a time.

    Were its blocks shared with the scaling, dask would hold all of them until the last one had
    been looked at: no block is scaled before the limits are known.
    """

    data: da.Array

    def limits(self, block_id: tuple[int, ...]) -> np.ndarray:
        """Return (2, layers, 1, 1): the least and largest value of each layer of a block."""
        block = self.data.blocks[block_id].compute(scheduler="synchronous")
        ends = [f(axis=(1, 2), keepdims=True) for f in (block.min, block.max)]
        return np.stack(ends)


def _block_limits(aside: _Aside, block_id: tuple[int, ...]) -> np.ndarray:
    return aside.limits(block_id[1:])


def _layer_limits(data: da.Array) -> tuple[da.Array, da.Array]:
    """Return the least and largest value of each layer, lazily, (layer, 1, 1)."""
    import dask.array as da
    from dask import delayed

    # Named after the pixels: runs note such names, which must be the same in every process.
    aside = delayed(_Aside(data), name=f"aside-{data.name}", traverse=False)
    layers, rows, columns = data.chunks
    ends = da.map_blocks(
        _block_limits,
        aside=aside,
        name=f"limits-{data.name}",
        chunks=((2,), layers, (1,) * len(rows), (1,) * len(columns)),
        dtype=data.dtype,
        meta=np.empty((0,) * 4, data.dtype),
    )
    return ends[0].min(axis=(1, 2), keepdims=True), ends[1].max(axis=(1, 2), keepdims=True)
