"""One step of a pyramid: y and x halved by mean, and where the new pixels lie. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: A pyramid ends with the first level whose longer side is at most this, px.
LAST_SIDE = 1024


def halve(pixels: np.ndarray) -> np.ndarray:
    """Return the mean of every 2 × 2 pixels; an odd last row or column is the mean of what it has.

    Parameters
    ----------
    pixels : (n, y, x) ndarray
        uint8, uint16 or real numbers.

    Returns
    -------
    (n, ⌈y / 2⌉, ⌈x / 2⌉) ndarray
        Of the same type: whole numbers are rounded to the nearest, halves upwards (as OpenCV's
        ``INTER_AREA``); float16 is averaged in float32. Every pixel depends on its own four alone,
        bit for bit, however an array is cut along even rows and columns.
    """
    _, height, width = pixels.shape
    if height % 2 or width % 2:
        # The border repeated: the mean of a pixel and its copy is the pixel.
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return _halve_whole(pixels) if pixels.dtype.kind == "u" else _halve_real(pixels)


def _halve_whole(pixels: np.ndarray) -> np.ndarray:
    """Return the means of unsigned pixels, layer by layer; OpenCV adds them exactly."""
    import cv2

    layers, height, width = pixels.shape
    out = np.empty((layers, height // 2, width // 2), pixels.dtype)
    for layer, target in zip(pixels, out, strict=True):
        cv2.resize(layer, (width // 2, height // 2), dst=target, interpolation=cv2.INTER_AREA)
    return out


def _halve_real(pixels: np.ndarray) -> np.ndarray:
    """Return the means of real pixels, always added in the same order."""
    wide: np.ndarray = pixels.astype(np.float32, copy=False) if pixels.itemsize < 4 else pixels
    rows = wide[:, 0::2] + wide[:, 1::2]
    total: np.ndarray = rows[:, :, 0::2] + rows[:, :, 1::2]
    total *= np.float32(0.25)
    return total.astype(pixels.dtype, copy=False)


def level_shapes(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of the levels after the full resolution, finest first."""
    while max(height, width) > LAST_SIDE:
        height, width = -(-height // 2), -(-width // 2)
        yield height, width


def centres(first: float, step: float, reduction: float, count: int) -> np.ndarray:
    """Return where the centres of a level's pixels lie along one axis, segment pixels.

    Parameters
    ----------
    first, step : float
        Centre of the first pixel at full resolution, and the distance of two.
    reduction : float
        Full-resolution pixels per pixel of the level.
    count : int
        np.ndarray of the level along the axis.
    """
    index: np.ndarray = np.arange(count) + 0.5
    return first + step * (index * reduction - 0.5)
