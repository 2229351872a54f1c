"""Steps against what the machine can do: store reads, contrast and blending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Store reads, contrast and blending, each against the least that it cannot do without"
BENCH: dict[str, Any] = {"layers": 21, "side": 4096, "strides": [64, 32], "rounds": 2}
FULL: dict[str, Any] = {**BENCH, "rounds": 3}
TINY: dict[str, Any] = {"layers": 12, "side": 256, "strides": [64], "rounds": 1}
LIMITS = "benchmarks.limit_cases"


def measure(
    root: Path | None, *, layers: int, side: int, strides: list[int], rounds: int
) -> dict[str, Any]:
    """Measure each step and its limit in turns."""
    volume = (layers * side * side / 1e6, "MB of pixels")
    square: dict[str, Any] = {"layers": layers, "side": side}
    with scratch(root) as folder:
        store = str(folder / "volume.zarr")
        with ServedSegment(side, side, layers) as segment:
            run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        pairs: list[tuple[str, str, str, dict[str, Any], tuple[float, str], str]] = [
            (
                "read the store",
                "benchmarks.store_cases:read_engine",
                f"{LIMITS}:decode_chunks",
                {"store": store},
                volume,
                "zarr-python's asynchronous machinery for every chunk, and putting chunks together "
                "to blocks",
            ),
            (
                "contrast",
                f"{LIMITS}:contrast_blocks",
                f"{LIMITS}:copy_blocks",
                square,
                volume,
                "a table lookup for each pixel is several times the work of a copy",
            ),
        ]
        pairs += [
            (
                f"blend at stride {stride}",
                f"{LIMITS}:blend",
                f"{LIMITS}:one_pass",
                {"side": side, "stride": stride},
                (side * side / 1e6, "Mpx of ink"),
                f"every pixel is enlarged, weighted and added {(128 // stride) ** 2} times, in "
                "raster order",
            )
            for stride in strides
        ]
        cases, ratios = [], []
        for name, target, limit, given, work, missing in pairs:
            ways = {name: target, f"{name}: limit": limit}
            runs: dict[str, list[Measured]] = {way: [] for way in ways}
            for number in range(rounds):
                for way in by_turns([*ways], number):
                    runs[way].append(run_case(ways[way], **given))
            cases += [case(way, found, work=work) for way, found in runs.items()]
            ours, least = (seconds(found) for found in runs.values())
            ratios.append(ratio(f"{name}: limit ÷ engine", least, ours, missing=missing))
    return {
        "title": TITLE,
        "settings": square | {"rounds": rounds},
        "cases": cases,
        "ratios": ratios,
        "notes": ["A ratio of 1 is the limit; 0.5 is half its speed."],
    }
