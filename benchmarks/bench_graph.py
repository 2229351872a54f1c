"""Building the graph of a prediction, from a hundred blocks to a hundred thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import run_case
from benchmarks.record import case, ratio, seconds

TITLE = "Building the graph of a prediction, over the number of blocks"
BENCH: dict[str, Any] = {"blocks": [100, 1000, 10_000, 40_000], "budget": "8 GiB", "rounds": 1}
FULL: dict[str, Any] = {**BENCH, "blocks": [100, 1000, 10_000, 100_000]}
TINY: dict[str, Any] = {"blocks": [4, 9], "budget": "4 GiB", "rounds": 1}


def measure(root: Path | None, *, blocks: list[int], budget: str, rounds: int) -> dict[str, Any]:
    """Build and materialise the graph of each size in a fresh process."""
    runs = {
        count: [
            run_case("benchmarks.scaling_cases:graph", blocks=count, budget=budget)
            for _ in range(rounds)
        ]
        for count in blocks
    }
    small, large = blocks[-2:]
    grown = runs[large][0].result["blocks"] / runs[small][0].result["blocks"]
    return {
        "title": TITLE,
        "settings": {"budget": budget, "block": 1024, "stride": 64},
        "cases": [
            case(
                "graph",
                found,
                figures=found[-1].result,
                work=(found[-1].result["blocks"], "blocks"),
                blocks=count,
            )
            for count, found in runs.items()
        ],
        "ratios": [
            ratio(
                "time per block, most ÷ second most",
                seconds(runs[large]),
                [grown * value for value in seconds(runs[small])],
            )
        ],
        "curves": [{"over": "blocks", "label": "blocks", "cases": ["graph"], "log": True}],
    }
