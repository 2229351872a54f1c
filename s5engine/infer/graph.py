"""The two map_overlaps: volume → tile predictions → ink, lazily.

The network runs once for every tile of one global grid: a tile belongs to the block that holds its
top-left corner. The blocks of the first step read a halo to the right and below; those of the
second take the tiles of their neighbours above and to the left that reach into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.errors import InvalidArgumentError
from s5engine.foreign import as_attributes
from s5engine.geometry import Edge, TileAxis
from s5engine.infer.arguments import Mask, model_of
from s5engine.infer.blend import BlendTask, blend_block
from s5engine.infer.memory import BLOCK_SIZES
from s5engine.infer.prediction import Prediction, blended_as, predicted
from s5engine.infer.prepare import prepare
from s5engine.infer.taper import Taper, taper_weights
from s5engine.infer.tile_array import (
    Statistic,
    check_tiles,
    one_statistic,
    tiles_array,
)
from s5engine.infer.tiles import STATISTICS, predict_block
from s5engine.runtime.clients import current_client, needed_resources

if TYPE_CHECKING:
    from pathlib import Path

    import dask.array as da
    import xarray as xr

    from s5engine.model.ink_model import InkModel


#: What the steps are called in the graphs of lazy arrays, and on the dashboard.
PREDICT_STEP, BLEND_STEP = "predict-tiles", "blend"


def predict_ink(
    volume: xr.DataArray,
    model: InkModel | str | Path,
    *,
    windows: Sequence[int],
    stride: int = 64,
    tta: int = 1,
    taper: Taper = "gaussian",
    mask: Mask = None,
    edge: Edge = "cover",
    batch: int | None = None,
    precision: str = "auto",
    budget: int | str | None = None,
    spread: bool = False,
) -> xr.DataArray:
    """Return the ink of a volume, lazily: nothing runs until it is computed or written.

    Parameters
    ----------
    volume : (layer, y, x) DataArray, uint8
        A contrasted surface volume, or a crop of one.
    model : InkModel, or str or Path
        Or the path of a checkpoint, which is loaded as `load_checkpoint` does by itself.
    windows : sequence of int
        First layer number of each layer window.
    stride : int
        Step between tiles, px; it divides the tile size.
    tta : int
        Test-time augmentation: 0–3 as in 2025 (none, + horizontal flip, + vertical flip, + quarter
        turn), 8 for all symmetries of the square.
    taper : {"gaussian", "hann", "uniform"}
        Weights where tiles overlap.
    mask : (y, x) bool array or None
        Papyrus mask; tiles without papyrus are skipped and their pixels stay 0.
    edge : {"cover", "drop"}
        ``"cover"`` predicts every pixel; ``"drop"`` leaves what lies past the last full tile at 0,
        as in 2025.
    batch : int, optional
        Tiles per forward pass; chosen by the device when None.
    precision : str
        ``"auto"``: the model's own, which is half precision on CUDA and float32 elsewhere unless
        it was set; or another name that `InkModel.with_precision` knows.
    budget : int or str, optional
        Memory that the run may use, bytes or text such as ``"8 GiB"``; it sets the block size.
    spread : bool
        Keep beside each tile's mean how far the views of test-time augmentation disagree; the ink
        is the same to the bit, and a run of it has `Run.spread`.

    Returns
    -------
    (window, y, x) DataArray, float32
        Probability of ink in [0, 1], with the volume's ``y`` and ``x``.

    Raises
    ------
    InvalidArgumentError
        If the arguments do not fit each other.
    BudgetError
        If not even the smallest block fits the budget.
    """
    model = model_of(model)
    taper_weights(taper, model.tile)
    tiles = predict_tiles(
        volume,
        model,
        windows=windows,
        stride=stride,
        tta=tta,
        mask=mask,
        edge=edge,
        batch=batch,
        precision=precision,
        budget=budget,
        spread=spread,
    )
    return blend(tiles, taper=taper)


def predict_tiles(
    volume: xr.DataArray,
    model: InkModel,
    *,
    windows: Sequence[int],
    stride: int = 64,
    tta: int = 1,
    mask: Mask = None,
    edge: Edge = "cover",
    batch: int | None = None,
    precision: str = "auto",
    budget: int | str | None = None,
    spread: bool = False,
) -> xr.DataArray:
    """Return the predictions of every tile before blending, lazily; see `predict_ink`.

    Returns
    -------
    (window, tile_y, tile_x, v, u) DataArray, float32
        Each tile's P/4 × P/4 map, mean over TTA, NaN where a tile was skipped. ``tile_y`` and
        ``tile_x`` are the tiles' first pixels in the segment; ``attrs`` holds the grid. With
        ``spread`` there is a last dim ``statistic``, ``["mean", "spread"]``: the spread is the
        population standard deviation over the views of test-time augmentation, in [0, 0.5], and 0
        at ``tta=0``.

    Raises
    ------
    InvalidArgumentError, BudgetError
        As `predict_ink`.
    """
    prediction = prepare(
        volume,
        model,
        windows=windows,
        stride=stride,
        tta=tta,
        mask=mask,
        edge=edge,
        batch=batch,
        precision=precision,
        budget=budget,
        spread=spread,
    )
    lazy = tiles_array(_lazy_tiles(prediction), dict(prediction.attrs), prediction.axes)
    return predicted(lazy, prediction)


def _lazy_tiles(prediction: Prediction) -> da.Array:
    """Return the predictions as an array that is computed where somebody looks at it."""
    import dask
    import dask.array as da

    task, (blocks_y, blocks_x) = prediction.task, prediction.blocks
    grid = (blocks_y.pixels, blocks_x.pixels)
    after = (0, task.model.tile - task.y.stride)
    pixels = prediction.volume.chunk({"layer": -1, "y": grid[0], "x": grid[1]}).data
    inputs = [_with_halo(pixels, (0, 0), after)]
    if prediction.mask is not None:
        inputs.append(_with_halo(prediction.mask.rechunk(grid), (0, 0), after))
    spread = prediction.spread
    resources = needed_resources(current_client(), str(task.model.device))
    with dask.annotate(resources=resources) if resources else nullcontext():
        return da.map_blocks(
            predict_block,
            *inputs,
            task=task,
            num_blocks=prediction.counts,
            name=f"{PREDICT_STEP}-{prediction.identity}",
            chunks=(
                (len(task.windows),),
                blocks_y.tiles,
                blocks_x.tiles,
                (task.map_size,),
                (task.map_size,),
                *([(len(STATISTICS),)] if spread else []),
            ),
            new_axis=[3, 4, 5] if spread else [3, 4],
            dtype=np.float32,
            meta=np.empty((0,) * (6 if spread else 5), np.float32),
            spread=spread,
        )


def blend(
    tiles: xr.DataArray, *, taper: Taper = "gaussian", statistic: Statistic | None = None
) -> xr.DataArray:
    """Return the ink of tile predictions, lazily, or the map of their spread.

    Parameters
    ----------
    tiles : (window, tile_y, tile_x, v, u) or (…, v, u, statistic) DataArray
        From `predict_tiles`, in memory, lazy or opened from a run, over the whole grid; windows
        may be selected.
    taper : {"gaussian", "hann", "uniform"}
        Weights where tiles overlap.
    statistic : {"mean", "spread"}, optional
        What to blend of tiles that hold both; the mean by default. `Run.tiles` and `Run.spread`
        hold one, which is what is blended.

    Returns
    -------
    (window, y, x) DataArray, float32
        Ink in [0, 1], or its spread in [0, 0.5]; 0 where no tile lies.

    Raises
    ------
    InvalidArgumentError
        If the taper is unknown, tiles are missing from the grid, or they lack the statistic.
    """
    import dask.array as da
    import xarray as xr
    from dask.base import tokenize

    whole, tiles = tiles, one_statistic(tiles, statistic)
    check_tiles(tiles)
    attrs = dict(tiles.attrs)
    axis_y, axis_x = (
        TileAxis(attrs[side], attrs["tile"], attrs["stride"], attrs["edge"])
        for side in ("height", "width")
    )
    taper_weights(taper, axis_y.tile)
    origins = (attrs["y0"] + axis_y.origins, attrs["x0"] + axis_x.origins)
    if not all(map(np.array_equal, (tiles.tile_y, tiles.tile_x), origins)):
        raise InvalidArgumentError(
            f"These are {tiles.sizes['tile_y']} × {tiles.sizes['tile_x']} tiles of a grid of "
            f"{axis_y.count} × {axis_x.count}, or in another order.",
            "Blend all of them and slice the ink.",
        )
    sizes = [_stored_step(tiles, d, a) for d, a in (("tile_y", axis_y), ("tile_x", axis_x))]
    blocks_y, blocks_x = axis_y.blocks(sizes[0]), axis_x.blocks(sizes[1])
    data = tiles.chunk(
        {"window": -1, "tile_y": blocks_y.tiles, "tile_x": blocks_x.tiles, "v": -1, "u": -1}
    ).data
    task = BlendTask(axis_y, axis_x, sizes[0], sizes[1], taper)
    ink = da.map_blocks(
        blend_block,
        _with_halo(data, (axis_y.tile // axis_y.stride - 1, 0), (0, 0)),
        task=task,
        num_blocks=(len(blocks_y.pixels), len(blocks_x.pixels)),
        name=f"{BLEND_STEP}-{tokenize(data.name, task)}",
        chunks=(data.chunks[0], blocks_y.pixels, blocks_x.pixels),
        drop_axis=[3, 4],
        dtype=np.float32,
        meta=np.empty((0,) * 3, np.float32),
    )
    found = xr.DataArray(
        ink,
        dims=("window", "y", "x"),
        coords={
            "window": tiles.window.values,
            "y": attrs["y0"] + np.arange(axis_y.length),
            "x": attrs["x0"] + np.arange(axis_x.length),
        },
        name=attrs.get("statistic", "ink"),
        attrs=as_attributes(attrs | {"taper": taper}),
    )
    held = attrs.get("statistic", STATISTICS[0])
    return predicted(found, blended_as(whole, taper, held))


def _with_halo(array: da.Array, before: tuple[int, int], after: tuple[int, int]) -> da.Array:
    """Return the blocks with neighbours' borders along the two grid axes.

    ``before[0]`` elements are taken from the block before, ``after[1]`` from the one after; where
    an axis is a single block it has no neighbour.
    """
    import dask.array as da

    first = 1 if array.ndim != 2 else 0
    depth: dict[int, Any] = dict.fromkeys(range(array.ndim), 0)
    for axis in (first, first + 1):
        if array.numblocks[axis] > 1:
            depth[axis] = (before[0], after[1])
    return da.overlap.overlap(array, depth=depth, boundary="none", allow_rechunk=False)


def _stored_step(tiles: xr.DataArray, dim: str, axis: TileAxis) -> int:
    """Return the block step that the tiles' own blocks suggest, px."""
    if tiles.chunks is None:
        return axis.block_step(BLOCK_SIZES[0])
    return axis.block_step(tiles.chunksizes[dim][0] * axis.stride)
