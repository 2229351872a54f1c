"""Arrays that lie in a group beside the coordinates of their axes: a run's ink and tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import StoreError
from s5engine.foreign import as_attributes
from s5engine.store.nodes import find_member
from s5engine.store.present import read_present
from s5engine.store.stored_array import StoredArray, read_whole

if TYPE_CHECKING:
    import xarray as xr
    import zarr


def open_named(group: zarr.Group, name: str, *, task: str | None = None) -> xr.DataArray:
    """Open an array of a group with the names and coordinates of its axes, lazily.

    Parameters
    ----------
    group : zarr Group
        Holds the array, and arrays of coordinates named as its axes.
    name : str
        Of the array; its metadata name its axes.
    task : str, optional
        What the tasks that read it are called.

    Raises
    ------
    StoreError
        If it is not there, or its coordinates do not fit.
    """
    import dask.array as da
    import xarray as xr
    import zarr

    where = f"{group.store}/{group.path}".removeprefix("file://").rstrip("/")
    array = find_member(group, name)
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{where} is damaged: it holds no array {name!r}.", "Write it again.")
    metadata: Any = array.metadata
    dims = tuple(getattr(metadata, "dimension_names", None) or ())
    named = all(isinstance(dim, str) for dim in dims) and len(set(dims)) == array.ndim
    if not named or array.dtype.kind != "f":
        raise StoreError(
            f"{where}/{name} is damaged: {array.dtype} with the axes {dims} are no predictions.",
            "Write it again.",
        )
    places = {
        dim: _places(group, dim, length, where)
        for dim, length in zip(dims, array.shape, strict=True)
        if find_member(group, dim) is not None
    }
    stored = StoredArray(array, partial=True, present=read_present(group, array))
    data = da.from_array(stored, chunks=array.chunks, inline_array=True, name=task)
    return xr.DataArray(
        data, dims=dims, coords=places, name=name, attrs=as_attributes(dict(array.attrs))
    )


def _places(group: zarr.Group, dim: str, length: int, where: str) -> np.ndarray:
    """Return the coordinates of an axis, one number for each pixel."""
    import zarr

    found = find_member(group, dim)
    if isinstance(found, zarr.Array) and found.shape == (length,) and found.dtype.kind in "iuf":
        values = read_whole(found, read_present(group, found))
        if np.isfinite(values).all():
            return values
    raise StoreError(
        f"{where}/{dim} is damaged: it does not hold {length} numbers.", "Write it again."
    )
