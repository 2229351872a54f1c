"""Ingest of a wide segment in a quarter of the memory that the 2025 way takes.

The 2025 way's peak does not depend on the number of layers and parts, the engine's not on the
number of bands: the one cuts one part of one layer, the other ingests the first rows of all
layers, with a quarter of the first's peak as its budget.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import run_case
from benchmarks.record import case, peaks, ratio
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Memory of an ingest at eight times the width, against the 2025 way"
BENCH: dict[str, Any] = {"layers": 21, "sizes": [[1378, 480_000]], "rows_ingested": 128}
FULL: dict[str, Any] = {**BENCH, "rows_ingested": 256}
TINY: dict[str, Any] = {"layers": 12, "sizes": [[150, 700]], "rows_ingested": 100, "least": 8192}
MIB = 2**20


def measure(
    root: Path | None, *, layers: int, sizes: list[list[int]], rows_ingested: int, least: int = 0
) -> dict[str, Any]:
    """Measure both at every size ``[rows, width]``; ``least`` is the smallest budget, MiB."""
    cases, ratios = [], []
    for rows, width in sizes:
        with scratch(root) as folder:
            with ServedSegment(rows, width, 1) as single:
                old = run_case(
                    "benchmarks.baseline:run", url=single.url, folder=str(folder / "a"), parts=1
                )
            budget = max(old.peak_bytes // 4 // MIB, least)
            with ServedSegment(rows, width, layers) as segment:
                new = run_case(
                    "benchmarks.ingest_cases:store",
                    url=segment.url,
                    store=str(folder / "b"),
                    box=[0, min(rows_ingested, rows), 0, width],
                    budget=f"{budget} MiB",
                )
        where = {"rows": rows, "width": width}
        cases.append(case("2025", [old], figures={"layers": 1, "parts": 1}, **where))
        cases.append(
            case(
                "store",
                [new],
                figures={"layers": layers, "rows_ingested": rows_ingested, "budget_mib": budget},
                **where,
            )
        )
        ratios.append(
            ratio(
                "2025 ÷ store",
                peaks([old]),
                peaks([new]),
                of="peak memory",
                bar=(">=", 4.0),
                **where,
            )
        )
    return {"title": TITLE, "settings": {"layers": layers}, "cases": cases, "ratios": ratios}
