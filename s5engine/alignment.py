"""Whether arrays lie where they are said to: the order of layers, the pixels of masks."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import InvalidArgumentError, WayOut
from s5engine.foreign import brief

if TYPE_CHECKING:
    import xarray as xr


def check_neighbours(volume: xr.DataArray) -> None:
    """Refuse a volume whose rows or columns are not neighbours in ascending order."""
    for side in ("y", "x"):
        if (np.diff(volume[side].values) != 1).any():
            raise InvalidArgumentError(
                f"The pixels of this volume are not neighbours along {side}: its coordinate does "
                "not go up in steps of 1.",
                "Cut plain boxes, and flip or thin out the ink instead.",
            )


def is_reversed(volume: xr.DataArray) -> bool:
    """Return whether the layers come from the last to the first.

    Raises
    ------
    InvalidArgumentError
        If they come in neither order, or one comes twice.
    """
    numbers = volume["layer"].values.astype(np.int64)
    steps = np.diff(numbers)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise InvalidArgumentError(
            f"The layers of this volume come in no order: {_listed(numbers)}.",
            "Keep them as they lie, or turn all of them round: "
            "volume.isel(layer=slice(None, None, -1)).",
        )
    return bool(len(steps) and steps[0] < 0)


def check_ascending(numbers: Any) -> None:
    """Refuse layer numbers that do not ascend, where files keep them by their numbers."""
    if isinstance(numbers, Set):  # it has no order that could be meant
        return
    order = np.atleast_1d(np.asarray(numbers, np.int64))
    if (np.diff(order) <= 0).any():
        raise InvalidArgumentError(
            f"The layers {_listed(order)} do not ascend, as they do where they are kept.",
            "Name them in ascending order; an opened volume is turned round with "
            "volume.isel(layer=slice(None, None, -1)).",
        )


def on_pixels(array: Any, volume: xr.DataArray, what: str) -> Any:
    """Return the bare values of a (y, x) array that has to lie on a volume's pixels.

    Parameters
    ----------
    array : array or DataArray
        The dims of a DataArray may come in either order; where it has coordinates they are those
        of the volume.
    volume : DataArray with the dims y and x
    what : str
        What the array is, for the error: "papyrus mask".

    Raises
    ------
    InvalidArgumentError
        If its shape or its pixels are others.
    """
    named = hasattr(array, "dims")
    if named and set(array.dims) == {"y", "x"}:
        array = array.transpose("y", "x")
    values = array.data if named else array
    shape = (volume.sizes["y"], volume.sizes["x"])
    if tuple(values.shape) != shape or (named and array.dims != ("y", "x")):
        dims = ", ".join(map(str, array.dims)) if named else "y, x"
        raise InvalidArgumentError(
            f"The {what} is {tuple(values.shape)} px ({dims}) and the volume {shape} px (y, x).",
            "Cut both to the same box.",
        )
    for side in ("y", "x") if named else ():
        if side in array.coords and not np.array_equal(array[side], volume[side]):
            ends = [tuple(a[side].values[[0, -1]].tolist()) for a in (array, volume)]
            raise InvalidArgumentError(
                f"The {what} has {side} from {ends[0][0]} to {ends[0][1]} and the volume from "
                f"{ends[1][0]} to {ends[1][1]}.",
                "Cut both to the same box, and flip neither.",
            )
    return values


def _listed(numbers: np.ndarray) -> str:
    shown = ", ".join(map(str, numbers[:8].tolist()))
    return shown + (", …" if len(numbers) > 8 else "")


def check_dims(volume: Any, verb: str) -> None:
    """Raise if something is no volume with the dims (layer, y, x).

    Raises
    ------
    InvalidArgumentError
        With how an array of pixels becomes one.
    """
    dims = getattr(volume, "dims", None)
    if dims != ("layer", "y", "x") or not hasattr(volume, "coords"):
        kind = type(volume).__name__ if dims is None else f"one with the dims {brief(dims)}"
        raise InvalidArgumentError(
            f"{verb} takes a volume with the dims (layer, y, x), not {kind}.",
            WayOut(
                "Open one with open_volume, or name the axes of your pixels: xr.DataArray(pixels, "
                'dims=("layer", "y", "x"), coords={"layer": …, "y": …, "x": …}).',
                "Give a store, a folder or an address of layers.",
            ),
        )
