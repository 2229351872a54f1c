"""Is the budget kept? Peak memory of each step at several budgets and at 1 × and 8 × the width.

``python -m benchmarks.bench_memory`` takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from benchmarks.bench_ingest import scratch
from benchmarks.common import Measured, run_case, write_result
from benchmarks.served import ServedSegment

CASES = "benchmarks.memory_cases"
MIB = 2**20


def told(budget: str, width: int, run: Measured, **more: Any) -> dict[str, Any]:
    """Return one case's row; with a projection, its ratio to what was measured."""
    row = {"budget": budget, "width": width, "peak_mib": run.peak_bytes // MIB,
           "seconds": round(run.seconds, 1)}  # fmt: skip
    projected = (run.result or {}).get("projected_mib")
    over = (
        {}
        if projected is None
        else {"projected_over_peak": round(projected * MIB / run.peak_bytes, 2)}
    )
    return {**row, **more, **(run.result or {}), **over}


def measure(rows: int, widths: list[int], budgets: list[str], strides: list[int],
            checkpoint: Path | None, root: Path | None) -> dict[str, Any]:  # fmt: skip
    """Run every step at every budget and width, each in a fresh process."""
    found: dict[str, Any] = {"size": {"layers": 18, "rows": rows}, "ingest": [], "split": [],
                             "infer": []}  # fmt: skip
    with ServedSegment(rows, max(widths), 18) as segment, scratch(root) as folder:
        store = folder / "volume.zarr"
        for budget in budgets:
            for width in widths:
                shutil.rmtree(store, ignore_errors=True)
                run = run_case(f"{CASES}:ingest", url=segment.url, store=str(store),
                               budget=budget, box=[0, rows, 0, width])  # fmt: skip
                found["ingest"].append(told(budget, width, run))
                run = run_case(f"{CASES}:split", store=str(store), folder=str(folder / "tree"),
                               budget=budget, width=10_000)  # fmt: skip
                shutil.rmtree(folder / "tree")
                found["split"].append(told(budget, width, run))
                for stride in strides:
                    run = run_case(f"{CASES}:infer", store=str(store), run=str(folder / "run"),
                                   budget=budget, stride=stride, columns=width)  # fmt: skip
                    shutil.rmtree(folder / "run")
                    found["infer"].append(told(budget, width, run, stride=stride, network="none"))
            if checkpoint is not None:
                run = run_case(f"{CASES}:infer", store=str(store), run=str(folder / "run"),
                               budget=budget, stride=64, columns=min(widths),
                               checkpoint=str(checkpoint.absolute()))  # fmt: skip
                shutil.rmtree(folder / "run")
                found["infer"].append(
                    told(budget, min(widths), run, stride=64, network=checkpoint.name)
                )
    return found


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--widths", type=int, nargs="+", default=[2048, 16_384])
    parser.add_argument("--budgets", nargs="+", default=["1.5 GiB", "4 GiB", "12 GiB"])
    parser.add_argument("--strides", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--checkpoint", type=Path, help="a real network, for the least width")
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with 10 GB of room")
    parser.add_argument("--name", default="memory")
    asked = parser.parse_args()
    body = measure(asked.rows, asked.widths, asked.budgets, asked.strides, asked.checkpoint,
                   asked.scratch)  # fmt: skip
    print(write_result(asked.name, body))


if __name__ == "__main__":
    main()
