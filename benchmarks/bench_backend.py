"""The network alone on a CPU: the plain one of 2025 and the rewritten one."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Measured, run_case
from benchmarks.record import case, ratio

TITLE = "The network alone on a CPU: plain as in 2025, and rewritten"
#: Some minutes.
FULL: dict[str, Any] = {"model": "b3", "large": 4, "passes": 3, "rounds": 2}
BENCH: dict[str, Any] = {**FULL, "rounds": 1}
TINY: dict[str, Any] = {"model": "small", "large": 3, "passes": 1, "rounds": 1}
CASES = "benchmarks.bench_backend"
#: Each in its batches: of 2, which suit a CPU, and larger ones.
WAYS = {"plain": (2, "large"), "rewritten": (2, "large")}
#: Bars for batches of 2 against the plain network's best batch.
BARS = {"rewritten": 1.4}

_SMALL: dict[str, Any] = {
    "tile": 64,
    "unetr_embed_dim": 48,
    "unetr_heads": 3,
    "unetr_layers": 4,
    "unetr_mlp_dim": 64,
    "unetr_filters": (16, 8, 8),
    "unetr_stem": (2, 4),
    "unetr_out_channels": 4,
    "model_type": "b0",
    "segformer_widths": (16, 32, 40, 48),
    "segformer_depths": (1, 1, 1, 1),
    "segformer_heads": (1, 2, 4, 4),
    "segformer_decoder_dim": 48,
}


def network(model: str, way: str, batches: list[int], passes: int) -> dict[str, Any]:
    """Return the seconds of a tile for each batch, those of the first pass, and some of the ink."""
    from s5engine.model import NetworkConfig, UnetrSegformer, rewrite_for_inference

    torch.manual_seed(0)
    config = NetworkConfig(**_SMALL) if model == "small" else NetworkConfig.preset(model)
    plain = UnetrSegformer(config).eval()
    tiles = torch.rand(max(batches), 1, config.layers, config.tile, config.tile)
    run: Any = plain if way == "plain" else rewrite_for_inference(plain)
    found: dict[str, Any] = {"tile": []}
    with torch.inference_mode():
        started = time.perf_counter()
        found["ink"] = torch.sigmoid(run(tiles[: batches[0]]))[0].flatten()[::17].tolist()
        found["first"] = time.perf_counter() - started
        for batch in batches:
            run(tiles[:batch])
            times = []
            for _ in range(passes):
                started = time.perf_counter()
                run(tiles[:batch])
                times.append((time.perf_counter() - started) / batch)
            found["tile"].append(statistics.median(times))
    return found


def measure(
    root: Path | None, *, model: str, large: int, passes: int, rounds: int
) -> dict[str, Any]:
    """Measure in turns, each way in a fresh process; the ink is compared first."""
    runs: dict[str, list[Measured]] = {way: [] for way in WAYS}
    batches = {way: [large if n == "large" else n for n in sizes] for way, sizes in WAYS.items()}
    for number in range(rounds):
        for way in list(WAYS) if number % 2 == 0 else reversed(WAYS):
            runs[way].append(
                run_case(
                    f"{CASES}:network",
                    model=model,
                    way=way,
                    batches=batches[way],
                    passes=passes,
                )
            )
        inks = {way: torch.tensor(found[-1].result["ink"]) for way, found in runs.items()}
        for way, ink in inks.items():
            torch.testing.assert_close(ink, inks["plain"], rtol=0, atol=1e-5, msg=way)
    best = [min(run.result["tile"]) for run in runs["plain"]]
    cases, ratios = [], []
    for way, sizes in batches.items():
        for place, batch in enumerate(sizes):
            own = [run.result["tile"][place] for run in runs[way]]
            # The clocks of the cases themselves: building the network is none of it.
            timed = [replace(r, seconds=s) for r, s in zip(runs[way], own, strict=True)]
            first = {"first_pass_s": [round(run.result["first"], 2) for run in runs[way]]}
            cases.append(
                case(way, timed, work=(1, "tiles"), figures=first, series=False, batch=batch)
            )
            if way != "plain":
                bar = (">=", BARS[way]) if batch == 2 and model == "b3" else None
                ratios.append(
                    ratio(f"plain network's best batch ÷ {way}", best, own, bar=bar, batch=batch)
                )
    return {
        "title": TITLE,
        "settings": {"network": model, "passes": passes},
        "cases": cases,
        "ratios": ratios,
        "notes": ["Seconds of one tile. Peaks are those of the whole process, over all batches."],
    }
