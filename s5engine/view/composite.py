"""Composite: the windows' ink maps as one picture, the way the 2025 overlay made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from s5engine.errors import InvalidArgumentError
from s5engine.infer.run import Run, open_run

if TYPE_CHECKING:
    import xarray as xr
    from scipy.sparse import csr_array

Method = Literal["mean", "max"]

#: Side of the squares of ink that are reduced at once, px.
_SQUARE = 4096
#: scipy's and scikit-image's default reach of a Gaussian, in standard deviations.
_TRUNCATE = 4.0


def composite(
    ink: xr.DataArray | np.ndarray | Run | str | Path,
    *,
    method: Method = "mean",
    boost: float = 1.0,
    flip: bool = False,
    invert: bool = False,
    reduce: int = 4,
) -> np.ndarray:
    """Return a picture of the ink, computed square by square.

    Parameters
    ----------
    ink : (window, y, x) DataArray or ndarray, Run, or str or Path
        Ink in [0, 1], lazy or not; or that of a run, or of the run in a folder. A
        window whose maximum exceeds 1 is divided by it.
    method : {"mean", "max"}
        How windows are combined.
    boost : float
        1…10: values below 1 are multiplied by it, then capped at 1.
    flip : bool
        Mirror horizontally: the title of Scroll 5 reads after a flip.
    invert : bool
        Ink dark on light.
    reduce : int
        Reduction of each side, with anti-aliasing: a Gaussian of σ = (factor − 1) / 2, then linear
        interpolation at the centres of the new pixels, borders mirrored, as scikit-image's
        ``resize``.

    Returns
    -------
    (y // reduce, x // reduce) float32 ndarray
        Values in [0, 1].

    Raises
    ------
    InvalidArgumentError
        If an argument does not fit.
    """
    ink = open_run(ink).ink if isinstance(ink, str | Path) else ink
    ink = ink.ink if isinstance(ink, Run) else ink
    if getattr(ink, "shape", None) is None:
        raise InvalidArgumentError(
            f"composite takes ink (window, y, x) or a run, not {type(ink).__name__}."
        )
    if method not in ("mean", "max"):
        raise InvalidArgumentError(f'method is "mean" or "max", not {method!r}.')
    if not isinstance(boost, int | float | np.number) or not 1 <= boost <= 10:
        raise InvalidArgumentError(f"boost is between 1 and 10, not {boost!r}.")
    if ink.ndim != 3 or min(ink.shape) < 1:
        raise InvalidArgumentError(f"Ink has three dims (window, y, x), this has {ink.shape}.")
    if not isinstance(reduce, int | np.integer) or not 1 <= reduce <= min(ink.shape[1:]):
        raise InvalidArgumentError(
            f"reduce is between 1 and the ink's shorter side {min(ink.shape[1:])}, not {reduce!r}."
        )
    planes = ink.data if hasattr(ink, "data") and not isinstance(ink, np.ndarray) else ink
    picture = _reduced(planes, window_scales(planes), method, reduce)
    if flip:
        picture = picture[:, ::-1]
    picture = np.where(picture < 1, np.minimum(picture * np.float32(boost), 1), picture)
    return np.ascontiguousarray(1 - picture if invert else picture, dtype=np.float32)


def to_gray(picture: np.ndarray) -> np.ndarray:
    """Return a picture in [0, 1] as 8-bit gray, truncated."""
    gray: np.ndarray = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return gray


def window_scales(planes: Any) -> np.ndarray:
    """Return what each window is divided by: its maximum where that exceeds 1."""
    peaks = np.zeros(planes.shape[0], np.float32)
    for rows, columns in _squares(planes.shape[1:]):
        peaks = np.maximum(peaks, _square(planes, rows, columns).max(axis=(1, 2)))
    return np.maximum(peaks, 1).astype(np.float32)


def _reduced(planes: Any, scales: np.ndarray, method: Method, reduce: int) -> np.ndarray:
    """Return the combined and reduced windows.

    Blurring and interpolating are linear and separable: each axis is one sparse matrix, and a
    square of the picture needs only the rows and columns where its matrix rows are not zero.
    """
    height, width = (side // reduce for side in planes.shape[1:])
    down = _reduction_matrix(planes.shape[1], height)
    across = _reduction_matrix(planes.shape[2], width)
    picture = np.empty((height, width), np.float32)
    for rows, columns in _squares((height, width), _SQUARE // reduce):
        left, right = down[rows], across[columns]
        source_rows, source_columns = _reach(left), _reach(right)
        square = _square(planes, source_rows, source_columns)
        square = square / scales[:, None, None]
        combined = square.mean(axis=0) if method == "mean" else square.max(axis=0)
        half = left[:, source_rows] @ combined
        picture[rows, columns] = (right[:, source_columns] @ half.T).T
    return picture


def _square(planes: Any, rows: slice, columns: slice) -> np.ndarray:
    """Return some rows and columns of all windows."""
    square = planes[:, rows, columns]
    return np.asarray(square.compute() if hasattr(square, "compute") else square, np.float32)


def _reduction_matrix(length: int, reduced: int) -> csr_array:
    """Return the (reduced, length) matrix that blurs and samples one axis."""
    from scipy.sparse import csr_array

    factor = length / reduced
    blur = _gaussian_matrix(length, max(0.0, (factor - 1) / 2))
    centres = np.clip((np.arange(reduced) + 0.5) * factor - 0.5, 0, length - 1)
    below = np.minimum(centres.astype(np.int64), max(length - 2, 0))
    share = centres - below
    above = np.minimum(below + 1, length - 1)
    places = (np.tile(np.arange(reduced), 2), np.concatenate([below, above]))
    sample = csr_array((np.concatenate([1 - share, share]), places), shape=(reduced, length))
    return csr_array(sample @ blur)


def _gaussian_matrix(length: int, sigma: float) -> csr_array:
    """Return the (length, length) matrix of a Gaussian blur with mirrored borders."""
    from scipy.sparse import csr_array, eye_array

    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0 or length == 1:
        return csr_array(eye_array(length))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    # Mirrored without repeating the border pixel: d c b | a b c d | c b a.
    period = 2 * (length - 1)
    places = np.abs(np.arange(length)[:, None] + offsets) % period
    places = np.where(places >= length, period - places, places)
    rows = np.repeat(np.arange(length), len(offsets))
    return csr_array((np.tile(kernel, length), (rows, places.ravel())), shape=(length, length))


def _reach(matrix: csr_array) -> slice:
    """Return the columns that any row of the matrix needs."""
    return slice(int(matrix.indices.min()), int(matrix.indices.max()) + 1)


def _squares(shape: tuple[int, int], side: int = _SQUARE) -> Any:
    """Yield the (rows, columns) of squares that cover ``shape``."""
    side = max(side, 1)
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            yield slice(y, min(y + side, shape[0])), slice(x, min(x + side, shape[1]))
