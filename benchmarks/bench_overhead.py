"""What the engine adds to the network: a run's prediction ÷ the same batches in a bare loop."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import s5engine as s5
from benchmarks.common import Measured, run_case
from benchmarks.record import case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "What the engine adds to the network: a run's prediction against a bare loop of batches"
BENCH: dict[str, Any] = {
    "model": "b0",
    "side": 512,
    "stride": 128,
    "batch": 2,
    "budget": "4 GiB",
    "rounds": 2,
}
#: A larger square: what begins once counts for less, and blocks have others beside them.
FULL: dict[str, Any] = {**BENCH, "side": 1536, "rounds": 3}
TINY: dict[str, Any] = {**BENCH, "side": 128, "batch": 1, "rounds": 1}
CASES = "benchmarks.bench_overhead"


def bare(model_type: str, tiles: int, batch: int) -> float:
    """Return the seconds that the network alone takes for so many tiles, no reading or writing."""
    model = _model(model_type)
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(
            0, 256, (batch, model.layers, model.tile, model.tile), dtype=np.uint8
        )
    )
    model.probabilities(pixels.float() / 255)
    started = time.perf_counter()
    for _ in range(tiles // batch):
        model.probabilities(pixels.float() / 255)
    return time.perf_counter() - started


def engine(
    model_type: str, batch: int, store: str, run: str, budget: str, stride: int
) -> dict[str, Any]:
    """Predict a store and write the run; return the seconds of its prediction, and its blocks."""
    model = _model(model_type)
    volume = s5.open_volume(store)
    asked: dict[str, Any] = {
        "windows": [0],
        "stride": stride,
        "tta": 0,
        "batch": batch,
        "budget": budget,
    }
    told = s5.plan(s5.contrast(volume), model, **asked)
    # One batch of warm-up, as the bare loop has it.
    model.probabilities(torch.zeros(batch, model.layers, model.tile, model.tile))
    ink = s5.predict_ink(s5.contrast(volume), model, **asked)
    record = s5.write_run(ink, run, progress=False).record
    return {"seconds": record["times"]["predict_s"], "tiles": told.tiles, "blocks": told.blocks}


def _model(model_type: str) -> s5.InkModel:
    """Return an untrained network of full size."""
    from s5engine.model import NetworkConfig, build_model

    return build_model(NetworkConfig.preset(model_type), seed=0)


def measure(
    root: Path | None, *, model: str, side: int, stride: int, batch: int, budget: str, rounds: int
) -> dict[str, Any]:
    """Measure in turns, each in a fresh process."""
    engines: list[Measured] = []
    loops: list[Measured] = []
    with scratch(root) as folder, ServedSegment(side, side, 16) as segment:
        store = str(folder / "volume.zarr")
        run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        for number in range(rounds):
            engines.append(
                run_case(
                    f"{CASES}:engine",
                    model_type=model,
                    batch=batch,
                    store=store,
                    run=str(folder / f"run{number}"),
                    budget=budget,
                    stride=stride,
                )
            )
            loops.append(
                run_case(
                    f"{CASES}:bare",
                    model_type=model,
                    tiles=engines[-1].result["tiles"],
                    batch=batch,
                )
            )
    # The clocks of the cases themselves: building the network is neither's affair.
    engines = [replace(run, seconds=run.result["seconds"]) for run in engines]
    loops = [replace(run, seconds=run.result) for run in loops]
    tiles, blocks = (engines[0].result[name] for name in ("tiles", "blocks"))
    return {
        "title": TITLE,
        "settings": {
            "network": model,
            "side": side,
            "stride": stride,
            "batch": batch,
            "budget": budget,
        },
        "cases": [
            case("engine", engines, work=(tiles, "tiles"), figures={"blocks": blocks}),
            case("bare loop", loops, work=(tiles, "tiles")),
        ],
        "ratios": [
            ratio("engine ÷ bare loop", seconds(engines), seconds(loops), bar=("<=", 1.03)),
        ],
    }
