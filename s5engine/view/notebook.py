"""A thumbnail above xarray's own text, wherever a notebook shows one of our arrays.

``%load_ext s5engine`` switches it on. IPython asks its HTML formatter for a function that is
registered for a type before it asks the object itself, so nothing of xarray is changed.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.view.shrink import shrink

if TYPE_CHECKING:
    import xarray as xr

#: Longest side of a thumbnail, and most pixels that are read for one: about a block.
SIDE, MOST_PIXELS = 480, 2**22
_DIMS = (("layer", "y", "x"), ("window", "y", "x"))


def register(shell: Any) -> None:
    """Let an IPython shell show DataArrays of ours with a thumbnail."""
    import xarray

    shell.display_formatter.formatters["text/html"].for_type(xarray.DataArray, html)


def html(array: xr.DataArray) -> str:
    """Return xarray's own HTML, under a thumbnail if one is cheap.

    The middle layer, or the mean of the windows, of an array in memory or of stored chunks that
    hold few pixels; nothing is ever inferred, and a large array is not read.
    """
    own = str(array._repr_html_())  # type: ignore[no-untyped-call]  # xarray: untyped
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
    planes = array if array.dims[0] == "window" else array[[len(array) // 2]]
    if not _is_cheap(array, planes.size):
        return None
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    small = shrink(planes, SIDE).mean(axis=0) / top
    gray: np.ndarray = (np.clip(np.nan_to_num(small), 0, 1) * 255).astype(np.uint8)
    return gray


def _is_cheap(array: xr.DataArray, pixels: int) -> bool:
    """Return whether few pixels are needed, and they are in memory or stored: no step computes."""
    if pixels > MOST_PIXELS:
        return False
    if array.chunks is None:
        return True
    names = {str(name) for name in array.data.dask.layers}
    stored = ("array-", "from-zarr", "from_array", "getitem", "open_dataset", "xarray-")
    return array.size <= 16 * MOST_PIXELS and all(name.startswith(stored) for name in names)
