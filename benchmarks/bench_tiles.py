"""Training tiles: `build_tileset` against the 2025 preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Measured, run_case
from benchmarks.record import by_turns, case, peaks, ratio, seconds
from benchmarks.scratch import scratch

TITLE = "Preparing training tiles, against the 2025 way"
BENCH: dict[str, Any] = {
    "height": 1400,
    "width": 5200,
    "layers": 18,
    "first": 1,
    "tile": 128,
    "rounds": 2,
}
FULL: dict[str, Any] = {**BENCH, "height": 2800}
TINY: dict[str, Any] = {
    "height": 300,
    "width": 420,
    "layers": 16,
    "first": 0,
    "tile": 64,
    "rounds": 1,
}
MISSING = (
    "0.7 s are imports; files are decoded a few rows at a time, pixels compressed, and all of it "
    "written so that it can be killed; the 2025 way holds the part whole and writes raw arrays"
)


def measure(
    root: Path | None, *, height: int, width: int, layers: int, first: int, tile: int, rounds: int
) -> dict[str, Any]:
    """Measure both ways in turns; every tile is compared."""
    numbers = list(range(first, first + 16))
    names = ("2025", "packed", "index")
    runs: dict[str, list[Measured]] = {name: [] for name in names}
    written: dict[str, int] = {}
    with scratch(root) as folder:
        run_case(
            "benchmarks.tile_cases:make",
            folder=str(folder),
            height=height,
            width=width,
            layers=layers,
        )
        for number in range(rounds):
            out = {name: str(folder / f"{name}{number}") for name in names}
            for name in by_turns(names, number):
                given = {"layers": numbers, "tile": tile}
                if name == "2025":
                    labels = str(folder / "labels" / "phantom_01")
                    run = run_case(
                        "benchmarks.baseline_tiles:prepare",
                        part=str(folder / "part"),
                        labels=labels,
                        out=out[name],
                        **given,
                    )
                else:
                    run = run_case(
                        "benchmarks.tile_cases:build",
                        folder=str(folder),
                        tiles=out[name],
                        packed=name == "packed",
                        **given,
                    )
                runs[name].append(run)
                files = [path for path in Path(out[name]).rglob("*") if path.is_file()]
                written[name] = sum(path.stat().st_size for path in files)
            run_case("benchmarks.tile_cases:check_equal", old=out["2025"], tiles=out["packed"])
    tiles = runs["2025"][0].result
    ratios = []
    for name in ("packed", "index"):
        ratios += [
            ratio(f"2025 ÷ {name}", seconds(runs["2025"]), seconds(runs[name]), missing=MISSING),
            ratio(f"2025 ÷ {name}", peaks(runs["2025"]), peaks(runs[name]), of="peak memory"),
            ratio(f"2025 ÷ {name}", [written["2025"]], [written[name]], of="bytes on disk"),
        ]
    return {
        "title": TITLE,
        "settings": {"height": height, "width": width, "tile": tile, "tiles": tiles},
        "cases": [
            case(name, found, work=(tiles, "tiles"), figures={"bytes_on_disk": written[name]})
            for name, found in runs.items()
        ],
        "ratios": ratios,
        "notes": [
            "`packed` copies the pixels under tiles once each; `index` leaves them in the volume."
        ],
    }
