"""A thumbnail above xarray's own text, wherever a notebook shows one of our arrays.

The first use of a public name in a running IPython switches it on, as ``%load_ext s5engine`` does.
IPython asks its HTML formatter for a function that is registered for a type before it asks the
object itself, so nothing of xarray is changed; other arrays look as before.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import S5Error
from s5engine.store.open_levels import open_pyramid
from s5engine.store.origins import store_of
from s5engine.view.shrink import pick_level, shrink

if TYPE_CHECKING:
    import xarray as xr

#: Longest side of a thumbnail, and most pixels that are read for one: about a block.
SIDE, MOST_PIXELS = 480, 2**22
_DIMS = (("layer", "y", "x"), ("window", "y", "x"))


def html(array: xr.DataArray) -> str:
    """Return xarray's own HTML, under a thumbnail if one is cheap.

    The middle layer, or the mean of the windows, of an array in memory or of a store's pixels; of
    a large one, from its pyramid. Nothing is ever computed but that.
    """
    shown: Any = array  # whose method xarray does not type
    own = str(shown._repr_html_())
    picture = thumbnail(array)
    if picture is None:
        return own
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="thumbnail" src="data:image/png;base64,{data}"/>{own}'


def thumbnail(array: xr.DataArray) -> np.ndarray | None:
    """Return an 8-bit gray thumbnail (y, x); None if it is not one of ours, or is not cheap."""
    if array.dims not in _DIMS or 0 in array.shape or array.dtype.kind not in "uf":
        return None
    try:
        small = _small(array)
    except (S5Error, OSError, KeyError, ValueError):
        return None  # the store has gone or changed: xarray's own text says enough
    if small is None:
        return None
    planes = small if small.dims[0] == "window" else small[[len(small) // 2]]
    if planes.size > MOST_PIXELS:
        return None
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    picture = shrink(planes, SIDE).mean(axis=0) / top
    gray: np.ndarray = (np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    return gray


def _small(array: xr.DataArray) -> xr.DataArray | None:
    """Return the array itself or the same pixels in a coarser level; None if they are computed."""
    if array.chunks is None:
        return array
    store = store_of(array)
    if store is None:
        return None
    if array.size <= MOST_PIXELS:
        return array
    return pick_level(
        [_same_place(level, array) for level in open_pyramid(store, partial=True)], SIDE
    )


def _same_place(level: xr.DataArray, array: xr.DataArray) -> xr.DataArray:
    """Return what of a level lies where the array does; an array with gaps is shown without."""
    picked = level
    for dim in ("y", "x"):
        values = array[dim].values
        low, high = sorted((float(values[0]), float(values[-1])))
        half = float(level.attrs["reduction"]) / 2
        inside = (level[dim].values >= low - half) & (level[dim].values <= high + half)
        picked = picked.isel({dim: np.flatnonzero(inside)})
        if values[0] > values[-1]:
            picked = picked.isel({dim: slice(None, None, -1)})
    return picked.sel({array.dims[0]: array[array.dims[0]].values})
