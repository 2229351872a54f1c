"""The papyrus mask: where a segment holds papyrus at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s5engine.alignment import check_dims
from s5engine.errors import InvalidArgumentError, WayOut

if TYPE_CHECKING:
    import xarray as xr

#: The layer whose non-zero pixels are the papyrus, as in 2025.
MASK_LAYER = 10


def papyrus_mask(volume: xr.DataArray, layer: int = MASK_LAYER) -> xr.DataArray:
    """Return where one layer is non-zero, lazily.

    Take it from the volume before contrast: the contrast table sends the darkest values to 0.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
    layer : int
        Layer number, as in the ``layer`` coordinate.

    Returns
    -------
    (y, x) DataArray, bool

    Raises
    ------
    InvalidArgumentError
        If the volume does not have that layer.
    """
    check_dims(volume, "papyrus_mask")
    numbers = [int(n) for n in volume.layer.values]
    if layer not in numbers:
        raise InvalidArgumentError(
            f"Layer {layer} is not in this volume, which has the layers {numbers}.",
            WayOut(
                "Name one of these, or ingest that layer too.",
                "Fetch that layer too, or use --mask none.",
            ),
        )
    mask = volume.isel(layer=numbers.index(layer), drop=True) != 0
    return mask.rename("papyrus").assign_attrs(volume.attrs)
