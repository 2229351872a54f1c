"""Parts: the 10,000-px-wide column pieces of a segment, as lazy slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s5engine.geometry import PART_WIDTH, part_columns
from s5engine.ops.alignment import check_neighbours

if TYPE_CHECKING:
    import xarray as xr


def parts(
    volume: xr.DataArray, width: int = PART_WIDTH, *, first_offset: int = 0
) -> dict[int, xr.DataArray]:
    """Return the volume's parts, numbered from 1, without reading or copying anything.

    Parameters
    ----------
    volume : (layer, y, x) DataArray
        A surface volume or a crop of one: parts are counted in segment pixels (the ``x``
        coordinate), so that a crop's parts keep their numbers.
    width : int
        Width of a part, px.
    first_offset : int
        The first part is this much narrower, ``0 <= first_offset < width``.

    Returns
    -------
    dict of int to DataArray
        Only the parts that the volume touches; ``attrs["part"]`` is the number.

    Raises
    ------
    InvalidArgumentError
        If the width or the offset do not fit, or the columns are not neighbours.
    """
    if not volume.sizes["x"]:
        return {}
    check_neighbours(volume)
    start, stop = int(volume.x[0]), int(volume.x[-1]) + 1
    result = {}
    for number, (x0, x1) in part_columns(stop, width, first_offset).items():
        if x1 > start:
            piece = volume.isel(x=slice(max(x0 - start, 0), x1 - start))
            result[number] = piece.assign_attrs(part=number)
    return result
