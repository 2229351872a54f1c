"""A crop of the first columns against the full width: pixels decoded, time and bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "Ingest of a tenth of the columns against all of them"
BENCH: dict[str, Any] = {"layers": 21, "rows": 512, "width": 60_000, "columns": 6000, "rounds": 2}
TINY: dict[str, Any] = {"layers": 12, "rows": 40, "width": 600, "columns": 60, "rounds": 1}
CASES = "benchmarks.ingest_cases"


def measure(
    root: Path | None, *, layers: int, rows: int, width: int, columns: int, rounds: int
) -> dict[str, Any]:
    """Ingest both boxes in turns; count what the decoder gave in a run of its own."""
    boxes = {"crop": [0, rows, 0, columns], "full": [0, rows, 0, width]}
    with ServedSegment(rows, width, layers) as segment, scratch(root) as folder:
        decoded = {
            name: run_case(
                f"{CASES}:pixels_decoded", url=segment.url, store=str(folder / name), box=box
            ).result
            for name, box in boxes.items()
        }
        runs: dict[str, list[Measured]] = {name: [] for name in boxes}
        sent = {}
        for number in range(rounds):
            for name in by_turns([*boxes], number):
                segment.reset()
                place = str(folder / f"{name}{number}")
                runs[name].append(
                    run_case(f"{CASES}:store", url=segment.url, store=place, box=boxes[name])
                )
                sent[name] = segment.bytes_sent()
    cases = []
    for name, box in boxes.items():
        wanted = layers * rows * (box[3] - box[2])
        cases.append(
            case(
                name,
                runs[name],
                bytes_sent=sent[name],
                work=(wanted / 1e6, "MB of pixels"),
                figures={"bytes_decoded": decoded[name], "bytes_wanted": wanted},
            )
        )
    return {
        "title": TITLE,
        "settings": {"layers": layers, "rows": rows, "width": width, "columns": columns},
        "cases": cases,
        "ratios": [
            ratio("full ÷ crop", seconds(runs["full"]), seconds(runs["crop"])),
            ratio(
                "decoded ÷ wanted",
                [decoded["crop"]],
                [cases[0]["figures"]["bytes_wanted"]],
                of="bytes of pixels",
                bar=("<=", 1.0),
            ),
            ratio(
                "full ÷ crop",
                [sent["full"]],
                [sent["crop"]],
                of="bytes sent",
                missing="a strip spans all columns, and neighbouring strips come in one request",
            ),
        ],
    }
