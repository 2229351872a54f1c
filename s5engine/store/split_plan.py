"""What cutting a segment into parts will cost, told before any pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.budget import current_rss, format_bytes
from s5engine.console import table
from s5engine.geometry import PART_WIDTH
from s5engine.store.band_plan import BandPlan
from s5engine.store.band_tasks import find_workers
from s5engine.store.bands import VolumeBands
from s5engine.store.cut import Job, fresh_passes, plan_pass
from s5engine.store.part_mask import MASK_LAYER
from s5engine.store.split import opened_job

if TYPE_CHECKING:
    import xarray as xr

    from s5engine.address import StorageOptions
    from s5engine.source.listing import LayerIndex


@dataclass(frozen=True)
class SplitPlan:
    """What cutting parts will cost; ``print`` it for a table.

    Attributes
    ----------
    fetch_bytes : int or None
        To fetch from the layer files; None if a volume is cut.
    parts, layers, rows : int
        Parts, layers of each, and their height, px.
    passes : tuple of BandPlan
        The passes over the rows: their bands, and the memory of each process that cuts.
    workers : int
        Worker processes that cut; 0 where this one's threads do.
    waiting_bytes : int
        Held by this process while workers cut.
    disk_bytes : dict of str to int
        Disk that the tree takes at most, by name.
    budget : int
        Bytes of memory allowed.
    """

    fetch_bytes: int | None
    parts: int
    layers: int
    rows: int
    passes: tuple[BandPlan, ...]
    workers: int
    waiting_bytes: int
    disk_bytes: dict[str, int]
    budget: int

    @property
    def largest(self) -> BandPlan:
        """The pass that takes the most memory."""
        return max(self.passes, key=lambda plan: plan.projected_peak)

    @property
    def projected_peak(self) -> int:
        """Projected peak memory of all processes, bytes."""
        return self.largest.projected_peak * max(self.workers, 1) + self.waiting_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "fetch_bytes": self.fetch_bytes,
            "parts": self.parts,
            "layers": self.layers,
            "passes": len(self.passes),
            "bands": sum(len(plan.bands) for plan in self.passes),
            "disk_bytes": self.disk_bytes,
            "budget": self.budget,
            "projected_peak": self.projected_peak,
            "arithmetic": self.largest.arithmetic(),
        }

    def __str__(self) -> str:
        disk = ", ".join(f"{name} {format_bytes(n)}" for name, n in self.disk_bytes.items() if n)
        each = f"{self.workers} workers, each " if self.workers else ""
        bands = sum(len(plan.bands) for plan in self.passes)
        return table(
            {
                "to fetch": "" if self.fetch_bytes is None else format_bytes(self.fetch_bytes),
                "parts": f"{self.parts:,} of {self.layers} layers, {self.rows:,} px high",
                "bands": f"{bands:,} of {self.largest.band_height} rows at most"
                + (f", in {len(self.passes)} passes" if len(self.passes) > 1 else ""),
                "disk": f"{format_bytes(sum(self.disk_bytes.values()))} ({disk})",
                "memory": f"{format_bytes(self.projected_peak)} of {format_bytes(self.budget)}",
                "because": each + self.largest.arithmetic(),
            }
        )


def plan_split(
    source: str | Path | LayerIndex | xr.DataArray,
    directory: str | Path = ".",
    *,
    width: int = PART_WIDTH,
    first_offset: int = 0,
    parts: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
    lookup: np.ndarray | None = None,
    contrast: Sequence[Sequence[float]] | None = None,
    budget: int | str | None = None,
    storage_options: StorageOptions | None = None,
    resume: bool = True,
    progress: bool = True,
) -> SplitPlan:
    """Return what `split` with the same arguments will cost; nothing is written.

    Only metadata is read; what would be refused there is refused here.

    Parameters
    ----------
    source, width, first_offset, parts, layers, lookup, contrast, budget, storage_options
        As `split` takes them.
    directory, resume, progress
        Not used: cutting from its start is told of.

    Returns
    -------
    SplitPlan

    Raises
    ------
    BudgetError
        If it does not fit the budget; with the arithmetic and the smallest budget that would do.
    InvalidArgumentError, SourceError
        As `split`.
    """
    wanted = opened_job(
        source,
        directory,
        width=width,
        first_offset=first_offset,
        parts=parts,
        layers=layers,
        lookup=lookup,
        contrast=contrast,
        budget=budget,
        storage_options=storage_options,
    )
    with wanted as job:
        return _planned(job)


def _planned(job: Job) -> SplitPlan:
    passes, workers = fresh_passes(job), find_workers("split", job.reader, job.budget)
    rows = job.record.rows[1] - job.record.rows[0]
    columns = sum(x1 - x0 for x0, x1 in job.grid.values())
    pixels = rows * columns * job.dtype.itemsize * len(job.layers)
    fetched = None
    if not isinstance(job.reader, VolumeBands):
        boxes = [
            (*job.record.rows, files[0].columns[0], max(file.columns[1] for file in files))
            for files in passes
        ]
        fetched = sum(job.reader.bytes_for(box) for box in boxes)
    return SplitPlan(
        fetch_bytes=fetched,
        parts=len(job.grid),
        layers=len(job.layers),
        rows=rows,
        passes=tuple(plan_pass(job, files, workers) for files in passes),
        workers=workers.count if workers else 0,
        waiting_bytes=current_rss() if workers else 0,
        disk_bytes={"layers": pixels, "masks": rows * columns if MASK_LAYER in job.layers else 0},
        budget=job.budget,
    )
