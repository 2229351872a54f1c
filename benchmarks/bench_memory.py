"""Is the budget kept? Peak memory of each step at several budgets and at 1 × and 8 × the width."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.common import run_case
from benchmarks.record import case, ratio
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Is the budget kept? Peak memory of each step at several budgets and widths"
BENCH: dict[str, Any] = {
    "rows": 1024,
    "widths": [2048, 16_384],
    "budgets": ["1.5 GiB", "4 GiB"],
    "strides": [64],
    "network": None,
    "workers": [0],
}
#: What the published result was measured with; twenty minutes. At the smaller width a step is
#: already at work on as much at a time as it ever is, with a second band to be read ahead.
FULL: dict[str, Any] = {
    "rows": 2048,
    "widths": [20_480, 163_840],
    "budgets": ["1.5 GiB", "4 GiB", "12 GiB"],
    "strides": [64],
    "network": "b3",
    "workers": [0, 2],
}
TINY: dict[str, Any] = {
    "rows": 150,
    "widths": [300],
    "budgets": ["4 GiB"],
    "strides": [64],
    "network": None,
    "workers": [0],
}
CASES = "benchmarks.memory_cases"
LAYERS = 18
#: What of a step's arguments lies in the scratch folder.
_PLACES = ("store", "folder", "run")
#: Columns for a real network, which takes a quarter of a second for each of their tiles.
_NARROW = 256


def measure(
    root: Path | None,
    *,
    rows: int,
    widths: list[int],
    budgets: list[str],
    strides: list[int],
    network: str | None,
    workers: list[int],
) -> dict[str, Any]:
    """Run every step at every budget and width, each in a fresh process.

    ``workers`` are worker processes; 0 is threads, and only these run at every width.
    """
    cases = []
    with ServedSegment(rows, max(widths), LAYERS) as segment, scratch(root) as folder:
        for budget, width, count in product(budgets, widths, workers):
            if count and width != min(widths):
                continue
            how = How(folder, budget, count)
            given: dict[str, Any] = {"url": segment.url, "box": [0, rows, 0, width]}
            cases.append(how.run("ingest", {"width": width}, store="volume.zarr", **given))
            cases.append(
                how.run(
                    "pyramid", {"width": width, "made_from": "volume"}, store="volume.zarr", **given
                )
            )
            cases.append(
                how.run("split", {"width": width}, store="volume.zarr", folder="tree", width=10_000)
            )
            infers: list[tuple[int, int, str | None]] = [(width, s, None) for s in strides]
            if network is not None and width == min(widths) and not count:
                infers.append((_NARROW, strides[0], network))
            for columns, stride, preset in infers:
                where = {"width": columns, "stride": stride, "network": preset or "none"}
                cases.append(
                    how.run(
                        "infer",
                        where,
                        store="volume.zarr",
                        run="run",
                        stride=stride,
                        columns=columns,
                        preset=preset,
                    )
                )
                if preset is None and stride == strides[0]:
                    where = {"width": columns, "made_from": "ink"}
                    cases.append(how.run("pyramid", where, store="run/ink.zarr"))
                shutil.rmtree(folder / "run")
            for name in ("tree", "volume.zarr"):
                shutil.rmtree(folder / name)
    return body(cases, {"layers": LAYERS, "rows": rows})


@dataclass(frozen=True)
class How:
    """Where and in what memory the steps work; ``workers`` 0 is threads."""

    folder: Path
    budget: str
    workers: int

    def run(self, name: str, where: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Run one step; return its case."""
        places = {key: str(self.folder / given[key]) for key in _PLACES if key in given}
        given = given | places | {"budget": self.budget}
        if self.workers:
            run = run_case(f"{CASES}:on_processes", case=name, workers=self.workers, **given)
        else:
            run = run_case(f"{CASES}:{name}", **given)
        where = where | {"budget": self.budget, "workers": self.workers}
        return case(name, [run], figures=run.result or {}, series=False, **where)


def body(cases: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the result: the cases, and how their peaks stand to budgets and projections."""
    ratios = []
    for one in cases:
        peak = one["peak_mib"]["each"]
        budget = float(one["parameters"]["budget"].removesuffix(" GiB")) * 1024
        ratios.append(
            ratio(
                f"{one['name']}: peak ÷ budget",
                peak,
                [budget] * len(peak),
                of="peak memory",
                bar=("<=", 1.0),
                **one["parameters"],
            )
        )
        projected = one.get("figures", {}).get("projected_mib")
        if projected is not None:
            ratios.append(
                ratio(
                    f"{one['name']}: projection ÷ peak",
                    [projected] * len(peak),
                    peak,
                    of="peak memory",
                    bar=(">=", 1.0),
                    **one["parameters"],
                )
            )
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
                ratio(
                    f"{one['name']}: peak at {times:g} × the width",
                    one["peak_mib"]["each"],
                    narrow["peak_mib"]["each"],
                    of="peak memory",
                    bar=("<=", 1.1),
                    **rest,
                )
            )
    return ratios
