"""Steps of the line whose memory is measured, each for a fresh process; see `common.run_case`."""

from __future__ import annotations

import os
from typing import Any

import s5engine as s5
from benchmarks.ink_cases import model_of
from benchmarks.memory_watch import TreeWatch

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


def pyramid(
    store: str, *, budget: str, url: str | None = None, box: list[int] | None = None
) -> dict[str, Any]:
    """Make the coarser levels of a volume or of ink anew.

    Of a volume, whose layers are at ``url``, return what the plan of its ingest had said of them;
    the plan of a run has no sum for them alone.
    """
    said: dict[str, Any] = {}
    if url is not None:
        told = s5.plan_ingest(url, layers=range(18), box=box, budget=budget)
        if told.pyramid is not None:
            each = told.pyramid.projected_peak * max(told.halving, 1)
            said = {
                "projected_mib": (each + told.halving_waits_bytes) >> 20,
                "block_height": told.pyramid.height,
                "blocks_at_a_time": told.pyramid.threads,
            }
    s5.write_pyramid(store, budget=budget, resume=False, progress=False)
    return said


def split(store: str, folder: str, *, budget: str, width: int) -> dict[str, Any]:
    """Cut a store into the tree of contrasted parts; return what the plan had said."""
    asked: dict[str, Any] = {
        "width": width,
        "lookup": s5.lookup_table(CONTRAST),
        "contrast": CONTRAST,
        "budget": budget,
    }
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
        "windows": WINDOWS,
        "stride": stride,
        "tta": 0,
        "budget": budget,
        "mask": s5.papyrus_mask(volume),
    }
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
