"""Parts: the 10,000-px-wide column pieces of a segment, as lazy slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s5engine.alignment import check_dims, check_neighbours
from s5engine.errors import PartNotFoundError
from s5engine.foreign import brief
from s5engine.geometry import PART_WIDTH, part_columns

if TYPE_CHECKING:
    import xarray as xr


class Parts(dict[int, "xr.DataArray"]):
    """Parts of a volume by their numbers; of one that it has not, it says which it has."""

    def __missing__(self, number: object) -> xr.DataArray:
        has = f"the parts {min(self)}…{max(self)}" if self else "none"
        raise PartNotFoundError(
            f"There is no part {brief(number)}: the volume has {has}.",
            "Parts are numbered from 1, and a part is as wide as the argument width.",
        )


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
        Only the parts that the volume touches; ``attrs["part"]`` is the number. Asked for another
        one it raises a `PartNotFoundError`, which is a KeyError.

    Raises
    ------
    InvalidArgumentError
        If the width or the offset do not fit, or the columns are not neighbours.
    """
    if "x" not in getattr(volume, "dims", ()):  # masks (y, x) have parts too
        check_dims(volume, "parts")
    if not volume.sizes["x"]:
        return Parts()
    check_neighbours(volume)
    start, stop = int(volume.x[0]), int(volume.x[-1]) + 1
    result = Parts()
    for number, (x0, x1) in part_columns(stop, width, first_offset).items():
        if x1 > start:
            piece = volume.isel(x=slice(max(x0 - start, 0), x1 - start))
            result[number] = piece.assign_attrs(part=number)
    return result
