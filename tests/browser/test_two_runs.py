"""Two runs side by side, and one that is still going, in a real browser."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from browser.page import LEFT, Tab
from s5engine.view import page
from s5engine.view.app import page_of
from s5engine.view.scene import open_scene
from s5engine.view.serve import Viewer

GRAY = "?colour=gray&opacity=1&zoom=1"


def panel_values(tab: Tab, seen: np.ndarray, number: int, places) -> list[int]:
    """Return the gray value at segment pixels (y, x) of one of two panels on the screen."""
    width = tab.page.evaluate("s5.size")[0]
    found = []
    for y, x in places:
        across, down = tab.screen(x, y)
        left = tab.page.evaluate(
            "n => s5.models.figures.map(f => Bokeh.index.find_one_by_id(f.id)"
            ".el.getBoundingClientRect().left)[n]",
            number,
        )
        column = across - LEFT + (left - LEFT)
        assert 0 <= across - LEFT < width
        found.append(int(seen[round(down), round(column)][0]))
    return found


def check(tab: Tab, seen: np.ndarray, number: int, ink: np.ndarray, places) -> None:
    """Compare a panel with its ink, to the nearest pixel."""
    for (y, x), value in zip(places, panel_values(tab, seen, number, places), strict=True):
        near = ink[y - 1 : y + 2, x - 1 : x + 2] * 255
        assert near.min() - 1 <= value <= near.max(), (number, y, x)


@pytest.fixture
def two(data, tmp_path, browser):
    scene = open_scene([data / "run1", data / "run2"], saves=tmp_path / "saves")
    viewer = Viewer(page_of(scene)).start()
    yield viewer.url
    viewer.stop()


def test_two_runs_are_drawn_each_right_and_move_together(two, data, tab: Tab) -> None:
    inks = [s5.open_run(data / f"run{n}").ink.mean("window").values for n in (1, 2)]
    seen = tab.open(two, GRAY + "&x=250&y=150")
    for number, ink in enumerate(inks):
        check(tab, seen, number, ink, [(150, 150), (120, 250), (200, 350)])
    # They can be told apart there.
    assert max(abs(inks[0][p] - inks[1][p]) for p in [(150, 150), (120, 250), (200, 350)]) > 0.05

    # Drag in the first one: both move by as much.
    x, y = tab.screen(250, 150)
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 100, y - 40, steps=8)
    tab.page.mouse.up()
    moved = tab.settled()
    view = tab.page.evaluate("s5.view")
    assert (view["x"], view["y"]) == pytest.approx((150, 190), abs=1.5)
    for number, ink in enumerate(inks):
        check(tab, moved, number, ink, [(150, 100), (190, 150), (230, 250)])


#: Another process that writes a run: each column of blocks once a file allows it.
WRITER = """
import sys, time
from pathlib import Path
import numpy as np, xarray as xr
import dask.array as da
import s5engine as s5
values, run, allowed = map(Path, sys.argv[1:])

def wait(block, block_info=None):
    if block_info:
        while not (allowed / str(block_info[0]["chunk-location"][2])).exists():
            time.sleep(0.02)
    return block

lazy = da.from_array(np.load(values), chunks=(1, 300, 1024))
lazy = lazy.map_blocks(wait, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
coords = {"window": [3], "y": np.arange(300), "x": np.arange(2048)}
ink = xr.DataArray(lazy, dims=("window", "y", "x"), coords=coords, attrs={"segment": "phantom"})
s5.write_run(ink, run, formats=("zarr",), progress=False)
"""


@pytest.mark.slow
def test_a_run_that_another_process_writes_fills_in(
    tmp_path: Path, tab: Tab, browser, monkeypatch
) -> None:
    y, x = np.mgrid[:300, :2048]
    ink = (0.5 + 0.2 * np.sin(x / 31) * np.cos(y / 23) + 0.1 * x / 2048).astype(np.float32)
    np.save(tmp_path / "values.npy", ink[None])
    run, allowed = tmp_path / "run", tmp_path / "allowed"
    allowed.mkdir()
    monkeypatch.setattr(page, "LOOK_AGAIN", 200)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "values.npy", run, allowed])
    viewer = None
    try:
        wait_until(lambda: (run / "run.json").exists() or writer.poll() is not None)
        viewer = Viewer(page_of(open_scene([run], saves=tmp_path / "saves"))).start()
        empty = tab.open(viewer.url, GRAY + "&x=1024&y=150")
        tab.page.evaluate("window.kept = true")
        left, right = [(150, 700), (60, 900)], [(150, 1100), (250, 1400)]

        def filled(place: tuple[int, int]) -> bool:
            return panel_values(tab, tab.shot(), 0, [place])[0] > 2

        assert panel_values(tab, empty, 0, left + right) == [0, 0, 0, 0]
        (allowed / "0").touch()
        wait_until(lambda: filled(left[0]))
        seen = tab.settled()
        check(tab, seen, 0, ink, left)
        assert panel_values(tab, seen, 0, right) == [0, 0]
        assert writer.poll() is None
        (allowed / "1").touch()
        wait_until(lambda: filled(right[0]))
        assert writer.wait(120) == 0
        tab.wait_note("finished")
        check(tab, tab.settled(), 0, ink, left + right)
        assert tab.page.evaluate("window.kept")
    finally:
        writer.kill()
        writer.wait()
        if viewer is not None:
            viewer.stop()


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never is")
