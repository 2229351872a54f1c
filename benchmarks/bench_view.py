"""How long the viewer takes to open a whole segment and to answer a move, in a real browser."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.browser_tab import Tab, open_browser
from benchmarks.memory_watch import TreeWatch
from benchmarks.record import MIB, ratio, spread
from benchmarks.scratch import scratch
from benchmarks.view_stores import write_stores

TITLE = "Opening and moving about a whole segment in the viewer"
FULL: dict[str, Any] = {
    "height": 13_780,
    "width": 289_380,
    "layers": 21,
    "windows": 3,
    "budget": "4 GiB",
    "zooms": [0.015, 0.06, 0.25, 1.0, 3.0],
    "moves": 4,
    "rounds": 3,
}
#: The same segment, fewer moves: a minute.
BENCH: dict[str, Any] = {**FULL, "moves": 2, "rounds": 1}
TINY: dict[str, Any] = {
    **BENCH,
    "height": 1100,
    "width": 1500,
    "layers": 4,
    "windows": 1,
    "zooms": [1.0],
    "moves": 1,
    "rounds": 1,
}
#: Seconds in which the page is to open, and a move to be answered.
OPEN, MOVE = 2.0, 0.3


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, float, TreeWatch]]:
    """Run `s5 view`; give its address, the seconds until it said so, and its memory."""
    command = [
        sys.executable,
        "-c",
        "from s5engine.cli import main; main()",
        "view",
        str(folder / "run"),
        str(folder / "volume.zarr"),
        "--no-open",
        "-o",
        str(folder / "saves"),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        with TreeWatch(process.pid) as watch:
            for line in process.stderr or ():
                if found := re.search(r"http://\S+", line):
                    yield found[0], time.perf_counter() - started, watch
                    return
        raise RuntimeError("s5 view has not started")
    finally:
        process.terminate()
        process.wait()


def look(browser: Any, folder: Path, zooms: list[float], moves: int, size: Any) -> dict[str, Any]:
    """Open a fresh viewer and move about where nothing was read before; return seconds."""
    found: dict[str, Any] = {}
    with served(folder) as (url, found["start"], watch):
        tab = Tab(browser)
        found["open"] = tab.open(url)
        again = Tab(browser)
        found["open again"] = again.open(url)
        again.close()
        height, width = size
        for number, zoom in enumerate(zooms):
            reach = tab.reach(zoom)
            # Far from where another zoom looks, and so that the way to the right is free.
            x = width * (0.1 + 0.8 * number / len(zooms))
            y = height / 2 if reach[0] > height else height * (0.2 + 0.6 * number / len(zooms))
            found[f"jump {zoom:g}"] = [tab.jump(x, y, zoom)]
            found[f"pan {zoom:g}"] = [tab.pan(0.5) for _ in range(moves)]
            found[f"zoom {zoom:g}"] = [tab.wheel(-300) for _ in range(moves)]
            found[f"zoom {zoom:g}"] += [tab.wheel(300) for _ in range(moves)]
        found["drawn"] = tab.share_drawn()
        tab.close()
    found["peak"] = watch.peak
    if found["drawn"] < 0.5:
        raise AssertionError(f"only {found['drawn']:.2f} of the screen's pixels are not black")
    return found


def measure(
    root: Path | None,
    *,
    height: int,
    width: int,
    layers: int,
    windows: int,
    budget: str,
    zooms: list[float],
    moves: int,
    rounds: int,
) -> dict[str, Any]:
    """Measure each round with a server and a page of its own."""
    settings = {
        "height": height,
        "width": width,
        "layers": layers,
        "windows": windows,
        "screen": "1600 × 1000",
        "moves": moves,
        "rounds": rounds,
    }
    with scratch(root) as folder:
        write_stores(
            folder, height=height, width=width, layers=layers, windows=windows, budget=budget
        )
        with open_browser() as browser:
            found = [look(browser, folder, zooms, moves, (height, width)) for _ in range(rounds)]
    return {
        "title": TITLE,
        "settings": settings,
        "cases": _cases(found),
        "ratios": _bars(found),
        "notes": [
            "Every level has its true shape and every chunk that is looked at is decoded; equal "
            "files are links to a few, so that they come from the system's cache, as on a second "
            "look, not from a cold disk.",
            "`start` is from the command to its address: Python and imports. `open` is from the "
            "first request of the page to all its pixels drawn, in a browser that runs already; "
            "`open again` is a second page of the same server. A move counts from its last event "
            "(wheel, mouse, or call) until the whole screen shows the new place, two frames after "
            "the pixels came: where much has to be read, at a coarser level at first. `sharp` is "
            "until everything that it asked for is drawn at its level; half a second is between "
            "two moves. Browser and server share the cores.",
        ],
    }


def _cases(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one case for each thing that was timed."""
    cases: list[dict[str, Any]] = [
        {"name": name, "parameters": {}, "seconds": spread([one[name] for one in found])}
        for name in ("start", "open", "open again")
    ]
    cases[0]["peak_mib"] = spread([one["peak"] / MIB for one in found], 0)
    for name in found[0]:
        kind, _, zoom = name.partition(" ")
        if kind in ("jump", "pan", "zoom"):
            for number, stage in enumerate(("", ", sharp")):
                times = [answer[number] for one in found for answer in one[name]]
                cases.append(
                    {
                        "name": kind + stage,
                        "parameters": {"zoom": float(zoom)},
                        "seconds": spread(times),
                    }
                )
    return cases


def _bars(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is held to a bar: opening, and the slowest and the median move of each round."""
    moves, sharp = (
        [
            sorted(
                answer[stage]
                for name, answers in one.items()
                if name.split()[0] in ("jump", "pan", "zoom")
                for answer in answers
            )
            for one in found
        ]
        for stage in (0, 1)
    )
    limit = [MOVE] * len(found)
    return [
        ratio("open ÷ 2 s", [one["open"] for one in found], [OPEN] * len(found), bar=("<=", 1)),
        ratio("slowest move ÷ 300 ms", [times[-1] for times in moves], limit, bar=("<=", 1)),
        ratio("median move ÷ 300 ms", [times[len(times) // 2] for times in moves], limit),
        ratio("slowest move, sharp ÷ 300 ms", [times[-1] for times in sharp], limit),
        ratio("median move, sharp ÷ 300 ms", [times[len(times) // 2] for times in sharp], limit),
    ]
