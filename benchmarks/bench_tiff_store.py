"""A crop of layers over HTTP: tifffile's zarr store over fsspec against the engine's ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, ratio, seconds
from benchmarks.scratch import scratch
from benchmarks.served import ServedSegment

TITLE = "A crop over HTTP: tifffile's zarr store over fsspec against the engine's ingest"
BENCH: dict[str, Any] = {
    "rows": 1024,
    "width": 20_000,
    "layers": 4,
    "box": [256, 768, 4000, 8000],
    "rounds": 1,
}
TINY: dict[str, Any] = {
    "rows": 60,
    "width": 700,
    "layers": 2,
    "box": [20, 40, 100, 300],
    "rounds": 1,
}
PEERS = "benchmarks.peer_cases"
CACHES = ("readahead", "bytes", "background")


def measure(
    root: Path | None, *, rows: int, width: int, layers: int, box: list[int], rounds: int
) -> dict[str, Any]:
    """Read the crop every way, in turns; every pixel is compared, every byte sent is counted."""
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "engine": (f"{PEERS}:ingest_layers", {}),
        **{f"tifffile, {name}": (f"{PEERS}:read_layers", {"cache": name}) for name in CACHES},
    }
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    sent: dict[str, int] = {}
    given = {"layers": list(range(layers)), "box": box}
    with ServedSegment(rows, width, layers) as segment:
        for number in range(rounds):
            with scratch(root) as folder:
                out = {way: str(folder / f"{k}.zarr") for k, way in enumerate(ways)}
                for way in by_turns([*ways], number):
                    target, more = ways[way]
                    segment.reset()
                    runs[way].append(
                        run_case(target, url=segment.url, out=out[way], **given, **more)
                    )
                    sent[way] = segment.bytes_sent()
                for way in ways:
                    if way != "engine":
                        run_case(f"{PEERS}:same_pixels", store=out["engine"], other=out[way])
    size = layers * (box[1] - box[0]) * (box[3] - box[2])
    cases = [
        case(way, found, bytes_sent=sent[way], work=(size / 1e6, "MB of pixels"))
        for way, found in runs.items()
    ]
    ratios = []
    for way in ways:
        if way != "engine":
            name = f"{way} ÷ engine"
            ratios.append(ratio(name, seconds(runs[way]), seconds(runs["engine"])))
            ratios.append(ratio(name, [sent[way]], [sent["engine"]], of="bytes sent"))
    return {
        "title": TITLE,
        "settings": {"rows": rows, "width": width, "layers": layers, "box": box},
        "cases": cases,
        "ratios": ratios,
    }
