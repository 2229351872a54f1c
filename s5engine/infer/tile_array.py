"""Tile predictions as an array that says of itself what it is: its grid, origin and statistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from s5engine.alignment import is_reversed
from s5engine.errors import InvalidArgumentError
from s5engine.geometry import TileAxis
from s5engine.infer.arguments import Mask
from s5engine.infer.tiles import STATISTICS, TileTask
from s5engine.store.identity import pixels_identity

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.model.ink_model import InkModel

#: What a map shows: the mean over the views of test-time augmentation, or their disagreement.
Statistic = Literal["mean", "spread"]


def tiles_array(data: Any, attrs: dict[str, Any], axes: Sequence[TileAxis]) -> xr.DataArray:
    """Return tile predictions with their coordinates."""
    import xarray as xr

    both = len(data.shape) == 6
    return xr.DataArray(
        data,
        dims=("window", "tile_y", "tile_x", "v", "u", *(["statistic"] if both else [])),
        coords=({"statistic": list(STATISTICS)} if both else {})
        | {
            "window": attrs["windows"],
            "tile_y": attrs["y0"] + axes[0].origins,
            "tile_x": attrs["x0"] + axes[1].origins,
        },
        name="tiles",
        attrs=attrs,
    )


def one_statistic(tiles: xr.DataArray, statistic: str | None) -> xr.DataArray:
    """Return the tiles with the wanted statistic alone; tiles that hold one are checked."""
    if statistic not in (None, *STATISTICS):
        raise InvalidArgumentError(f'statistic is "mean" or "spread", not {statistic!r}.')
    if "statistic" in getattr(tiles, "dims", ()):
        return pick_statistic(tiles, statistic or STATISTICS[0])
    held = getattr(tiles, "attrs", {}).get("statistic", STATISTICS[0])
    if statistic not in (None, held):
        raise InvalidArgumentError(
            f"These tiles hold the {held}, not the {statistic}.",
            "Blend Run.spread for the spread and Run.tiles for the ink; runs have a spread if they "
            "were predicted with their spread.",
        )
    return tiles


def pick_statistic(tiles: xr.DataArray, statistic: str) -> xr.DataArray:
    """Return the mean or the spread of tiles that hold both; the spread says so in ``attrs``."""
    picked = tiles.isel(statistic=STATISTICS.index(statistic), drop=True)
    return picked if statistic == STATISTICS[0] else picked.assign_attrs(statistic=statistic)


def check_tiles(tiles: xr.DataArray) -> None:
    """Refuse what cannot be tile predictions: other dims, or no grid in ``attrs``."""
    wanted = ("window", "tile_y", "tile_x", "v", "u")
    grid = ("height", "width", "tile", "stride", "edge", "y0", "x0")
    if getattr(tiles, "dims", None) != wanted or any(name not in tiles.attrs for name in grid):
        raise InvalidArgumentError(
            f"Tile predictions have the dims {wanted}, and their grid in attrs.",
            "Blend what predict_tiles returns or run.tiles; choose windows with a list: "
            "tiles.sel(window=[3]).",
        )


def grid_of(task: TileTask, windows: Sequence[int], mask: Mask) -> dict[str, Any]:
    """Return what the tile predictions must say of themselves to be blended, or made again."""
    return {
        "windows": [int(w) for w in windows],
        "tile": task.model.tile,
        "reduction": task.model.reduction,
        "stride": task.y.stride,
        "edge": task.y.edge,
        "tta": task.tta,
        "batch": task.batch,
        "mask": _mask_token(mask),
        "block": [task.step_y, task.step_x],
        "height": task.y.length,
        "width": task.x.length,
    }


def _mask_token(mask: Mask) -> str | None:
    """Return what tells one papyrus mask from another in a run's record."""
    from dask.base import tokenize

    if mask is None:
        return None
    values: Any = getattr(mask, "data", mask) if not isinstance(mask, np.ndarray) else mask
    name = getattr(values, "name", None)
    return str(name) if name else str(tokenize(values))


def provenance(volume: xr.DataArray, model: InkModel) -> dict[str, Any]:
    """Return what the ink should remember of where it comes from."""
    names = ("segment", "source", "fingerprint", "contrast", "limits", "part")
    kept = {name: volume.attrs[name] for name in names if name in volume.attrs}
    if is_reversed(volume):  # named only where it is so: other runs keep the record that they had
        kept["reversed"] = True
    return kept | {
        "volume": pixels_identity(volume),
        "network": model.identity,
        "checkpoint": model.name,
        "checkpoint_sha256": model.sha256,
        "device": str(model.device),
        "precision": model.precision,
    }
