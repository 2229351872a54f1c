"""Is the budget kept? Peak memory of each step at several budgets and at 1 × and 8 × the width."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import case, ratio
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Is the budget kept? Peak memory of each step at several budgets and widths"
BENCH: dict[str, Any] = {
    "rows": 1024, "widths": [2048, 16_384], "budgets": ["1.5 GiB", "4 GiB"], "strides": [64],
    "network": None,
}  # fmt: skip
#: What the published result was measured with; half an hour. At the smaller width a step is
#: already at work on as much at a time as it ever is.
FULL: dict[str, Any] = {
    "rows": 1024, "widths": [20_480, 163_840], "budgets": ["1.5 GiB", "4 GiB", "12 GiB"],
    "strides": [64], "network": "b3",
}  # fmt: skip
TINY: dict[str, Any] = {
    "rows": 150, "widths": [300], "budgets": ["4 GiB"], "strides": [64], "network": None,
}  # fmt: skip
CASES = "benchmarks.memory_cases"
LAYERS = 18
#: Columns for a real network, which takes a quarter of a second for each of their tiles.
_NARROW = 256


def told(name: str, budget: str, width: int, run: Measured, **more: Any) -> dict[str, Any]:
    """Return one case."""
    return case(
        name, [run], figures=run.result or {}, series=False, budget=budget, width=width, **more
    )


def measure(
    root: Path | None, *, rows: int, widths: list[int], budgets: list[str], strides: list[int],
    network: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Run every step at every budget and width, each in a fresh process."""
    cases = []
    with ServedSegment(rows, max(widths), LAYERS) as segment, scratch(root) as folder:
        store, tree, out = (str(folder / name) for name in ("volume.zarr", "tree", "run"))
        for budget in budgets:
            for width in widths:
                run = run_case(f"{CASES}:ingest", url=segment.url, store=store, budget=budget,
                               box=[0, rows, 0, width])  # fmt: skip
                cases.append(told("ingest", budget, width, run))
                run = run_case(f"{CASES}:split", store=store, folder=tree, budget=budget,
                               width=10_000)  # fmt: skip
                cases.append(told("split", budget, width, run))
                shutil.rmtree(tree)
                infers: list[tuple[int, int, str | None]] = [(width, s, None) for s in strides]
                if network is not None and width == min(widths):
                    infers.append((_NARROW, strides[0], network))
                for columns, stride, preset in infers:
                    run = run_case(f"{CASES}:infer", store=store, run=out, budget=budget,
                                   stride=stride, columns=columns, preset=preset)  # fmt: skip
                    cases.append(told("infer", budget, columns, run, stride=stride,
                                      network=preset or "none"))  # fmt: skip
                    shutil.rmtree(out)
                shutil.rmtree(store)
    return body(cases, {"layers": LAYERS, "rows": rows})


def body(cases: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the result: the cases, and how their peaks stand to budgets and projections."""
    ratios = []
    for one in cases:
        peak = one["peak_mib"]["each"]
        budget = float(one["parameters"]["budget"].removesuffix(" GiB")) * 1024
        ratios.append(
            ratio(f"{one['name']}: peak ÷ budget", peak, [budget] * len(peak), of="peak memory",
                  bar=("<=", 1.0), **one["parameters"])
        )  # fmt: skip
        projected = one.get("figures", {}).get("projected_mib")
        if projected is not None:
            ratios.append(
                ratio(f"{one['name']}: projection ÷ peak", [projected] * len(peak), peak,
                      of="peak memory", bar=(">=", 1.0), **one["parameters"])
            )  # fmt: skip
    return {"title": TITLE, "settings": settings, "cases": cases, "ratios": ratios + growth(cases)}


def growth(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how the peaks of a step at two widths stand to each other, all else equal."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    ratios = []
    for one in cases:
        rest = {key: value for key, value in one["parameters"].items() if key != "width"}
        key = (one["name"], *sorted(rest.items()))
        narrow = found.setdefault(key, one)
        if narrow is not one:
            times = one["parameters"]["width"] / narrow["parameters"]["width"]
            ratios.append(
                ratio(f"{one['name']}: peak at {times:g} × the width", one["peak_mib"]["each"],
                      narrow["peak_mib"]["each"], of="peak memory", bar=("<=", 1.1), **rest)
            )  # fmt: skip
    return ratios
