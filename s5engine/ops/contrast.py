"""Contrast: a lookup table through control points, applied pixel by pixel and blockwise.

The network only reads contrasted layers; the table is that of the 2025 system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from s5engine.alignment import check_dims
from s5engine.errors import InvalidArgumentError
from s5engine.foreign import as_attributes
from s5engine.store.pixel_source import worked_on

if TYPE_CHECKING:
    import xarray as xr

Points = Sequence[tuple[float, float]]

#: Control points (input, output) of the 2025 system, on the 8-bit scale.
DEFAULT_POINTS: Points = ((0, 0), (128, 64), (255, 255))

#: An 8-bit control point times this is the 16-bit one: 255 · 257 = 65,535.
_SCALE_16 = 257


def lookup_table(points: Points = DEFAULT_POINTS, dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Return the contrast table for 8-bit or 16-bit pixels.

    A not-a-knot cubic spline (scipy's ``CubicSpline``) through the control points, evaluated at
    every pixel value, clipped to the range and truncated.

    Parameters
    ----------
    points : sequence of (input, output)
        At least two control points on the 8-bit scale, inputs strictly ascending in 0…255.
    dtype : uint8 or uint16
        Pixel type; for 16 bits the points are multiplied by 257.

    Returns
    -------
    (256,) uint8 or (65536,) uint16 ndarray

    Raises
    ------
    InvalidArgumentError
        If the points are not such a sequence or the type is another.
    """
    from scipy.interpolate import CubicSpline

    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise InvalidArgumentError(
            f"Contrast works on uint8 and uint16 pixels, not {kind}.", "Convert the volume first."
        )
    try:
        knots = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        knots = np.empty(0)
    if (
        knots.ndim != 2
        or knots.shape[1] != 2
        or len(knots) < 2
        or not np.isfinite(knots).all()
        or not (np.diff(knots[:, 0]) > 0).all()
        or knots.min() < 0
        or knots.max() > 255
    ):
        raise InvalidArgumentError(
            f"The contrast points {points!r} are not (input, output) pairs in 0…255 with "
            "ascending inputs.",
            f"The default is {DEFAULT_POINTS}.",
        )
    top = np.iinfo(kind).max
    knots = knots * (_SCALE_16 if kind.itemsize == 2 else 1)
    curve = CubicSpline(knots[:, 0], knots[:, 1])(np.arange(top + 1))
    table: np.ndarray = np.clip(curve, 0, top).astype(kind)
    return table


def apply_table(block: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look every pixel of ``block`` up in ``table``; one pass, no index arrays.

    ``numpy.take`` would first copy the block to 8-byte indices; OpenCV's table does not.
    """
    import cv2

    if block.size == 0:
        return block.copy()
    flat = np.ascontiguousarray(block).reshape(-1, block.shape[-1])
    return np.asarray(cv2.LUT(flat, table)).reshape(block.shape)


@overload
def contrast(volume: np.ndarray, points: Points = ...) -> np.ndarray: ...


@overload
def contrast(volume: xr.DataArray, points: Points = ...) -> xr.DataArray: ...


def contrast(volume: Any, points: Points = DEFAULT_POINTS) -> Any:
    """Return the volume with contrast applied, lazily.

    Parameters
    ----------
    volume : (layer, y, x) DataArray, uint8 or uint16
        A surface volume without contrast; or bare pixels, (y, x) or (layer, y, x).
    points : sequence of (input, output), optional
        Control points on the 8-bit scale.

    Returns
    -------
    (layer, y, x) DataArray
        Same type, blocks and coordinates; ``attrs["contrast"]`` holds the points, as JSON. Bare
        pixels give bare pixels.

    Raises
    ------
    InvalidArgumentError
        If the type or the points do not fit, or contrast was applied before.
    """
    if isinstance(volume, np.ndarray) and volume.ndim:
        return apply_table(volume, lookup_table(points, volume.dtype))
    check_dims(volume, "contrast")
    before = volume.attrs.get("contrast")
    if before:
        raise InvalidArgumentError(
            f"This volume is contrasted already, with the points {before}.",
            "Apply contrast once, to the volume as it was ingested.",
        )
    table = lookup_table(points, volume.dtype)
    if volume.chunks is None:
        data = apply_table(volume.values, table)
    else:
        from dask.base import tokenize

        data = volume.data.map_blocks(
            apply_table,
            table=table,
            name=f"contrast-{tokenize(volume.data.name, table)}",
            meta=np.empty((0, 0, 0), volume.dtype),
        )
    result = volume.copy(data=data)
    result.attrs |= as_attributes({"contrast": [[float(x), float(y)] for x, y in points]})
    return result if volume.chunks is None else worked_on(volume, result, _Lookup(table))


@dataclass(frozen=True, eq=False)
class _Lookup:
    """Looks pixels of any layer up in one table; see `s5engine.store.pixel_source.Step`."""

    table: np.ndarray

    def ready(self) -> _Lookup:
        return self

    def __call__(self, pixels: np.ndarray, layers: Sequence[int]) -> np.ndarray:
        return apply_table(pixels, self.table)
