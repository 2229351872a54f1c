"""Our store with the engine, zarr-python and tensorstore: all of it, random windows, writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Our store read and written by the engine, zarr-python and tensorstore"
BENCH: dict[str, Any] = {"layers": 21, "side": 4096, "windows": 12, "rounds": 2}
FULL: dict[str, Any] = {**BENCH, "rounds": 3}
TINY: dict[str, Any] = {"layers": 12, "side": 200, "windows": 2, "rounds": 1}
CASES = "benchmarks.store_cases"
WAYS = ("engine", "zarr", "tensorstore")
MISSING = "dask and xarray lie between the store and what is read of it"


def measure(
    root: Path | None, *, layers: int, side: int, windows: int, rounds: int
) -> dict[str, Any]:
    """Measure every way of every step in turns; all must give the same pixels."""
    with scratch(root) as folder:
        store = str(folder / "volume.zarr")
        with ServedSegment(side, side, layers) as segment:
            run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
        steps: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
            "read all": {way: (f"{CASES}:read_{way}", {"store": store}) for way in WAYS},
            "read windows": {
                way: (f"{CASES}:windows", {"store": store, "how": way, "count": windows})
                for way in WAYS
            },
        }
        cases, ratios = [], []
        for step, ways in steps.items():
            runs: dict[str, list[Measured]] = {way: [] for way in ways}
            for number in range(rounds):
                for way in by_turns([*ways], number):
                    target, given = ways[way]
                    runs[way].append(run_case(target, **given))
            results = {run.result for found in runs.values() for run in found}
            if len(results) > 1:
                raise AssertionError(f"{step}: the ways read different pixels")
            found = _told(step, runs, layers * side * side / 1e6)
            cases, ratios = cases + found[0], ratios + found[1]
        written: dict[str, list[Measured]] = {"zarr": [], "tensorstore": []}
        for number in range(rounds):
            for way in by_turns([*written], number):
                copy = str(folder / f"{way}{number}.zarr")
                written[way].append(run_case(f"{CASES}:write", store=store, copy=copy, how=way))
                run_case(f"{CASES}:check_equal", store=store, copy=copy)
        cases += [
            case(f"write: {way}", found, work=(layers * side * side / 1e6, "MB of pixels"))
            for way, found in written.items()
        ]
        ratios.append(
            ratio("write: zarr ÷ tensorstore", *(seconds(found) for found in written.values()))
        )
        found = _checksums(store, folder, layers * side * side / 1e6, rounds)
        cases, ratios = cases + found[0], ratios + found[1]
    return {
        "title": TITLE,
        "settings": {"layers": layers, "side": side, "windows": windows},
        "cases": cases,
        "ratios": ratios,
        "notes": ["The engine writes stores with code of its own, as part of an ingest."],
    }


def _checksums(
    store: str, folder: Path, megabytes: float, rounds: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what the checksum of each chunk costs: shards with and without, in turns."""
    cases, ratios = [], []
    for step in ("write", "read"):
        runs: dict[str, list[Measured]] = {"with": [], "without": []}
        for number in range(rounds):
            for way in by_turns([*runs], number):
                copy = str(folder / f"{step}-{way}-{number}")
                given = {"store": store, "copy": copy, "step": step, "checksums": way == "with"}
                runs[way].append(run_case(f"{CASES}:shards", **given))
        cases += [
            case(f"{step} shards: {way} checksums", found, work=(megabytes, "MB of pixels"))
            for way, found in runs.items()
        ]
        name = f"{step} shards: with ÷ without checksums"
        ratios.append(ratio(name, *(seconds(found) for found in runs.values())))
    return cases, ratios


def _told(
    step: str, runs: dict[str, list[Measured]], megabytes: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the cases of one step, and how the engine stands to the others."""
    work = {"work": (megabytes, "MB of pixels")} if step == "read all" else {}
    cases = [case(f"{step}: {way}", found, **work) for way, found in runs.items()]
    ratios = [
        ratio(
            f"{step}: {way} ÷ engine", seconds(runs[way]), seconds(runs["engine"]), missing=MISSING
        )
        for way in WAYS
        if way != "engine"
    ]
    return cases, ratios
