"""What an ingest will cost, told before any pixel is read; and how it will then be done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import recorded
from s5engine.budget import current_rss, format_bytes, resolve_budget
from s5engine.console import format_seconds, table
from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Box, as_box
from s5engine.runtime.clients import asked_threads
from s5engine.runtime.same_work import as_json
from s5engine.store.band_plan import CHUNK, BandPlan, choose_bands, in_flight, row_bands
from s5engine.store.band_tasks import Workers, budget_here, find_workers
from s5engine.store.ome import VolumeRecord, ZarrFormat
from s5engine.store.pyramid import plan_levels
from s5engine.store.pyramid_plan import PyramidPlan

if TYPE_CHECKING:
    from s5engine.address import StorageOptions
    from s5engine.source.listing import LayerIndex
    from s5engine.source.stack import LayerStack

#: Rows that are read to tell the time, at most.
_TIMED_ROWS = 64


@dataclass(frozen=True)
class IngestPlan:
    """What an ingest will cost; ``print`` it for a table.

    Attributes
    ----------
    fetch_bytes : int
        To fetch from the layer files.
    shape : (int, int, int)
        Layers, rows and columns of the volume, px.
    bands : BandPlan
        The bands that it is copied in, and the memory of each process that copies.
    workers : int
        Worker processes that copy; 0 where this one's threads do.
    waiting_bytes : int
        Held by this process while workers copy, or by workers of this machine that do not.
    pyramid : PyramidPlan or None
        How the coarser levels are made, and the memory of each process that makes them; None if
        they are not wanted.
    halving, halving_waits_bytes : int
        Worker processes that make the coarser levels, 0 where this one's threads do; and what this
        process holds meanwhile.
    disk_bytes : dict of str to int
        Disk that it takes at most, uncompressed, by name; ``band.partial`` only for a while.
    budget : int
        Bytes of memory allowed.
    seconds : float or None
        Expected time of fetching and decoding, if it was measured.
    """

    fetch_bytes: int
    shape: tuple[int, int, int]
    bands: BandPlan
    workers: int
    waiting_bytes: int
    pyramid: PyramidPlan | None
    disk_bytes: dict[str, int]
    budget: int
    seconds: float | None
    halving: int = 0
    halving_waits_bytes: int = 0

    @property
    def projected_peak(self) -> int:
        """Projected peak memory of all processes, bytes."""
        bands = self.bands.projected_peak * max(self.workers, 1) + self.waiting_bytes
        return max(bands, self._levels_peak)

    @property
    def _levels_peak(self) -> int:
        """Projected peak memory of all processes while coarser levels are made, bytes."""
        each = 0 if self.pyramid is None else self.pyramid.projected_peak
        return each * max(self.halving, 1) + self.halving_waits_bytes

    def arithmetic(self) -> str:
        """Return the sum that makes the projected peak, as text."""
        if self.pyramid is None or self.projected_peak > self._levels_peak:
            return _each(self.workers) + self.bands.arithmetic()
        return f"{_each(self.halving)}{self.pyramid.arithmetic()} for the coarser levels"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "fetch_bytes": self.fetch_bytes,
            "shape": list(self.shape),
            "bands": len(self.bands.bands),
            "band_height": self.bands.band_height,
            "rows_at_a_time": self.bands.rows,
            "disk_bytes": self.disk_bytes,
            "budget": self.budget,
            "projected_peak": self.projected_peak,
            "arithmetic": self.arithmetic(),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        layers, height, width = self.shape
        disk = ", ".join(f"{name} {format_bytes(n)}" for name, n in self.disk_bytes.items() if n)
        bands = f"{len(self.bands.bands):,} of {self.bands.band_height} rows"
        if self.bands.grows:
            bands += f", fetched {self.bands.rows} at a time"
        if self.bands.collects:
            bands += f" and collected on disk to {self.bands.rows_written}"
        timed = self.seconds
        return table(
            {
                "to fetch": format_bytes(self.fetch_bytes),
                "volume": f"{layers} layers, {height:,} × {width:,} px",
                "bands": bands,
                "disk": f"{format_bytes(sum(self.disk_bytes.values()))} at most ({disk})",
                "memory": f"{format_bytes(self.projected_peak)} of {format_bytes(self.budget)}",
                "because": self.arithmetic(),
                "time": "" if timed is None else f"{format_seconds(timed)} to fetch and decode",
            }
        )


def _each(workers: int) -> str:
    return f"{workers} workers, each " if workers else ""


def plan_ingest(
    source: str | Path | LayerIndex,
    store: object = None,
    *,
    layers: Sequence[int] | None = None,
    box: Sequence[int] | None = None,
    resume: bool = True,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    zarr_format: ZarrFormat = 3,
    progress: bool = True,
    pyramid: bool = True,
    measure: bool = False,
) -> IngestPlan:
    """Return what `ingest` with the same arguments will cost; nothing is written.

    Only the directories of the layer files are read; what would be refused there is refused here.

    Parameters
    ----------
    source, layers, box, budget, storage_options, zarr_format, pyramid
        As `ingest` takes them.
    store, resume, progress
        Not used: an ingest from its start is told of.
    measure : bool
        Fetch and decode the first rows, at most 64, for the expected time.

    Returns
    -------
    IngestPlan

    Raises
    ------
    BudgetError
        If it does not fit the budget; with the arithmetic and the smallest budget that would do.
    InvalidArgumentError, SourceError
        As `ingest`.
    """
    check_format(zarr_format)
    load_libraries(pyramid)
    from s5engine.source.stack import open_stack

    size, here, held = resolve_budget(budget), budget_here(budget), current_rss()
    with open_stack(source, layers=layers, storage_options=storage_options) as stack:
        record = wanted_record(stack, box, zarr_format)
        halving = find_workers("pyramid", None, size) if pyramid else None
        levels = plan_coarser(record, base=held, budget=size, workers=halving) if pyramid else None
        workers = find_workers("ingest", stack, size)
        bands = bands_of(stack, record, size if workers else here, workers=workers)
        told = _planned(stack, record, bands, levels, measure)
        return replace(
            told,
            workers=workers.count if workers else 0,
            budget=size,
            waiting_bytes=current_rss() if workers else size - here,
            halving=halving.count if halving else 0,
            halving_waits_bytes=current_rss() if halving else 0,
        )


def _planned(
    stack: LayerStack,
    record: VolumeRecord,
    bands: BandPlan,
    levels: PyramidPlan | None,
    measure: bool,
) -> IngestPlan:
    """Return the plan for this process alone."""
    box = Box(*record.box)
    shape = (len(record.layers), box.height, box.width)
    pixels = int(np.prod(shape, dtype=np.int64)) * np.dtype(record.dtype).itemsize
    collected = pixels // box.height * min(bands.rows_written, box.height)
    return IngestPlan(
        fetch_bytes=int(stack.bytes_for(record.box)),
        shape=shape,
        bands=bands,
        workers=0,
        waiting_bytes=0,
        pyramid=levels,
        disk_bytes={
            "full resolution": pixels,
            "coarser levels": -(-pixels // 3) if levels else 0,
            "band.partial": collected if bands.collects else 0,
        },
        budget=bands.budget,
        seconds=_seconds(stack, box, bands) if measure else None,
    )


def check_format(zarr_format: int) -> None:
    """Refuse other formats than zarr's 2 and 3.

    Raises
    ------
    InvalidArgumentError
    """
    if zarr_format not in (2, 3):
        raise InvalidArgumentError(f"zarr_format is 2 or 3, not {zarr_format!r}.")


def load_libraries(pyramid: bool) -> None:
    """Load what an ingest works with, so that the base of its plan counts them."""
    import dask.array  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    if pyramid:
        import cv2  # noqa: F401


def wanted_record(
    stack: LayerStack, box: Sequence[int] | None, zarr_format: ZarrFormat
) -> VolumeRecord:
    """Return what the store will say of itself, but for its band height.

    Raises
    ------
    InvalidArgumentError
        If the box does not lie in the layers, or their pixels are not uint8 or uint16.
    """
    crop = as_box(box, *stack.shape)
    dtype = np.dtype(stack.dtype).newbyteorder("=")
    if dtype not in (np.uint8, np.uint16):
        raise InvalidArgumentError(
            f"The layers of {stack.url} hold {dtype} pixels; a volume holds uint8 or uint16.",
            "Convert the layers to one of these first.",
        )
    return VolumeRecord(
        segment=stack.segment,
        source=recorded(stack.url),
        fingerprint=as_json(stack.fingerprint()),
        layers=tuple(int(n) for n in stack.layers),
        box=(crop.y0, crop.y1, crop.x0, crop.x1),
        dtype=dtype.name,
        zarr_format=zarr_format,
        band_height=0,
    )


def plan_coarser(
    record: VolumeRecord, *, base: int, budget: int, workers: Workers | None = None
) -> PyramidPlan:
    """Return how the coarser levels of such a volume will be made, here or by each worker.

    Raises
    ------
    BudgetError
        If not even the smallest block fits.
    """
    layers = len(record.layers)
    return plan_levels(
        layers,
        np.dtype(record.dtype),
        (layers, CHUNK, CHUNK),
        workers=workers,
        base=base,
        budget=budget,
    )


def bands_of(
    stack: LayerStack,
    record: VolumeRecord,
    budget: int,
    band_height: int | None = None,
    workers: Workers | None = None,
) -> BandPlan:
    """Return the bands in which the volume is copied, for this process or for each worker.

    Raises
    ------
    BudgetError
        If not even single rows fit.
    """
    box = Box(*record.box)
    threads = workers.threads if workers else asked_threads()

    def plan(base: int, budget: int) -> BandPlan:
        return choose_bands(
            (len(record.layers), box.height, box.width),
            np.dtype(record.dtype).itemsize,
            budget=budget,
            base=base,
            source_bytes=lambda rows: stack.overhead_bytes(
                row_bands(box.y0, box.y1, rows),
                box.x0,
                box.x1,
                in_flight=in_flight(budget),
                threads=threads,
            ),
            band_height=band_height,
        )

    return workers.plan(plan) if workers else plan(current_rss(), budget)


def _seconds(stack: LayerStack, box: Box, bands: BandPlan) -> float:
    """Return the time that all rows take if they take as long as the first ones."""
    rows = min(bands.rows, box.height, _TIMED_ROWS)
    started = time.perf_counter()
    stack.read((box.y0, box.y0 + rows, box.x0, box.x1))
    return (time.perf_counter() - started) * box.height / rows
