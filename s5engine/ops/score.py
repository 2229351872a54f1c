"""How well ink was found, against ink that one knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from s5engine.alignment import on_pixels
from s5engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Score:
    """Shares of pixels, each in [0, 1]; 0 where nothing could be counted.

    Attributes
    ----------
    precision, recall, f1, iou : float
        With TP, FP, FN the numbers of pixels found rightly, found wrongly and missed:
        TP / (TP + FP), TP / (TP + FN), 2 TP / (2 TP + FP + FN), TP / (TP + FP + FN).
    threshold : float
        What ink had to exceed.
    """

    precision: float
    recall: float
    f1: float
    iou: float
    threshold: float

    @classmethod
    def from_counts(cls, tp: int, fp: int, fn: int, threshold: float) -> Score:
        """Return the shares for the numbers of pixels found rightly, found wrongly and missed."""
        return cls(
            _share(tp, tp + fp),
            _share(tp, tp + fn),
            _share(2 * tp, 2 * tp + fp + fn),
            _share(tp, tp + fp + fn),
            threshold,
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def score_ink(
    ink: xr.DataArray | npt.NDArray[Any],
    truth: xr.DataArray | npt.NDArray[np.bool_],
    within: xr.DataArray | npt.NDArray[np.bool_] | None = None,
    *,
    threshold: float = 0.5,
) -> Score:
    """Compare ink with what is known to be ink, pixel by pixel.

    Parameters
    ----------
    ink : (y, x) DataArray or ndarray
        Probability in [0, 1]; lazy arrays are counted block by block.
    truth : (y, x) bool array
        Where ink is.
    within : (y, x) bool array, optional
        Only these pixels count, such as the papyrus or a keep mask.
    threshold : float
        What is above it is found.

    Returns
    -------
    Score

    Raises
    ------
    InvalidArgumentError
        If the shapes differ, or no pixel of the truth is ink.
    """
    import dask

    found, true, counted = _same_shape(ink, truth, within)
    found = found > threshold
    if counted is not None:
        found, true = found & counted, true & counted
    tp, positive, wanted = dask.compute((found & true).sum(), found.sum(), true.sum())
    if not wanted:
        raise InvalidArgumentError("No pixel of the truth is ink.", "Check the label or the crop.")
    return Score.from_counts(int(tp), int(positive - tp), int(wanted - tp), threshold)


def best_threshold(
    values: npt.NDArray[Any],
    truth: npt.NDArray[np.bool_],
    within: npt.NDArray[np.bool_] | None = None,
) -> Score:
    """Return the score of the threshold that separates ink best: what a picture alone could show.

    All thresholds are tried, for ink that is brighter than one and for ink that is darker, and the
    one with the highest F1 is chosen *knowing the truth*: no use of a threshold can do better.

    Parameters
    ----------
    values : (y, x) ndarray
        Gray values of one layer, or of a mean over layers; in memory.
    truth, within : (y, x) bool ndarray
        As `score_ink` takes them.

    Returns
    -------
    Score

    Raises
    ------
    InvalidArgumentError
        If the shapes differ or no pixel is ink.
    """
    grey, true, counted = _same_shape(values, truth, within)
    chosen = slice(None) if counted is None else counted
    grey, true = np.asarray(grey)[chosen].ravel(), np.asarray(true, np.bool_)[chosen].ravel()
    wanted = int(true.sum())
    if not wanted:
        raise InvalidArgumentError("No pixel of the truth is ink.", "Check the label or the crop.")
    levels, place = np.unique(grey, return_inverse=True)
    rising = _best_above(levels, place, true, wanted)
    falling = _best_above(-levels[::-1], len(levels) - 1 - place, true, wanted)
    return max(rising, falling, key=lambda score: score.f1)


def _best_above(
    levels: npt.NDArray[Any], place: npt.NDArray[np.intp], true: npt.NDArray[np.bool_], wanted: int
) -> Score:
    """Return the best score of "at least this level", from the counts at each level."""
    found = np.cumsum(np.bincount(place, minlength=len(levels))[::-1])[::-1]
    right = np.cumsum(np.bincount(place[true], minlength=len(levels))[::-1])[::-1]
    best = int(np.argmax(2 * right / (found + wanted)))
    tp = int(right[best])
    return Score.from_counts(tp, int(found[best]) - tp, wanted - tp, float(levels[best]))


def _same_shape(ink: Any, truth: Any, within: Any) -> tuple[Any, Any, Any]:
    """Return the bare arrays, if they lie on the same pixels."""
    if hasattr(ink, "dims") and {"y", "x"} == set(ink.dims):
        ink = ink.transpose("y", "x")
        named = {"truth": truth, "within": within}
        for what, array in named.items():
            if hasattr(array, "dims"):
                on_pixels(array, ink, what)
    arrays = [_bare(array) for array in (ink, truth, within)]
    shapes = {tuple(a.shape) for a in arrays if a is not None}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise InvalidArgumentError(
            f"Ink and truth are compared on the same pixels (y, x); the shapes are {shapes}.",
            "Cut both to the same box, and choose one window or the mean over them.",
        )
    return arrays[0], arrays[1], arrays[2]


def _bare(array: Any) -> Any:
    """Return the values of an array, those of a DataArray with y before x."""
    if not hasattr(array, "dims"):
        return array
    return (array.transpose("y", "x") if set(array.dims) == {"y", "x"} else array).data
