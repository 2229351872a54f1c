"""Ingest against its limit: decoding the same bytes from memory, then writing the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds, spread
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Ingest against the limit: decoding from memory and writing the store, on all cores"
BENCH: dict[str, Any] = {"layers": 21, "rows": 1024, "width": 60_000, "rounds": 2}
FULL: dict[str, Any] = {**BENCH, "rows": 1378, "rounds": 3}
TINY: dict[str, Any] = {"layers": 12, "rows": 60, "width": 1100, "rounds": 1}
BAR = 1.3
#: The function, the name of its target, and what else it gets.
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "decode and write": ("benchmarks.limit_cases:decode_and_write", "folder", {}),
    "ingest": ("benchmarks.ingest_cases:store", "store", {"pyramid": False}),
    "ingest and pyramid": ("benchmarks.ingest_cases:store", "store", {}),
}
MISSING = (
    "the limit neither imports libraries nor fetches: the server's process takes its share of the "
    "two cores, and so do receiving the bytes and putting decoded rows in their places"
)

PYRAMID = "the limit makes no coarser levels: each chunk is read back, decoded, halved and coded"


def measure(
    root: Path | None, *, layers: int, rows: int, width: int, rounds: int
) -> dict[str, Any]:
    """Run both in turns."""
    runs: dict[str, list[Measured]] = {name: [] for name in WAYS}
    with ServedSegment(rows, width, layers) as segment:
        for number in range(rounds):
            for name in by_turns([*WAYS], number):
                with scratch(root) as folder:
                    target, place, more = WAYS[name]
                    wanted = layers if place == "folder" else list(range(layers))
                    given = {place: str(folder / "out"), "layers": wanted, **more}
                    runs[name].append(run_case(target, url=segment.url, **given))
    work = (layers * rows * width / 1e6, "MB of pixels")
    cases = [case(name, found, work=work) for name, found in runs.items()]
    for step in ("decode_seconds", "write_seconds"):
        each = spread([run.result[step] for run in runs["decode and write"]])
        cases[0].setdefault("figures", {})[step] = each
    return {
        "title": TITLE,
        "settings": {"layers": layers, "rows": rows, "width": width},
        "cases": cases,
        "ratios": [
            ratio(
                "ingest ÷ limit",
                seconds(runs["ingest"]),
                seconds(runs["decode and write"]),
                bar=("<=", BAR),
                missing=MISSING,
            ),
            ratio(
                "ingest and pyramid ÷ limit",
                seconds(runs["ingest and pyramid"]),
                seconds(runs["decode and write"]),
                missing=PYRAMID,
            ),
            ratio(
                "ingest ÷ limit",
                [run.cpu_seconds for run in runs["ingest"]],
                [run.cpu_seconds for run in runs["decode and write"]],
                of="processor time",
            ),
        ],
    }
