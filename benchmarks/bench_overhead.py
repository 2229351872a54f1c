"""What the engine adds to the network: a run's prediction ÷ the same batches in a bare loop.

``python -m benchmarks.bench_overhead`` takes about four minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import s5engine as s5
from benchmarks.bench_ingest import scratch
from benchmarks.common import run_case, write_result
from benchmarks.served import ServedSegment

CASES = "benchmarks.bench_overhead"


def bare(model_type: str, tiles: int, batch: int) -> float:
    """Return the seconds that the network alone takes for so many tiles, no reading or writing."""
    model = _model(model_type)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(
        0, 256, (batch, model.layers, model.tile, model.tile), dtype=np.uint8))  # fmt: skip
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
        "windows": [0], "stride": stride, "tta": 0, "batch": batch, "budget": budget
    }  # fmt: skip
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


def main() -> None:
    """Measure in turns, each in a fresh process, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="b0")
    parser.add_argument("--side", type=int, default=1536, help="of the volume, px")
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--budget", default="4 GiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--name", default="overhead")
    asked = parser.parse_args()
    rows, alone = [], []
    with scratch(asked.scratch) as folder, ServedSegment(asked.side, asked.side, 16) as segment:
        store = str(folder / "volume.zarr")
        run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        for number in range(asked.rounds):
            rows.append(run_case(
                f"{CASES}:engine", model_type=asked.model, batch=asked.batch, store=store,
                run=str(folder / f"run{number}"), budget=asked.budget, stride=asked.stride,
            ).result)  # fmt: skip
            alone.append(run_case(
                f"{CASES}:bare", model_type=asked.model, tiles=rows[-1]["tiles"], batch=asked.batch,
            ).result)  # fmt: skip
    ratios = [round(row["seconds"] / loop, 3) for row, loop in zip(rows, alone, strict=True)]
    body = {
        "network": asked.model, "side": asked.side, "stride": asked.stride, "batch": asked.batch,
        "engine": rows, "bare_seconds": [round(s, 2) for s in alone],
        "seconds_per_tile": round(statistics.median(alone) / rows[0]["tiles"], 3),
        "engine_over_bare": {"each": ratios, "median": statistics.median(ratios)},
    }  # fmt: skip
    print(write_result(asked.name, body))


if __name__ == "__main__":
    main()
