"""The title's crop of a whole segment served at true scale, against the 2025 way.

The 2025 way downloads every layer whole and cuts the part that the title lies in. It is measured
on segments of a sixteenth and an eighth of the width (by `make bench` half as wide) and extended to
all of it along the straight line through both: bytes, decoding and the size of a layer all grow
with the width. There it cuts the same crop from the first part, since a sixteenth of the width ends
inside the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import MIB, case, ratio, spread
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "The title's crop of a whole segment at true scale, against the 2025 way"
#: The segment 03192025 and the crop of its second part that shows the title.
BENCH: dict[str, Any] = {
    "height": 13_780,
    "width": 289_380,
    "layers": 21,
    "part_width": 10_000,
    "part": 2,
    "box": [4630, 7730, 3200, 9300],
    "wanted": [3, 21],
    "budget": "320 MiB",
    "shares": [30, 16],
}
FULL: dict[str, Any] = {**BENCH, "shares": [16, 8]}
TINY: dict[str, Any] = {
    "height": 120,
    "width": 4800,
    "layers": 12,
    "part_width": 200,
    "part": 2,
    "box": [40, 70, 30, 90],
    "wanted": [2, 8],
    "budget": "2 GiB",
    "shares": [16, 8],
}
SECONDS_BAR, MEMORY_BAR = 20.0, 10.0


def measure(
    root: Path | None,
    *,
    height: int,
    width: int,
    layers: int,
    part_width: int,
    part: int,
    box: list[int],
    wanted: list[int],
    budget: str,
    shares: list[int],
) -> dict[str, Any]:
    """Measure the 2025 way at shares of the width and the engine at all of it."""
    numbers, left = list(range(*wanted)), (part - 1) * part_width
    at = [box[0], box[1], left + box[2], left + box[3]]
    where: dict[str, Any] = {"part": 1, "layers": numbers, "box": box, "width": part_width}
    chosen = {"layers": numbers, "box": at, "budget": budget}
    cases, old = [], {}
    for share in shares:
        columns = width // share
        with scratch(root) as folder, ServedSegment(height, columns, layers) as segment:
            a, b = str(folder / "old"), str(folder / "new")
            old[columns] = run_case("benchmarks.baseline:crop", url=segment.url, folder=a, **where)
            sent = segment.bytes_sent()
            cases.append(case("2025", [old[columns]], bytes_sent=sent, width=columns))
            mine = chosen | {"box": box}
            run_case("benchmarks.ingest_cases:crop", url=segment.url, store=b, **mine)
            run_case("benchmarks.ingest_cases:check_crop", baseline=a, store=b, **where)
    with scratch(root) as folder, ServedSegment(height, width, layers) as segment:
        new = run_case(
            "benchmarks.ingest_cases:crop", url=segment.url, store=str(folder / "store"), **chosen
        )
        sent, file_bytes = segment.bytes_sent(), segment.file_bytes
    cases.append(_extended(old, width, file_bytes))
    cases.append(case("engine", [new], bytes_sent=sent, width=width))
    return {
        "title": TITLE,
        "settings": {
            "height": height,
            "layers": layers,
            "box": at,
            "wanted_layers": len(numbers),
            "budget": budget,
        },
        "cases": cases,
        "ratios": _ratios(cases[-2], cases[-1]),
        "curves": [
            {
                "over": "width",
                "label": "width of the segment, px",
                "cases": ["2025", "2025, extended", "engine"],
            }
        ],
    }


def _extended(old: dict[int, Measured], width: int, file_bytes: int) -> dict[str, Any]:
    """Return the 2025 way at the whole width, on the line through what was measured."""
    (w0, first), (w1, second) = sorted(old.items())

    def at(a: float, b: float) -> float:
        return max(b, a + (b - a) * (width - w0) / (w1 - w0))

    return {
        "name": "2025, extended",
        "parameters": {"width": width},
        "seconds": spread([at(first.seconds, second.seconds)]),
        "peak_mib": spread([at(first.peak_bytes, second.peak_bytes) / MIB], 0),
        "bytes_sent": file_bytes,
        "extended": f"along the line through {w0} and {w1} px of width; bytes: of all files",
    }


def _ratios(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how much less the engine takes of time, memory and bytes."""
    label = old["extended"]
    return [
        ratio(
            "2025 ÷ engine",
            old["seconds"]["each"],
            new["seconds"]["each"],
            extended=label,
            bar=(">=", SECONDS_BAR),
        ),
        ratio(
            "2025 ÷ engine",
            old["peak_mib"]["each"],
            new["peak_mib"]["each"],
            extended=label,
            of="peak memory",
            bar=(">=", MEMORY_BAR),
        ),
        ratio(
            "2025 ÷ engine",
            [old["bytes_sent"]],
            [new["bytes_sent"]],
            of="bytes sent",
            missing="strips span the whole width: the crop's rows are fetched whole",
        ),
    ]
