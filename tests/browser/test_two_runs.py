"""Two runs side by side, and one that is still going, in a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from browser.page import LEFT, Tab
from s5engine.view.app import page_of
from s5engine.view.exhibit import open_exhibit
from s5engine.view.serve import Viewer

GRAY = "?colour=gray&opacity=1&zoom=1"


def panel_values(tab: Tab, seen: np.ndarray, number: int, places) -> list[int]:
    """Return the gray value at segment pixels (y, x) of one of two panels on the screen."""
    width = tab.page.evaluate("s5.size")[0]
    found = []
    for y, x in places:
        across, down = tab.screen(x, y)
        left = tab.page.evaluate("n => s5.models.figures.map(f => Bokeh.index.find_one_by_id(f.id)"
                                 ".el.getBoundingClientRect().left)[n]", number)  # fmt: skip
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
    exhibit = open_exhibit([data / "run1", data / "run2"], saves=tmp_path / "saves")
    viewer = Viewer(page_of(exhibit)).start()
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


def test_a_run_that_still_goes_fills_in(data, tmp_path: Path, tab: Tab, browser) -> None:
    run = tmp_path / "run"
    shutil.copytree(data / "run1", run)
    record = json.loads((run / "run.json").read_text())
    whole = record["completed"]
    record["completed"] = None
    (run / "run.json").write_text(json.dumps(record))
    files = sorted(p for p in (run / "ink.zarr").rglob("c/*/*/*") if p.is_file())
    aside = tmp_path / "aside"
    for file in files:
        target = aside / file.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    viewer = Viewer(page_of(open_exhibit([run], saves=tmp_path / "saves"))).start()
    try:
        empty = tab.open(viewer.url, GRAY + "&x=250&y=150")
        x, y = (round(v) for v in tab.screen(250, 150))
        assert empty[y - 20 : y + 20, x - LEFT - 20 : x - LEFT + 20].max() <= 2
        for file in files:
            (aside / file.relative_to(run)).rename(file)
        tab.wait_note("blocks done")
        ink = s5.open_run(data / "run1").ink.mean("window").values
        seen = tab.settled()
        check(tab, seen, 0, ink, [(150, 250), (60, 100), (250, 400)])
        record["completed"] = whole
        (run / "run.json").write_text(json.dumps(record))
        tab.wait_note("finished")
        np.testing.assert_array_equal(tab.settled()[1:, 1:], seen[1:, 1:])
    finally:
        viewer.stop()
