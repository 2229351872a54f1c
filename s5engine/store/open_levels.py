"""Open a pyramid: the levels of a volume or of a run's ink, lazily, finest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s5engine.address import place_of
from s5engine.errors import StoreError
from s5engine.store.axes import Places, axis_places
from s5engine.store.chunk_keys import check_chunks
from s5engine.store.files import open_zarr_node
from s5engine.store.halve import centres
from s5engine.store.levels import INK, INK_LEVELS, LEVEL_BLOCK
from s5engine.store.named_array import open_named
from s5engine.store.nodes import find_member
from s5engine.store.ome import Level, level_zero, read_levels, read_record
from s5engine.store.origins import remember
from s5engine.store.present import Present, read_present
from s5engine.store.stored_array import StoredArray
from s5engine.store.volume import image_in, lazy_layers, open_volume

if TYPE_CHECKING:
    import xarray as xr
    import zarr

    from s5engine.address import StorageOptions


def open_pyramid(
    store: str | Path,
    *,
    storage_options: StorageOptions | None = None,
    partial: bool = False,
) -> list[xr.DataArray]:
    """Open the levels of a volume or of a run's ink, lazily, finest first.

    Parameters
    ----------
    store : str or Path
        Whatever `open_volume` takes (others' OME-Zarr with levels among it), a run's folder, or
        its ``ink.zarr``; an address works as well.
    storage_options : mapping, optional
        Passed to fsspec for an address.
    partial : bool
        Open an unfinished store too, and levels that are not whole yet and therefore not listed;
        what is not there reads as 0.

    Returns
    -------
    list of (layer | window, y, x) DataArray, dask-backed
        The first is the full resolution, as `open_volume` or `Run.ink` gives it; a store without
        coarser levels gives it alone. ``y`` and ``x`` of level l are the centres of its pixels in
        segment pixels, y0 + (i + 0.5) · 2^l − 0.5; ``attrs["reduction"]`` is 2^l.

    Raises
    ------
    StoreError
        If nothing is there, it is unfinished, or it is not a volume.
    """
    import zarr

    place = place_of(store)
    if isinstance(place, Path) and (place / "ink.zarr").is_dir():
        place = place / "ink.zarr"
    node = open_zarr_node(place, storage_options)
    if isinstance(node, zarr.Group):
        node = image_in(node, str(place))
    places: Places = 0, 1, 2
    if isinstance(node, zarr.Group) and find_member(node, INK) is not None:
        full = remember(open_named(node, INK), place)
        if full.dims != ("window", "y", "x"):
            raise StoreError(f"{place} is damaged: its ink has the axes {full.dims}.")
    else:
        full = open_volume(place, storage_options=storage_options, partial=partial)
        if isinstance(node, zarr.Group) and (told := level_zero(dict(node.attrs))):
            array = find_member(node, told[0])
            if isinstance(array, zarr.Array):
                places = axis_places(array, told[1], str(place))
    levels = [full.assign_attrs(reduction=1)]
    if not isinstance(node, zarr.Group):
        return levels
    first, *coarser = read_levels(dict(node.attrs)) or [Level("", ())]
    if partial and (begun := _begun(node)):
        first, coarser = Level("", (1.0, 1.0, 1.0)), begun
    for level in coarser:
        array = find_member(node, level.path)
        if isinstance(array, zarr.Array):
            present = None if partial else read_present(node, array)
            # Ink may be 0 everywhere.
            if not partial and present is None and full.dims[0] != "window":
                array = check_chunks(array, f"{place}/{level.path}")
            scales = first.scale, level.scale
            levels.append(_open_level(full, array, places, scales, partial, present))
    return levels


def _begun(group: zarr.Group) -> list[Level]:
    """Return the levels of a store of ours that are there, whole or not."""
    is_ink = find_member(group, INK) is not None
    if not is_ink and read_record(dict(group.attrs), "") is None:
        return []
    folder = f"{INK_LEVELS}/" if is_ink else ""
    found, number = [], 1
    while find_member(group, path := f"{folder}{number}") is not None:
        found.append(Level(path, (1.0, 2.0**number, 2.0**number)))
        number += 1
    return found


def _open_level(
    full: xr.DataArray,
    array: zarr.Array[Any],
    places: Places,
    scales: tuple[Sequence[float], Sequence[float]],
    partial: bool,
    present: Present | None,
) -> xr.DataArray:
    """Return a coarser level with the places of its pixels."""
    import dask.array as da
    import xarray as xr

    base_scale, scale = scales
    if len(array.shape) <= max(places) or sum(side > 1 for side in array.shape) > 3:
        raise StoreError(f"The level {array.path} of {array.shape} is none of {full.shape}.")
    if full.dims[0] == "window":
        stored = StoredArray(array, partial=True, present=present)
        data = da.from_array(stored, chunks=(1, LEVEL_BLOCK, LEVEL_BLOCK), inline_array=True)
    else:
        data = lazy_layers(array, places, partial=partial, present=present)
    coords, ratios = {}, []
    for axis, (dim, place) in enumerate(zip(full.dims, places, strict=True)):
        if place < min(len(scale), len(base_scale)) and base_scale[place] > 0:
            ratio = scale[place] / base_scale[place]
        else:
            ratio = float(round(full.shape[axis] / data.shape[axis]))
        ratios.append(ratio)
        values = full[dim].values
        if axis or data.shape[0] != full.shape[0]:
            step = (values[-1] - values[0]) / max(len(values) - 1, 1) if len(values) > 1 else 1.0
            values = centres(float(values[0]), float(step), ratio, data.shape[axis])
        coords[dim] = values
    attrs = {**full.attrs, "reduction": round(ratios[1])}
    return xr.DataArray(data, dims=full.dims, coords=coords, name=full.name, attrs=attrs)
