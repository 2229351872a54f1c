"""Lazy arrays that know what they were made from, and tell it by construction.

A graph says how an array is computed, not what it is: searching one for a verb breaks with the next
version of dask. An array that this package makes therefore carries its origin. Any chain of `isel`
and `sel` keeps that, as do copies with the same pixels and other attributes; arithmetic and all
else give an array of the same class without it: one in its own right.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr

Origin = TypeVar("Origin")


@dataclass(frozen=True)
class _Note:
    """An array's origin, and how the array was when that was noted."""

    origin: object
    name: str
    places: Mapping[Hashable, np.ndarray]


class Known(xr.DataArray):  # type: ignore[no-untyped-call]  # xarray's hook has no types
    """A lazy array that may know its origin; see `origin_of`."""

    __slots__ = ("_note",)

    def __repr__(self) -> str:
        return repr(self._plain())

    def _repr_html_(self) -> str:
        return str(self._plain()._repr_html_())  # type: ignore[no-untyped-call]  # xarray

    def _plain(self) -> xr.DataArray:
        """Return it as people know it."""
        return xr.DataArray(self.variable, self.coords, name=self.name)

    def isel(self, *args: Any, **kwargs: Any) -> Any:
        """Return a crop, as `xarray.DataArray.isel`."""
        return _passed_on(self, super().isel(*args, **kwargs))

    def sel(self, *args: Any, **kwargs: Any) -> Any:
        """Return a crop, as `xarray.DataArray.sel`."""
        return _passed_on(self, super().sel(*args, **kwargs))

    def copy(self, deep: bool = True, data: Any = None) -> Any:
        """Return a copy, as `xarray.DataArray.copy`."""
        copied = super().copy(deep=deep, data=data)
        return copied if data is not None else _passed_on(self, copied)


def known(array: xr.DataArray, origin: object, kind: type[Known] = Known) -> Known:
    """Return a lazy array that knows its origin: what all of its pixels are, by its coordinates."""
    made = kind(array.variable, array.coords, name=array.name)
    _write(made, origin)
    return made


def origin_of(array: xr.DataArray, kind: type[Origin]) -> Origin | None:
    """Return the origin of an array or of a crop of one; None if it is computed from it.

    Nor if it was changed in place since. Which part of its origin an array is, its coordinates say:
    `isel` also turns it and leaves pixels out, see `is_box`.
    """
    note: _Note | None = getattr(array, "_note", None)
    if note is None or getattr(array.data, "name", None) != note.name:
        return None
    places = _places(array)
    same = places.keys() == note.places.keys() and all(
        np.array_equal(values, note.places[dim]) for dim, values in places.items()
    )
    return note.origin if same and isinstance(note.origin, kind) else None


def is_box(array: xr.DataArray) -> bool:
    """Whether an array's rows and columns follow each other: none is left out, none turned."""
    return all(
        array.sizes[side] > 0 and bool((np.diff(array[side].values) == 1).all()) for side in "yx"
    )


def _places(array: xr.DataArray) -> dict[Hashable, np.ndarray]:
    return {dim: array[dim].values for dim in array.dims if dim in array.coords}


def _write(array: Known, origin: object) -> None:
    array._note = _Note(origin, str(array.data.name), _places(array))


def _passed_on(source: Known, result: xr.DataArray) -> xr.DataArray:
    """Return a crop with its source's origin, if it still has all dims and is lazy."""
    origin = origin_of(source, object)
    if (
        origin is not None
        and isinstance(result, Known)
        and result.chunks is not None
        and result.dims == source.dims
    ):
        _write(result, origin)
    return result
