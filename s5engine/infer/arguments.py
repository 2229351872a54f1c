"""Checks of what prediction is asked to do: the volume, its layer windows, its papyrus mask."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from s5engine.alignment import check_neighbours, is_reversed, on_pixels
from s5engine.console import say
from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Edge, TileAxis
from s5engine.infer.taper import Taper, taper_weights
from s5engine.infer.tta import views

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr

    from s5engine.model.ink_model import InkModel

Mask: TypeAlias = "np.ndarray | xr.DataArray | da.Array | None"


def whole(name: str, value: Any) -> int:
    """Return an argument that is a whole number, numpy's too, as an int."""
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{name} is a whole number, not {value!r}.") from None


def choose_batches(model: InkModel, batch: int | None) -> tuple[int, ...]:
    """Return tiles per forward pass that may be taken: as asked, or what suits, best first.

    A full-size network takes a CPU about half a second a tile: batches that must be filled up cost
    it dearly, but torch computes small 3D convolutions fast only from two tiles on. Small networks
    and GPUs want more at once.
    """
    if batch is None:
        large = model.config is not None and sum(model.config.unetr_filters) > 200
        best = 32 if model.device.type != "cpu" else 2 if large else 8
        return tuple(best >> halved for halved in range(best.bit_length()))
    batch = whole("batch", batch)
    if batch < 1:
        raise InvalidArgumentError(f"batch is at least 1, not {batch}.")
    return (batch,)


def check_volume(volume: xr.DataArray) -> None:
    """Refuse what is not a uint8 surface volume of neighbouring pixels."""
    dims = getattr(volume, "dims", f"those of a {type(volume).__name__}")
    if dims != ("layer", "y", "x"):
        raise InvalidArgumentError(
            f"A surface volume has the dims (layer, y, x), not {dims}.",
            "Open it with open_volume, or transpose and rename.",
        )
    check_neighbours(volume)
    if volume.dtype != np.uint8:
        raise InvalidArgumentError(
            f"Prediction takes uint8 volumes, this one is {volume.dtype}.",
            "Make it so with to_uint8(volume).",
        )


def check_prediction(
    model: InkModel,
    shape: tuple[int, int],
    layers: Sequence[int],
    *,
    windows: Sequence[int],
    stride: int = 64,
    tta: int = 1,
    taper: Taper = "gaussian",
    edge: Edge = "cover",
) -> None:
    """Refuse what `predict_ink` would refuse, before there is a volume: before it is fetched.

    Parameters
    ----------
    model : InkModel
    shape : (int, int)
        Height and width of the volume to come, px.
    layers : sequence of int
        Its layer numbers.
    windows, stride, tta, taper, edge
        As `predict_ink` takes them.

    Raises
    ------
    InvalidArgumentError
        If they do not fit each other.
    """
    check_windows(layers, windows, model.layers)
    views(tta)
    taper_weights(taper, model.tile)
    for length in shape:
        TileAxis(length, model.tile, stride, edge)


def check_windows(numbers: Sequence[int], windows: Sequence[int], count: int) -> None:
    """Refuse layer windows that reach beyond the layers."""
    if not np.iterable(windows):
        raise InvalidArgumentError(
            f"windows are the first layers of the layer windows, not {windows!r}.",
            f"For one window write [{windows!r}].",
        )
    firsts = [whole("A layer window", first) for first in windows]
    if not firsts:
        raise InvalidArgumentError("No layer window is given.", "Name the first layer of each.")
    if len(set(firsts)) < len(firsts):
        raise InvalidArgumentError(
            f"A layer window is named twice among {firsts}.", "Name each window once."
        )
    if not len(numbers):
        raise InvalidArgumentError("The volume has no layers.", "Choose some of them.")
    for first in firsts:
        missing = [n for n in range(first, first + count) if n not in numbers]
        if missing:
            last = [n for n in sorted(numbers) if all(n + i in numbers for i in range(count))]
            raise InvalidArgumentError(
                f"The layer window {first} needs the layers {first}…{first + count - 1}, and "
                f"the volume has {min(numbers)}…{max(numbers)}: {missing} are missing.",
                f"Windows that fit: {last}." if last else "The volume has too few layers.",
            )


def pick_layers(
    volume: xr.DataArray, windows: Sequence[int], count: int
) -> tuple[xr.DataArray, tuple[tuple[int, ...], ...]]:
    """Return the volume with only the layers that windows need, and each window's positions.

    A window is named by its lowest layer; the network sees its layers in the volume's order.
    """
    is_reversed(volume)  # refuses layers in no order
    numbers = [int(n) for n in volume.layer.values]
    check_windows(numbers, windows, count)
    needed = {n for first in windows for n in range(int(first), int(first) + count)}
    at = [place for place, number in enumerate(numbers) if number in needed]
    kept = [numbers[place] for place in at]
    # A slice keeps dask from copying layer by layer.
    run = at == list(range(at[0], at[0] + len(at)))
    picked = volume.isel(layer=slice(at[0], at[0] + len(at)) if run else at)
    positions = tuple(
        tuple(i for i, n in enumerate(kept) if int(first) <= n < int(first) + count)
        for first in windows
    )
    return picked, positions


def lazy_mask(mask: Mask, volume: xr.DataArray) -> da.Array:
    """Return the mask as a bool dask array of the volume's y, x."""
    import dask.array as da
    import xarray as xr

    values: Any = mask.data if isinstance(mask, xr.DataArray) else mask
    if not getattr(values, "shape", ()):
        raise InvalidArgumentError(
            f"A papyrus mask is a bool array (y, x), not {mask!r}.",
            "Take papyrus_mask(volume), or read_mask(path) for a PNG.",
        )
    values = on_pixels(mask, volume, "papyrus mask")
    if isinstance(values, np.ndarray):  # a lazy one is known when its tiles are reached
        if not values.any():
            raise InvalidArgumentError(
                "The papyrus mask holds no papyrus: nothing would be predicted.",
                "Name another mask, or none.",
            )
        if values.all():
            say("the papyrus mask leaves nothing out")
    lazy = values if isinstance(values, da.Array) else da.from_array(values, chunks=1024)
    return lazy if lazy.dtype == bool else lazy.astype(bool)


def model_of(model: Any) -> InkModel:
    """Return the model itself, or that of a checkpoint's path.

    Raises
    ------
    InvalidArgumentError
        If it is neither: a bare network does not say which layers and tiles it wants.
    """
    from s5engine.model.ink_model import InkModel, load_checkpoint

    if isinstance(model, InkModel):
        return model
    if isinstance(model, str | Path):
        return load_checkpoint(model)
    raise InvalidArgumentError(
        f"A model is an InkModel or a checkpoint's path, not {type(model).__name__}: a bare "
        "network does not say which tiles and layers it wants.",
        "Wrap it: wrap_model(network, tile=…, layers=…), or name its file to load_checkpoint.",
    )
