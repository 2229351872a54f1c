"""How time and memory grow: with the width, at a fixed budget, and with worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Scaling: one to eight times the width at a fixed budget; one and two worker processes"
BENCH: dict[str, Any] = {
    "layers": 18,
    "rows": 2048,
    "width": 4096,
    "times": [1, 2, 4, 8],
    "budget": "1 GiB",
    "stride": 64,
    "rounds": 1,
    "worker_columns": 1536,
    "network": "stand-in",
    "worker_network": "demo",
    "worker_rows": 512,
}
#: At the smallest width a band is already as much as is ever held at a time.
FULL: dict[str, Any] = {**BENCH, "width": 20_480, "rounds": 2}
TINY: dict[str, Any] = {
    "layers": 18,
    "rows": 150,
    "width": 200,
    "times": [1, 2],
    "budget": "2 GiB",
    "stride": 64,
    "rounds": 1,
    "worker_columns": 0,
    "network": "stand-in",
    "worker_network": "demo",
    "worker_rows": 64,
}
CASES = "benchmarks.scaling_cases"
#: Of a network that answers at once the helpers of torch's threads (OpenMP) do little but wait for
#: each other, and by default actively: beside other work that took up to four times all the rest.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
#: How far from a straight line time may be, and memory from flat.
LINEAR, FLAT = 1.1, 1.1


def measure(
    root: Path | None,
    *,
    layers: int,
    rows: int,
    width: int,
    times: list[int],
    budget: str,
    stride: int,
    rounds: int,
    worker_columns: int,
    network: str,
    worker_network: str,
    worker_rows: int,
) -> dict[str, Any]:
    """Measure ingest and prediction at each width in turns, then prediction on workers."""
    runs: dict[tuple[str, int], list[Measured]] = {}
    with (
        ServedSegment(rows, width * max(times), layers) as segment,
        scratch(root) as folder,
    ):
        for number in range(rounds):
            for n in map(int, by_turns([*map(str, times)], number)):
                store = str(folder / f"{n}-{number}.zarr")
                box = [0, rows, 0, n * width]
                found = run_case(
                    f"{CASES}:ingest",
                    url=segment.url,
                    store=store,
                    box=box,
                    budget=budget,
                    layers=layers,
                )
                runs.setdefault(("ingest", n), []).append(found)
                found = run_case(
                    f"{CASES}:infer",
                    store=store,
                    out=str(folder / f"{n}-{number}"),
                    columns=n * width,
                    budget=budget,
                    stride=stride,
                    network=network,
                    environment=PATIENT,
                )
                runs.setdefault(("predict", n), []).append(found)
        on_workers = _on_workers(
            folder, [layers, worker_rows, worker_columns], rounds - 1 or 1, budget, worker_network
        )
    cases = [
        case(step, found, work=(rows * n * width / 1e6, "Mpx of each layer"), times=n)
        for (step, n), found in sorted(runs.items())
    ]
    cases += [case("predict on workers", found, workers=n) for n, found in on_workers.items()]
    return {
        "title": TITLE,
        "settings": {
            "layers": layers,
            "rows": rows,
            "width": width,
            "budget": budget,
            "network": network,
        },
        "cases": cases,
        "ratios": _ratios(runs, times, on_workers),
        "curves": [{"over": "times", "label": "times the width", "cases": ["ingest", "predict"]}],
        "notes": [
            "Strips span all columns: an ingest of a narrow box fetches the whole rows, which is "
            "why its time has a part that does not grow with the width."
        ],
    }


def _on_workers(
    folder: Path, size: list[int], rounds: int, budget: str, network: str
) -> dict[int, list[Measured]]:
    """Predict on one and on two worker processes, in turns."""
    layers, rows, columns = size
    if not columns:
        return {}
    store = str(folder / "workers.zarr")
    with ServedSegment(rows, columns, layers) as segment:
        run_case("benchmarks.ingest_cases:store", url=segment.url, store=store)
    runs: dict[int, list[Measured]] = {1: [], 2: []}
    for number in range(rounds):
        for n in map(int, by_turns(["1", "2"], number)):
            runs[n].append(
                run_case(
                    f"{CASES}:infer",
                    store=store,
                    out=str(folder / f"w{n}-{number}"),
                    columns=columns,
                    budget="8 GiB",
                    stride=32,
                    network=network,
                    workers=n,
                )
            )
    return runs


def _ratios(
    runs: dict[tuple[str, int], list[Measured]],
    times: list[int],
    workers: dict[int, list[Measured]],
) -> list[dict[str, Any]]:
    """Return how far from linear and flat the steps are, and what a second worker brings."""
    found = []
    first, half, last = times[0], times[-2], times[-1]
    for step in ("ingest", "predict"):
        small, middle, large = (runs[step, n] for n in (first, half, last))
        found.append(
            ratio(
                f"{step}: time at {last} × ÷ {last // half} · time at {half} ×",
                seconds(large),
                [last / half * value for value in seconds(middle)],
                bar=("<=", LINEAR),
            )
        )
        found.append(
            ratio(
                f"{step}: peak at {last} × ÷ at {first} ×",
                [float(run.peak_bytes) for run in large],
                [float(run.peak_bytes) for run in small],
                of="peak memory",
                bar=("<=", FLAT),
            )
        )
    if workers:
        found.append(
            ratio(
                "1 worker ÷ 2 workers",
                seconds(workers[1]),
                seconds(workers[2]),
                missing="torch's threads use both cores inside one worker already",
            )
        )
    return found
