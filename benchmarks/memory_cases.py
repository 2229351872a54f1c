"""Steps of the line whose memory is measured, each for a fresh process; see `common.run_case`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import s5engine as s5
from benchmarks.ink_cases import model_of
from benchmarks.memory_watch import TreeWatch
from s5engine.budget import current_rss, resolve_budget
from s5engine.store.band_tasks import find_workers
from s5engine.store.levels import find_base
from s5engine.store.pyramid import plan_levels

CONTRAST = ((0, 0), (128, 64), (255, 255))
#: First layers of the layer windows.
WINDOWS = (0, 1, 2)


def ingest(url: str, store: str, *, budget: str, box: list[int]) -> dict[str, Any]:
    """Copy a box of the layers into a store; return what the plan had said."""
    told = s5.plan_ingest(url, layers=range(18), box=box, budget=budget)
    s5.ingest(url, store, layers=range(18), box=box, budget=budget, progress=False)
    return {
        "projected_mib": told.projected_peak >> 20,
        "band_height": told.bands.band_height,
        "rows_at_a_time": told.bands.rows,
    }


def pyramid(store: str, *, budget: str) -> dict[str, Any]:
    """Make the coarser levels of a volume or of ink anew; return what the plan had said."""
    import cv2  # noqa: F401  # before the base of the plan is measured, as where it is done
    import dask.array  # noqa: F401
    import xarray  # noqa: F401

    base, size = find_base(Path(store)), resolve_budget(budget)
    workers = find_workers("pyramid", None, size)
    told = plan_levels(
        base.shape[0], base.dtype, base.chunks, is_ink=base.is_ink, heights=base.heights,
        workers=workers, base=current_rss(), budget=size,
    )  # fmt: skip
    here = current_rss() if workers else 0
    s5.write_pyramid(store, budget=budget, resume=False, progress=False)
    return {
        "projected_mib": (told.projected_peak * (workers.count if workers else 1) + here) >> 20,
        "block_height": told.height,
        "blocks_at_a_time": told.threads,
    }


def split(store: str, folder: str, *, budget: str, width: int) -> dict[str, Any]:
    """Cut a store into the tree of contrasted parts; return what the plan had said."""
    asked: dict[str, Any] = {
        "width": width, "lookup": s5.lookup_table(CONTRAST), "contrast": CONTRAST, "budget": budget,
    }  # fmt: skip
    volume = s5.open_volume(store)
    told = s5.plan_split(volume, folder, **asked)
    s5.split(volume, folder, **asked, progress=False)
    return {
        "projected_mib": told.projected_peak >> 20,
        "band_height": told.largest.band_height,
    }


def infer(
    store: str, run: str, *, budget: str, stride: int, columns: int, preset: str | None = None
) -> dict[str, Any]:
    """Predict and write all products; return what the plan had said.

    Without a preset of UNETR-SF, random weights in it, the network is a stand-in that answers at
    once: what is measured is the engine, over as many blocks as a real network takes hours for.
    """
    model = model_of(preset or "stand-in")
    volume = s5.open_volume(store).isel(x=slice(0, columns))
    asked: dict[str, Any] = {
        "windows": WINDOWS, "stride": stride, "tta": 0, "budget": budget,
        "mask": s5.papyrus_mask(volume),
    }  # fmt: skip
    contrasted = s5.contrast(volume)
    ink = s5.predict_ink(contrasted, model, **asked)
    told = s5.plan(contrasted, model, **asked)
    s5.write_run(ink, run, progress=False)
    return {
        "projected_mib": told.projected_peak >> 20,
        "block": told.block,
        "batch": told.batch,
        "blocks": told.blocks,
    }


def on_processes(case: str, workers: int, budget: str, **given: Any) -> dict[str, Any]:
    """Do a case on worker processes; return what the plan had said and what all held at most."""
    processes = s5.cluster("processes", budget=budget, workers=workers, dashboard=False)
    with processes, TreeWatch(os.getpid()) as watch:
        told: dict[str, Any] = globals()[case](budget=budget, **given)
    return told | {"tree_peak_mib": watch.peak >> 20}
