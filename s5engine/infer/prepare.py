"""Arguments of a prediction → a `Prediction`: checked, and in blocks that fit the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s5engine.budget import resolve_budget
from s5engine.geometry import Edge, TileAxis
from s5engine.infer.arguments import Mask, check_volume, lazy_mask, pick_layers, whole
from s5engine.infer.memory_plan import plan_memory
from s5engine.infer.prediction import Prediction
from s5engine.infer.tile_array import grid_of, provenance
from s5engine.infer.tiles import STATISTICS, TileTask
from s5engine.infer.tta import views

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.model.ink_model import InkModel


def prepare(
    volume: xr.DataArray,
    model: InkModel,
    *,
    windows: Sequence[int],
    stride: int,
    tta: int,
    mask: Mask,
    edge: Edge,
    batch: int | None,
    precision: str,
    budget: int | str | None,
    spread: bool,
) -> Prediction:
    """Return what `predict_tiles` is asked to do, checked, in blocks that fit the budget.

    Raises
    ------
    InvalidArgumentError, BudgetError
        As `predict_ink`.
    """
    check_volume(volume)
    views(tta)
    stride, tta = whole("stride", stride), int(tta)
    model = model if precision == "auto" else model.with_precision(precision)
    picked, positions = pick_layers(volume, windows, model.layers)
    axis_y, axis_x = (TileAxis(n, model.tile, stride, edge) for n in volume.shape[1:])
    kept = len(STATISTICS) if spread else 1
    memory = plan_memory(
        picked, model, maps=len(positions) * kept, stride=stride, batch=batch, budget=budget
    )
    size, batch = memory.block, memory.batch
    task = TileTask(
        model,
        axis_y,
        axis_x,
        axis_y.block_step(size),
        axis_x.block_step(size),
        positions,
        tta,
        batch,
    )
    attrs = (
        provenance(volume, model)
        | grid_of(task, windows, mask)
        | {
            "y0": int(volume.y[0]),
            "x0": int(volume.x[0]),
            "budget": resolve_budget(budget),
        }
    )
    if spread:
        attrs["spread"] = True
    wanted = None if mask is None else lazy_mask(mask, volume)
    firsts = tuple(int(window) for window in windows)
    return Prediction(picked, wanted, firsts, task, spread, attrs, memory)
