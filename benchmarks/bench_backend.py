"""The network alone on a CPU: the plain one of 2025, the rewritten one, and OpenVINO.

``python -m benchmarks.bench_backend`` takes about three minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import torch

from benchmarks.common import run_case, write_result

CASES = "benchmarks.bench_backend"
#: Way → the batches that it is measured with.
WAYS = {"plain": (2, 8), "rewritten": (2, 4), "openvino": (2,)}


def network(model_type: str, way: str, batches: list[int], passes: int) -> dict[str, Any]:
    """Return the seconds of a tile for each batch, those of getting ready, and some answers."""
    from s5engine.model import (
        NetworkConfig,
        OpenVINONetwork,
        UnetrSegformer,
        rewrite_for_inference,
    )

    torch.manual_seed(0)
    config = NetworkConfig.preset(model_type)
    plain = UnetrSegformer(config).eval()
    tiles = torch.rand(max(batches), 1, config.layers, config.tile, config.tile)
    run: Any = plain if way == "plain" else rewrite_for_inference(plain)
    if way == "openvino":
        run = OpenVINONetwork(run)
    found: dict[str, Any] = {}
    with torch.inference_mode(), warnings.catch_warnings():
        started = time.perf_counter()
        found["ink"] = torch.sigmoid(run(tiles[: batches[0]]))[0].flatten()[::17].tolist()
        found["first_pass_s"] = round(time.perf_counter() - started, 2)
        for batch in batches:
            run(tiles[:batch])
            times = []
            for _ in range(passes):
                started = time.perf_counter()
                run(tiles[:batch])
                times.append((time.perf_counter() - started) / batch)
            found[str(batch)] = round(statistics.median(times), 4)
    return found


def main() -> None:
    """Measure in turns, each way in a fresh process, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="b3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--name", default="backend")
    asked = parser.parse_args()
    rounds, peaks = [], []
    for number in range(asked.rounds):
        row, peak = {}, {}
        for way in list(WAYS) if number % 2 == 0 else list(reversed(WAYS)):
            measured = run_case(
                f"{CASES}:network", model_type=asked.model, way=way, batches=WAYS[way],
                passes=asked.passes,
            )  # fmt: skip
            row[way], peak[way] = measured.result, measured.peak_bytes >> 20
        inks = {way: torch.tensor(row[way].pop("ink")) for way in row}
        differences = {w: float((ink - inks["plain"]).abs().max()) for w, ink in inks.items()}
        if max(differences.values()) > 1e-5:
            raise SystemExit(f"the ways do not give the same ink: {differences}")
        rounds.append(row)
        peaks.append(peak)
        print(row, flush=True)
    print(write_result(asked.name, report(asked.model, rounds, peaks, differences)))


def report(
    model: str,
    rounds: list[dict[str, Any]],
    peaks: list[dict[str, int]],
    differences: dict[str, float],
) -> dict[str, Any]:
    """Return medians, and how many times faster each way is than the plain network's best batch."""
    each = {
        f"{way} in batches of {batch}": [row[way][str(batch)] for row in rounds]
        for way, batches in WAYS.items()
        for batch in batches
    }
    best = [min(row["plain"][str(batch)] for batch in WAYS["plain"]) for row in rounds]
    faster = {
        name: [round(plain / own, 2) for plain, own in zip(best, seconds, strict=True)]
        for name, seconds in each.items()
    }
    return {
        "network": model,
        "seconds_per_tile": each,
        "times_faster_than_the_best_plain_batch": {
            name: {"each": values, "median": statistics.median(values)}
            for name, values in faster.items()
        },
        "first_pass_seconds": {way: [row[way]["first_pass_s"] for row in rounds] for way in WAYS},
        "peak_mib": {way: [peak[way] for peak in peaks] for way in WAYS},
        "largest_difference_of_ink": differences,
    }


if __name__ == "__main__":
    main()
