"""What of lazy ink can be written as a run, and all that its result depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import InvalidArgumentError
from s5engine.foreign import restored
from s5engine.infer.prediction import is_as_blended, prediction_of
from s5engine.infer.stored import EXECUTION_ATTRS, plain_value
from s5engine.store.identity import pixels_identity

if TYPE_CHECKING:
    import xarray as xr

FORMATS = ("zarr", "npy", "png")


def check_ink(ink: xr.DataArray, formats: Sequence[str], dtype: str) -> None:
    """Refuse what cannot be written before anything runs."""
    dims = getattr(ink, "dims", f"those of a {type(ink).__name__}")
    if dims != ("window", "y", "x"):
        raise InvalidArgumentError(
            f"Ink has the dims (window, y, x), not {dims}.", "Write what predict_ink returns."
        )
    if 0 in ink.shape:
        raise InvalidArgumentError(
            f"This ink is empty: {dict(ink.sizes)}.", "Choose a larger crop."
        )
    if len(set(ink.window.values.tolist())) < ink.sizes["window"]:
        raise InvalidArgumentError(
            f"This ink holds a layer window twice: {ink.window.values.tolist()}.",
            "Choose each window once.",
        )
    unknown = [f for f in formats if f not in FORMATS]
    if unknown or not formats or isinstance(formats, str):
        raise InvalidArgumentError(f"formats are some of {FORMATS}, not {formats!r}.")
    if dtype not in ("float32", "float16"):
        raise InvalidArgumentError(f'dtype is "float32" or "float16", not {dtype!r}.')


def settings_of(ink: xr.DataArray, formats: Sequence[str], dtype: str) -> dict[str, Any]:
    """Return all that the result depends on, as JSON values."""
    written = {
        "written_windows": [int(w) for w in ink.window.values],
        "written_box": [int(ink.y[0]), int(ink.y[-1]) + 1, int(ink.x[0]), int(ink.x[-1]) + 1],
        "formats": list(formats),
        "dtype": dtype,
    }
    kept = {k: plain_value(v) for k, v in restored(ink.attrs).items() if k not in EXECUTION_ATTRS}
    prediction = prediction_of(ink)
    # The name of any other lazy array says all that makes it, in every process.
    identity = pixels_identity(ink) if prediction is None else prediction.identity
    return kept | written | {"ink": identity} | _reworked(ink)


def _reworked(ink: xr.DataArray) -> dict[str, Any]:
    """Return whether this ink is another one than its attributes tell of, and which pixels it has.

    xarray's verbs keep the attributes, of ``1 - ink`` and of every second pixel as well.
    """
    from dask.base import tokenize

    told: dict[str, Any] = {}
    if any((np.diff(ink[side].values) != 1).any() for side in ("y", "x")):
        told["written_pixels"] = tokenize(ink.y.values, ink.x.values)
    if ink.chunks is not None and not is_as_blended(ink):
        told["worked_on"] = True
    return told
