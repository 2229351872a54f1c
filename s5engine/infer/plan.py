"""What a prediction will cost, told before any pixel is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.budget import format_bytes, resolve_budget
from s5engine.console import as_html, format_seconds, table
from s5engine.geometry import Edge
from s5engine.infer.arguments import Mask, model_of
from s5engine.infer.memory import InferenceMemory
from s5engine.infer.memory_plan import count_workers, waiting_bytes
from s5engine.infer.prepare import prepare
from s5engine.infer.taper import Taper, taper_weights
from s5engine.infer.tta import views

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.model.ink_model import InkModel
    from s5engine.source.listing import LayerIndex

#: Batches that are timed after one that warms up.
_TIMED_BATCHES = 3


@dataclass(frozen=True)
class Plan:
    """What a prediction will cost; ``print`` it for a table.

    Attributes
    ----------
    fetch_bytes : int or None
        To fetch from the layer files; None if no source was given.
    read_bytes : int
        Pixels of the volume that are read, uncompressed, at most.
    tiles : int
        Tiles of the grid in each layer window; with a papyrus mask, at most.
    windows, views : int
        Layer windows, and views of test-time augmentation.
    flops : int or None
        Floating-point operations in all; None for a wrapped callable.
    blocks, block, batch : int
        Blocks of the volume, their side in px, and tiles per forward pass.
    disk_bytes : dict of str to int
        Disk that the run's products take at most, uncompressed, by name.
    memory : InferenceMemory
        Projected for each worker.
    workers : int
        Processes that compute; 1 on threads.
    waiting_bytes : int
        Held by this process while others compute, and for the pyramid then; 0 on threads.
    budget : int
        Bytes allowed for all of them.
    device : str
        Where the network runs.
    device_bytes : int or None
        Weights and a batch at work on that device; None for a wrapped callable.
    seconds : float or None
        Expected time of the network alone, if it was measured.
    """

    fetch_bytes: int | None
    read_bytes: int
    tiles: int
    windows: int
    views: int
    flops: int | None
    blocks: int
    block: int
    batch: int
    disk_bytes: dict[str, int]
    memory: InferenceMemory
    workers: int
    waiting_bytes: int
    budget: int
    device: str
    device_bytes: int | None
    seconds: float | None

    @property
    def passes(self) -> int:
        """How often the network sees a tile: tiles × windows × views."""
        return self.tiles * self.windows * self.views

    @property
    def projected_peak(self) -> int:
        """Projected peak memory of all processes, bytes."""
        return self.memory.projected_peak * self.workers + self.waiting_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory"}
        return told | {
            "passes": self.passes,
            "projected_peak": self.projected_peak,
            "projected_peak_per_worker": self.memory.projected_peak,
            "arithmetic": self.memory.arithmetic(),
        }

    def __repr__(self) -> str:
        time = "" if self.seconds is None else f", {format_seconds(self.seconds)}"
        return (
            f"<Plan: {self.tiles:,} tiles in each of {self.windows} windows, {self.views} views, "
            f"{format_bytes(self.projected_peak)} of {format_bytes(self.budget)} on "
            f"{self.device}{time}; print it for more>"
        )

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def __str__(self) -> str:
        unknown = "unknown (a wrapped callable)"
        disk = ", ".join(f"{name} {format_bytes(n)}" for name, n in self.disk_bytes.items())
        each = f", {format_bytes(self.memory.projected_peak)} in each of {self.workers} processes"
        rows = {
            "to fetch": "" if self.fetch_bytes is None else format_bytes(self.fetch_bytes),
            "to read": f"{format_bytes(self.read_bytes)} of pixels",
            "tiles": f"{self.tiles:,} in each of {self.windows} layer windows",
            "network": f"{self.passes:,} tiles with {self.views} views, in batches of {self.batch}",
            "operations": unknown if self.flops is None else f"{self.flops:.3g} FLOP",
            "blocks": f"{self.blocks:,} of {self.block} px, {self.memory.threads} at a time",
            "disk": f"{format_bytes(sum(self.disk_bytes.values()))} at most ({disk})",
            "memory": f"{format_bytes(self.projected_peak)} of {format_bytes(self.budget)}"
            + (each if self.workers > 1 else ""),
            "because": self.memory.arithmetic(),
            "device": f"{self.device}, "
            + (unknown if self.device_bytes is None else format_bytes(self.device_bytes)),
            "time": ""
            if self.seconds is None
            else f"{format_seconds(self.seconds)}, the network alone",
        }
        return table(rows)


def plan(
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
    source: str | Path | LayerIndex | None = None,
    measure: bool = False,
) -> Plan:
    """Return what `predict_ink` with the same arguments, and `write_run`, will cost.

    Only metadata is read; what would be refused there is refused here.

    Parameters
    ----------
    volume, model, windows, stride, tta, taper, mask, edge, batch, precision, budget, spread
        As `predict_ink` takes them.
    source : str, Path or LayerIndex, optional
        Layer files that the volume would be ingested from: their bytes are told.
    measure : bool
        Time a few batches of the network, for the expected time.

    Returns
    -------
    Plan

    Raises
    ------
    InvalidArgumentError
        As `predict_ink`.
    BudgetError
        If it does not fit the budget; with the arithmetic and the smallest budget that would do.
    SourceError
        If the source cannot be read.
    """
    model = model_of(model)
    model = model if precision == "auto" else model.with_precision(precision)
    taper_weights(taper, model.tile)
    prediction = prepare(
        volume,
        model,
        windows=windows,
        stride=stride,
        tta=tta,
        mask=mask,
        edge=edge,
        batch=batch,
        precision="auto",
        budget=budget,
        spread=spread,
    )
    picked, memory, workers = prediction.volume, prediction.memory, count_workers()
    maps = len(windows) * (2 if spread else 1)
    tiles, shown = int(np.prod([axis.count for axis in prediction.axes])), len(views(tta))
    flops, on_device = _network(model, memory.batch)
    passes = tiles * len(windows) * shown
    pixels = picked.sizes["y"] * picked.sizes["x"] * len(windows)
    return Plan(
        fetch_bytes=None if source is None else _bytes_to_fetch(source, picked),
        read_bytes=int(picked.nbytes),
        tiles=tiles,
        windows=len(windows),
        views=shown,
        flops=None if flops is None else flops * passes,
        blocks=int(np.prod(prediction.counts)),
        block=memory.block,
        batch=memory.batch,
        disk_bytes={
            "tiles.zarr": tiles * maps * (model.tile // model.reduction) ** 2 * 4,
            "ink.zarr": pixels * 4,
            "pyramid": -(-pixels * 4 // 3),
            "npy": pixels * 4,
            "png": pixels,
        },
        memory=memory,
        workers=max(workers, 1),
        waiting_bytes=waiting_bytes() if workers else 0,
        budget=resolve_budget(budget),
        device=str(model.device),
        device_bytes=on_device,
        seconds=_batch_seconds(model, memory.batch) * passes / memory.batch if measure else None,
    )


def _network(model: InkModel, batch: int) -> tuple[int | None, int | None]:
    """Return the network's operations for each tile and its bytes on the device, if known."""
    if model.config is None:
        return None, None
    from s5engine.model.cost import network_cost

    cost = network_cost(model.config, batch)
    share = 1 if model.precision == "float32" else 0.5
    return cost.flops, cost.weight_bytes + int(cost.working_bytes * share)


def _bytes_to_fetch(source: str | Path | LayerIndex, volume: xr.DataArray) -> int:
    """Return what an ingest of the volume's box fetches; the layers' directories are read."""
    from s5engine.source.stack import open_stack

    box = (int(volume.y[0]), int(volume.y[-1]) + 1, int(volume.x[0]), int(volume.x[-1]) + 1)
    layers = sorted(int(n) for n in volume.layer.values)
    with open_stack(source, layers=layers) as stack:
        return int(stack.bytes_for(box))


def _batch_seconds(model: InkModel, batch: int) -> float:
    """Return the median time of a batch after one that warms up."""
    import torch

    tiles = torch.rand(batch, model.layers, model.tile, model.tile)
    seconds = []
    for _ in range(1 + _TIMED_BATCHES):
        started = time.perf_counter()
        model.probabilities(tiles).cpu()  # to the CPU: a GPU has finished then
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
