"""A tenth of a segment of true size: ingest of its full height and prediction with a stand-in.

The measured rates are extended to the whole width in proportion, and labelled so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import case, ratio, spread
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "A share of a whole segment at true scale: ingest, and prediction with a stand-in network"
BENCH: dict[str, Any] = {
    "height": 13_780,
    "width": 289_380,
    "layers": 16,
    "share": 0.03,
    "budget": "4 GiB",
    "stride": 64,
    "layout": "tiles-128",
}
FULL: dict[str, Any] = {**BENCH, "share": 0.1}
TINY: dict[str, Any] = {
    "height": 256,
    "width": 2560,
    "layers": 16,
    "share": 0.1,
    "budget": "2 GiB",
    "stride": 64,
    "layout": "rows-lzw",
}
CASES = "benchmarks.scaling_cases"


def measure(
    root: Path | None,
    *,
    height: int,
    width: int,
    layers: int,
    share: float,
    budget: str,
    stride: int,
    layout: str,
) -> dict[str, Any]:
    """Ingest all rows of the first columns, then predict them."""
    columns = round(width * share)
    with scratch(root) as folder:
        store = str(folder / "store.zarr")
        with ServedSegment(height, width, layers, layout=layout) as segment:
            ingest = run_case(
                f"{CASES}:ingest",
                url=segment.url,
                store=store,
                budget=budget,
                box=[0, height, 0, columns],
                layers=layers,
            )
            sent = segment.bytes_sent()
        infer = run_case(
            f"{CASES}:infer",
            store=store,
            out=str(folder / "run"),
            columns=columns,
            budget=budget,
            stride=stride,
            network="stand-in",
        )
    pixels = height * columns / 1e6
    volume = (layers * pixels, "MB of pixels")
    steps: list[tuple[str, Measured, tuple[float, str], dict[str, Any]]] = [
        ("ingest", ingest, volume, {"bytes_sent": sent}),
        ("predict", infer, (pixels, "Mpx of ink"), {}),
    ]
    cases = []
    for name, run, work, more in steps:
        cases.append(case(name, [run], work=work, columns=columns, **more))
        cases.append(
            {
                "name": f"{name}, whole segment",
                "parameters": {"columns": width},
                "seconds": spread([run.seconds * width / columns]),
                "extended": f"in proportion to the width, from {columns} of {width} columns",
            }
        )
    limit = float(budget.removesuffix(" GiB")) * 2**30
    return {
        "title": TITLE,
        "settings": {
            "height": height,
            "width": width,
            "layers": layers,
            "budget": budget,
            "stride": stride,
            "layout": layout,
            "windows": 1,
        },
        "cases": cases,
        "ratios": [
            ratio(
                f"{name}: peak ÷ budget",
                [float(run.peak_bytes)],
                [limit],
                of="peak memory",
                bar=("<=", 1.0),
            )
            for name, run, *_ in steps
        ],
    }
