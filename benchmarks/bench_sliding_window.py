"""Sliding-window prediction: MONAI's and a plain map_overlap against the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.bench_inference import LAYERS
from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, peaks, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Sliding-window prediction by MONAI and by a plain map_overlap, against the engine"
BENCH: dict[str, Any] = {
    "rounds": 1,
    "window": 3,
    "batch": 16,
    "block": 256,
    "jobs": [
        {"network": "demo", "rows": 256, "columns": 512, "stride": 32},
        {"network": "stand-in", "rows": 2048, "columns": 2048, "stride": 64},
    ],
}
FULL: dict[str, Any] = {
    **BENCH,
    "rounds": 2,
    "jobs": [
        {"network": "demo", "rows": 512, "columns": 768, "stride": 32},
        *BENCH["jobs"][1:],
    ],
}
TINY: dict[str, Any] = {
    "rounds": 1,
    "window": 3,
    "batch": 4,
    "block": 128,
    "jobs": [{"network": "stand-in", "rows": 384, "columns": 256, "stride": 64}],
}
PEERS = "benchmarks.peer_cases"
MISSING = (
    "where the network costs nothing, storing every tile's prediction, so that a killed run goes "
    "on, is what remains"
)
#: Of the ink: sums in another order.
TOLERANCE = 1e-5


def measure(
    root: Path | None,
    *,
    rounds: int,
    window: int,
    batch: int,
    block: int,
    jobs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Measure all ways on every job, in turns; every pixel of every way is compared."""
    cases, ratios = [], []
    for job in jobs:
        network, stride = job["network"], job["stride"]
        how: dict[str, Any] = {"network": network, "stride": stride, "batch": batch}
        peer = how | {"window": window}
        ways: dict[str, tuple[str, dict[str, Any]]] = {
            "engine": (
                "benchmarks.ink_cases:engine",
                how | {"windows": [window], "tta": 0, "edge": "cover", "formats": ["npy"]},
            ),
            "MONAI": (f"{PEERS}:monai", peer),
            "MONAI, buffered": (f"{PEERS}:monai", peer | {"buffer_steps": 4}),
            "map_overlap": (f"{PEERS}:map_overlap", peer | {"block": block}),
        }
        if network != "stand-in":
            ways["MONAI, plain network"] = (f"{PEERS}:monai", peer | {"plain": True})
        runs, differences = _rounds(root, job, ways, window, rounds)
        where = {"network": network, "stride": stride}
        work = (job["rows"] * job["columns"] / 1e6, "Mpx")
        for way, found in runs.items():
            more = {"figures": {"largest_difference": differences[way]}} if way != "engine" else {}
            cases.append(case(way, found, work=work, **more, **where))
            if way != "engine":
                name = f"{way} ÷ engine"
                ratios.append(
                    ratio(name, seconds(found), seconds(runs["engine"]), missing=MISSING, **where)
                )
                ratios.append(
                    ratio(name, peaks(found), peaks(runs["engine"]), of="peak memory", **where)
                )
    return {
        "title": TITLE,
        "settings": {"window": window, "batch": batch, "block of map_overlap": block},
        "cases": cases,
        "ratios": ratios,
        "notes": [
            "MONAI and map_overlap hold the volume or the ink whole in memory and keep nothing on "
            "the way; the engine also stores every tile's prediction, so that a killed run goes "
            "on. The stand-in answers at once: what is left is the engine's own work."
        ],
    }


def _rounds(
    root: Path | None,
    job: dict[str, Any],
    ways: dict[str, tuple[str, dict[str, Any]]],
    window: int,
    rounds: int,
) -> tuple[dict[str, list[Measured]], dict[str, float]]:
    """Run all ways in turns; return their runs and their differences from the engine."""
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    differences = {}
    with scratch(root) as folder:
        store = str(folder / "volume.zarr")
        with ServedSegment(job["rows"], job["columns"], LAYERS) as segment:
            run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        for number in range(rounds):
            out = {way: str(folder / f"{k}-{number}.npy") for k, way in enumerate(ways)}
            for way in by_turns([*ways], number):
                target, given = ways[way]
                runs[way].append(run_case(target, store=store, out=out[way], **given))
            for way in ways:
                if way != "engine":
                    differences[way] = run_case(
                        f"{PEERS}:compare",
                        run=out["engine"],
                        other=out[way],
                        window=window,
                        tolerance=TOLERANCE,
                    ).result
    return runs, differences
