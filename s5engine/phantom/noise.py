"""Random fields that are a function of the coordinates: any region gives the same values.

Two kinds. *Lattice* fields are smooth: hashed values on a coarse lattice, joined by quadratic
B-splines. *Textures* are small periodic pictures, read at an offset. Only sums and products of
single elements are used, which IEEE arithmetic rounds alike wherever the element lies; library
routines that block their loops (matrix products, resampling) would not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Standard deviation of a lattice field before it is scaled to 1: uniform values in [-1, 1) have
#: 1/√3, and the squares of the B-spline's weights sum to 11/20 on average, on each axis.
_SPREAD = 11 / 20 / np.sqrt(3)


def hash_grid(ys: npt.ArrayLike, xs: npt.ArrayLike, seed: int) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each pair of whole numbers ``(y, x)``.

    The finalizer is splitmix64's (Steele, Lea and Flood 2014), applied twice.
    """
    y = np.asarray(ys, dtype=np.int64).astype(np.uint64)
    x = np.asarray(xs, dtype=np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = y * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed & (2**64 - 1))
        return _mix(_mix(mixed) + x * np.uint64(0xD1B54A32D192ED03))


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _spline(position: npt.NDArray[np.int64], spacing: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the lattice cell of each position, and its three weights ``(3, n)``."""
    cell = position // spacing
    t = ((position - cell * spacing) / spacing).astype(np.float32)
    half = np.float32(0.5)
    near = half * (1 - t) * (1 - t)
    far = half * t * t
    return cell, np.stack((near, 1 - near - far, far))


def lattice(
    ys: npt.NDArray[np.int64], xs: npt.NDArray[np.int64], spacing: int, seed: int
) -> Floats:
    """Return a smooth field at the crossings of some rows and columns.

    Parameters
    ----------
    ys, xs : (h,) and (w,) arrays of int
        Coordinates, ascending, px.
    spacing : int
        Distance of the lattice's points, px: the size of the field's hills.
    seed : int
        Which field.

    Returns
    -------
    (h, w) ndarray of float32
        Mean 0, standard deviation 1, within about ±3.1.
    """
    cells_x, weights_x = _spline(xs, spacing)
    cells_y, weights_y = _spline(ys, spacing)
    first_x, first_y = int(cells_x[0]), int(cells_y[0])
    points_y = np.arange(first_y, int(cells_y[-1]) + 3)
    points_x = np.arange(first_x, int(cells_x[-1]) + 3)
    bits = hash_grid(points_y[:, None], points_x[None, :], seed) >> np.uint64(40)
    points = ((bits.astype(np.float64) / 2**23 - 1) / _SPREAD).astype(np.float32)
    columns = cells_x - first_x
    lines = weights_x[0] * points[:, columns]
    lines += weights_x[1] * points[:, columns + 1]
    lines += weights_x[2] * points[:, columns + 2]
    field = np.empty((len(ys), len(xs)), np.float32)
    # Rows of one lattice cell share their three lines: no gathered copies are needed.
    for a, b in _runs(cells_y):
        k = int(cells_y[a]) - first_y
        near, middle, far = weights_y[:, a:b, None]
        out = field[a:b]
        np.multiply(near, lines[k], out=out)
        out += middle * lines[k + 1]
        out += far * lines[k + 2]
    return field


def _runs(values: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the half-open ranges over which ``values`` stays the same."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return pairwise(edges)


#: Fields whose hills are at least `_SMOOTH` px are computed at every `_STEP`th pixel only.
_STEP, _SMOOTH = 8, 56


def hills(box: tuple[int, int, int, int], octaves: Sequence[tuple[int, float, int]]) -> Floats:
    """Return a weighted sum of lattice fields in a box.

    Where all hills are large, the sum is computed at each eighth row and column of the segment
    (not of the box: every box sees the same ones) and joined linearly, which is several times
    faster. A field of spacing s is then off by at most 202 / s²: the second derivative is at most
    12.6 / s², a chord of 8 px departs by an eighth of that times 8², on each axis.

    Parameters
    ----------
    box : (y0, y1, x0, x1)
        Half-open, pixels.
    octaves : sequence of (int, float, int)
        Spacing, weight and seed of each field.

    Returns
    -------
    (y1 - y0, x1 - x0) ndarray of float32
    """
    y0, y1, x0, x1 = box
    step = _STEP if min(spacing for spacing, _, _ in octaves) >= _SMOOTH else 1
    ys = np.arange(y0 // step, (y1 - 1) // step + 2) * step
    xs = np.arange(x0 // step, (x1 - 1) // step + 2) * step
    total = np.zeros((len(ys), len(xs)), np.float32)
    for spacing, weight, seed in octaves:
        field = lattice(ys, xs, spacing, seed)
        field *= np.float32(weight)
        total += field
    return total[:-1, :-1] if step == 1 else _joined(total, box, step)


def _joined(coarse: Floats, box: tuple[int, int, int, int], step: int) -> Floats:
    """Join the values at every ``step``th row and column linearly."""
    y0, y1, x0, x1 = box
    x = np.arange(x0, x1)
    column = x // step
    share = ((x - column * step) / step).astype(np.float32)
    column -= x0 // step
    lines = coarse[:, column]
    lines += share * (coarse[:, column + 1] - lines)
    y = np.arange(y0, y1)
    row = y // step
    part = ((y - row * step) / step).astype(np.float32)[:, None]
    row -= y0 // step
    rise = np.diff(lines, axis=0)
    if x1 - x0 < 128:  # short rows: a gathered copy is cheaper than a loop
        return part * rise[row] + lines[row]
    out = np.empty((y1 - y0, x1 - x0), np.float32)
    for a, b in _runs(row):
        k = int(row[a])
        np.multiply(part[a:b], rise[k], out=out[a:b])
        out[a:b] += lines[k]
    return out


def wrapped(
    texture: npt.NDArray[np.float32], y0: int, y1: int, x0: int, x1: int, offset: int = 0
) -> Floats:
    """Return rows ``y0:y1`` and columns ``x0:x1`` of a periodic texture.

    Parameters
    ----------
    texture : (p, q) ndarray of float32
        One period.
    offset : int
        A hash that shifts the texture.
    """
    height, width = texture.shape
    top = (y0 + offset % 1_000_003) % height
    left = (x0 + offset // 1_000_003 % 1_000_033) % width
    out = np.empty((y1 - y0, x1 - x0), texture.dtype)
    y = 0
    while y < out.shape[0]:
        rows = min(height - top, out.shape[0] - y)
        x, at = 0, left
        while x < out.shape[1]:
            columns = min(width - at, out.shape[1] - x)
            out[y : y + rows, x : x + columns] = texture[top : top + rows, at : at + columns]
            x, at = x + columns, 0
        y, top = y + rows, 0
    return out
