"""Which axes of a zarr array are layer, y and x: their names say it, and sizes only where none do.

Names are in three places: OME's axes, the array's own ``dimension_names`` (Zarr v3) and
``_ARRAY_DIMENSIONS`` (xarray's, Zarr v2). They may not contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine import console
from s5engine.errors import StoreError
from s5engine.foreign import as_attributes, brief

if TYPE_CHECKING:
    import xarray as xr
    import zarr

#: Indices of the axes layer, y and x.
Places = tuple[int, int, int]
#: What axes are called, by what they are; ``other`` is none of the three.
_CALLED = {
    "layer": {
        "z",
        "depth",
        "layer",
        "layers",
        "slice",
        "slices",
        "plane",
        "planes",
        "section",
        "sections",
        "d",
        "w_depth",
        "zdim",
        "z_axis",
        "dim_z",
    },
    "y": {"y", "row", "rows", "height", "h", "v", "ydim", "y_axis", "dim_y", "lat", "latitude"},
    "x": {
        "x",
        "column",
        "columns",
        "col",
        "cols",
        "width",
        "w",
        "u",
        "xdim",
        "x_axis",
        "dim_x",
        "lon",
        "longitude",
    },
    "other": {"t", "time", "c", "channel", "channels", "s", "sample", "samples", "series", "batch"},
}
_ROLES = {name: role for role, names in _CALLED.items() for name in names}


def role_of(name: Any) -> str:
    """Return what an axis of this name is: ``layer``, ``y``, ``x``, ``other``, or nothing.

    Examples
    --------
    >>> role_of("Depth"), role_of("dim_0")
    ('layer', '')
    """
    return _ROLES.get(name.strip().lower(), "") if isinstance(name, str) else ""


def own_names(array: zarr.Array[Any]) -> tuple[Any, ...]:
    """Return the names that an array itself has for its axes; none if it has none."""
    metadata: Any = array.metadata
    found = (
        metadata.dimension_names
        if metadata.zarr_format == 3
        else dict(array.attrs).get("_ARRAY_DIMENSIONS")
    )
    return tuple(found) if isinstance(found, list | tuple) else ()


def axis_roles(array: zarr.Array[Any], told: Sequence[str], where: str) -> list[str]:
    """Return what each axis is by its names, as `role_of` has it.

    Parameters
    ----------
    array : zarr Array
    told : sequence of str
        OME's names of its axes, if there are any.
    where : str
        What it is called in messages.

    Raises
    ------
    StoreError
        If the names are too many or too few, or contradict each other.
    """
    roles = [""] * array.ndim
    for names in (tuple(told), own_names(array)):
        if not names:
            continue
        if len(names) != array.ndim:
            raise _contradiction(where, f"{len(names)} names {brief(names)} for {array.ndim} axes")
        for axis, role in enumerate(map(role_of, names)):
            if role and roles[axis] and role != roles[axis]:
                both = f"{brief(tuple(told))} and {brief(own_names(array))}"
                raise _contradiction(where, f"two names for axis {axis}: {both}")
            roles[axis] = roles[axis] or role
    for role in ("layer", "y", "x"):
        if roles.count(role) > 1:
            raise _contradiction(where, f"more than one axis for {role}: {brief(roles)}")
    return roles


def axis_places(array: zarr.Array[Any], told: Sequence[str], where: str) -> Places:
    """Return which axes of an array are layer, y and x; further ones have the length 1.

    Names say it. Where they do not, the shortest axis is the layers' (the first among equals), the
    others keep their order, and a line on the terminal says so.

    Parameters
    ----------
    array, told, where :
        As `axis_roles` takes them.

    Raises
    ------
    StoreError
        If the names contradict each other, or more than three axes are longer than 1.
    """
    roles = axis_roles(array, told, where)
    kept = _three(array.shape, roles, where)
    found = {roles[axis]: axis for axis in kept if roles[axis] in ("layer", "y", "x")}
    unnamed = [axis for axis in kept if roles[axis] not in found]
    if "layer" not in found:
        found["layer"] = min(unnamed, key=lambda axis: array.shape[axis])
        if len(unnamed) > 1:
            _say_once(
                f"{where}: the axes of {array.shape} have no names; the shortest, of "
                f"{array.shape[found['layer']]}, is taken for the layers'"
            )
        unnamed.remove(found["layer"])
    for role in ("y", "x"):
        if role not in found:
            found[role] = unnamed.pop(0)
    return found["layer"], found["y"], found["x"]


def _three(shape: Sequence[int], roles: Sequence[str], where: str) -> list[int]:
    """Return the three axes that are left without surplus ones, which have the length 1."""
    kept = list(range(len(shape)))
    for surplus in ("other", ""):
        for axis in range(len(shape)):
            if len(kept) > 3 and shape[axis] == 1 and roles[axis] == surplus:
                kept.remove(axis)
    if len(kept) != 3:
        named = f", whose axes are {brief(list(roles))}" if any(roles) else ""
        raise StoreError(
            f"The array {where} has the shape {tuple(shape)}{named}; a surface volume has three "
            "axes, layer, y and x.",
            "Give the path of a three-dimensional array.",
        )
    return kept


def _contradiction(where: str, what: str) -> StoreError:
    return StoreError(
        f"The metadata of {where} contradict each other: {what}.",
        "Name its axes z, y and x in their order (dimension_names in zarr.json, "
        "_ARRAY_DIMENSIONS in .zattrs, axes in OME's multiscales).",
    )


@cache
def _say_once(message: str) -> None:
    console.say(message)


def label_volume(
    data: Any,
    *,
    segment: str,
    source: str,
    layers: Sequence[int] | None = None,
    y0: int = 0,
    x0: int = 0,
    contrast: Any = None,
) -> xr.DataArray:
    """Give an array (layer, y, x) the names, coordinates and attributes of a surface volume."""
    import xarray as xr

    count, height, width = data.shape
    return xr.DataArray(
        data,
        dims=("layer", "y", "x"),
        coords={
            "layer": np.arange(count) if layers is None else np.asarray(layers, np.int64),
            "y": np.arange(y0, y0 + height),
            "x": np.arange(x0, x0 + width),
        },
        name=segment,
        attrs=as_attributes({"segment": segment, "source": source, "contrast": contrast}),
    )
