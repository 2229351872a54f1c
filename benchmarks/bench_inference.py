"""Inference: contrasted layers → ink, against the 2025 way, same weights and tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, peaks, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Inference: from contrasted layers to ink, against the 2025 way in plain torch"
#: Each case: network, rows and columns of the volume, stride, TTA, batch.
BENCH: dict[str, Any] = {
    "rounds": 1,
    "windows": [3],
    "jobs": [
        {"network": "demo", "rows": 256, "columns": 512, "stride": 32, "tta": 0, "batch": 16},
        {"network": "demo", "rows": 128, "columns": 256, "stride": 32, "tta": 3, "batch": 16},
        {"network": "b3", "rows": 192, "columns": 320, "stride": 64, "tta": 0, "batch": 2},
        {"network": "b3", "rows": 192, "columns": 192, "stride": 64, "tta": 3, "batch": 2},
    ],
}
FULL: dict[str, Any] = {
    "rounds": 2,
    "windows": [3],
    "jobs": [
        {"network": "demo", "rows": 512, "columns": 768, "stride": 32, "tta": 0, "batch": 16},
        {"network": "demo", "rows": 256, "columns": 512, "stride": 32, "tta": 3, "batch": 16},
        *BENCH["jobs"][2:],
    ],
}
TINY: dict[str, Any] = {
    "rounds": 2,
    "windows": [2],
    "jobs": [
        {"network": "demo", "rows": 96, "columns": 128, "stride": 32, "tta": 0, "batch": 4},
        {"network": "demo", "rows": 64, "columns": 96, "stride": 32, "tta": 3, "batch": 2},
    ],
}
CASES = "benchmarks.ink_cases"
LAYERS = 20
#: Of the ink, between the network as trained and rewritten.
TOLERANCE = 1e-5
#: Least gain over plain torch with the network of full size.
BAR = 1.4


def volume(root: Path, rows: int, columns: int) -> tuple[str, str]:
    """Make the same small segment as a store and as the contrasted part of 2025."""
    with ServedSegment(rows, columns, LAYERS) as segment:
        store, tree = str(root / "volume.zarr"), str(root / "tree")
        run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        run_case("benchmarks.baseline:run", url=segment.url, folder=tree, width=columns)
    return store, f"{tree}/parts_contrasted/phantom_01"


def measure(
    root: Path | None, *, rounds: int, windows: list[int], jobs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Measure both ways on every job, in turns; equal ink is checked in every round."""
    cases, ratios = [], []
    for job in jobs:
        network, rows, columns = (job[name] for name in ("network", "rows", "columns"))
        how = {name: job[name] for name in ("stride", "tta", "batch")} | {"windows": windows}
        runs: dict[str, list[Measured]] = {"2025": [], "engine": []}
        with scratch(root) as folder:
            store, part = volume(folder, rows, columns)
            for number in range(rounds):
                out = {name: str(folder / f"{name}{number}") for name in runs}
                for name in by_turns([*runs], number):
                    given = {"part": part} if name == "2025" else {"store": store}
                    target = f"{CASES}:{'old' if name == '2025' else 'engine'}"
                    runs[name].append(
                        run_case(target, network=network, out=out[name], **given, **how)
                    )
                difference = run_case(
                    f"{CASES}:check_equal",
                    old=out["2025"],
                    run=out["engine"],
                    windows=windows,
                    tolerance=TOLERANCE,
                ).result
        tiles = runs["2025"][0].result * len(windows)
        where = {"network": network, "tta": job["tta"], "tiles": tiles}
        cases += [
            case(name, found, work=(tiles, "tiles"), batch=job["batch"], **where)
            for name, found in runs.items()
        ]
        cases[-1]["figures"] = {"largest_difference": difference}
        bar = {"bar": (">=", BAR)} if network == "b3" else {}
        ratios.append(ratio("2025 ÷ engine", *map(seconds, runs.values()), **bar, **where))
        ratios.append(ratio("2025 ÷ engine", *map(peaks, runs.values()), of="peak memory", **where))
    return {
        "title": TITLE,
        "settings": {"windows": windows, "layers": LAYERS, "tolerance": TOLERANCE},
        "cases": cases,
        "ratios": ratios,
    }
