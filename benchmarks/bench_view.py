"""How long the viewer takes to open a whole segment and to answer a move.

    python -m benchmarks.bench_view [FOLDER]

A synthetic pyramid of 13,780 × 289,380 px (two windows of ink, 21 layers): the coarser levels, and
a screenful of each finer one, are dense; the rest is not written. A real page in headless Chromium
opens it and moves; each move goes where nothing was read before.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from .common import write_result

HEIGHT, WIDTH, LAYERS, WINDOWS = 13_780, 289_380, 21, 2
#: Where a screenful of dense pixels lies, and how large it is at each level.
CENTRE, DENSE = (6800, 144_000), (3072, 6144)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--no-first-run", "--disable-component-update", "--disable-sync",
         "--disable-quic"]  # fmt: skip
MOVES = 12


def write_pyramid(path: Path, planes: int, kind: str) -> None:
    """Write an OME-Zarr pyramid, dense where the benchmark looks."""
    group = zarr.create_group(path)
    rng = np.random.default_rng(1)
    noise = rng.normal(128, 20, (1024, 1024)).clip(0, 255)
    datasets, number = [], 0
    height, width = HEIGHT, WIDTH
    while True:
        depth = planes if kind == "u1" and number == 0 else 1
        array = group.create_array(
            str(number), shape=(planes, height, width), dtype=kind,
            chunks=(depth, 128, 128) if kind == "u1" else (1, 512, 512),
            shards=(depth, 1024, 1024) if kind == "u1" else None,
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="noshuffle"), fill_value=0,
        )  # fmt: skip
        scale = [1.0, 2.0**number, 2.0**number]
        datasets.append({"path": str(number), "coordinateTransformations": [
            {"type": "scale", "scale": scale}]})  # fmt: skip
        middle = [c >> number for c in CENTRE]
        for y in _steps(middle[0], DENSE[0], height):
            for x in _steps(middle[1], DENSE[1], width):
                block = noise[: min(1024, height - y), : min(1024, width - x)]
                values = block.astype("u1") if kind == "u1" else (block / 255).astype("f4")
                array[:, y : y + 1024, x : x + 1024] = values[None]
        if max(height, width) <= 1024:
            break
        number, height, width = number + 1, -(-height // 2), -(-width // 2)
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{
        "axes": [{"name": n, "type": "space"} for n in "zyx"], "datasets": datasets}]}  # fmt: skip


def _steps(middle: int, dense: int, length: int) -> range:
    first = max(0, (middle - dense // 2) // 1024 * 1024)
    return range(first, min(length, first + dense), 1024)


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `s5 view` and return its process and address."""
    command = [sys.executable, "-c", "from s5engine.cli import main; main()", "view",
               str(folder / "surface.zarr"), "--no-open", "-o", str(folder / "saves")]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise RuntimeError("s5 view has not started")


#: Resolves when pixels have come to the page, and have been drawn.
DRAWN = """() => new Promise((done) => {
  const source = Bokeh.documents[0].get_model_by_name("surface");
  const start = performance.now();
  const came = () => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now() - start)));
  source.properties.data.change.connect(came);
  MOVE
})"""


def look(url: str) -> dict[str, Any]:
    """Open the page and move about; return milliseconds."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("S5_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened = []
        for _ in range(5):
            start = time.perf_counter()
            page.goto(url)
            page.wait_for_function(
                "window.Bokeh && Bokeh.documents[0]"
                " && Bokeh.documents[0].get_model_by_name('surface')?.data.image.length"
            )
            opened.append(round((time.perf_counter() - start) * 1000))
        moves: dict[str, list[int]] = {}
        for zoom in (0.06, 0.25, 1.0):
            reach = 0.9 * 1300 / zoom
            page.evaluate(f"s5.show({CENTRE[1]} - {reach * 1.5}, {CENTRE[0]}, {zoom})")
            page.wait_for_timeout(1500)
            times = []
            for number in range(MOVES):
                x = CENTRE[1] + reach * ((number % 4) - 1.5)
                y = CENTRE[0] + (number // 4 - 1) * 600 / zoom
                if abs(y - CENTRE[0]) > 6000:
                    y = CENTRE[0]
                move = f"s5.show({x + number}, {y}, {zoom})"
                times.append(round(page.evaluate(DRAWN.replace("MOVE", move))))
                page.wait_for_timeout(300)
            moves[f"{zoom:g} screen px per pixel"] = times[1:]
        browser.close()
    return {"open_ms": opened, "move_ms": moves}


def main(folder: str | None = None) -> Path:
    """Measure, and write the result."""
    with tempfile.TemporaryDirectory(prefix="s5-view-") as made:
        place = Path(folder or made)
        if not (place / "surface.zarr").exists():
            write_pyramid(place / "surface.zarr", LAYERS, "u1")
        process, url = serve(place)
        try:
            found = look(url)
        finally:
            process.terminate()
            process.wait()
    every = [t for times in found["move_ms"].values() for t in times]
    summary = {"open_ms_median": statistics.median(found["open_ms"]),
               "move_ms_median": statistics.median(every), "move_ms_worst": max(every)}  # fmt: skip
    return write_result("view", {"segment": [HEIGHT, WIDTH], **summary, **found})


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
