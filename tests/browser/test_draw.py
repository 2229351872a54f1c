"""Drawing in a real browser: shapes end in the part's files, at the pixels where they were put."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from browser.page import Tab
from s5engine.store.png import write_gray_png
from s5engine.view.app import page_of
from s5engine.view.scene import open_scene
from s5engine.view.serve import Viewer

VIEW = "?zoom=2&x=250&y=150&opacity=1"


@pytest.fixture
def place(data, tmp_path, browser):
    """An empty folder of labels, and a page that draws into it."""
    labels = tmp_path / "labels"
    labels.mkdir()
    scene = open_scene([data / "run1"], labels=labels, saves=tmp_path / "saves")
    viewer = Viewer(page_of(scene)).start()
    yield viewer.url, labels / "phantom_01"
    viewer.stop()


def polygon(tab: Tab, corners) -> None:
    tab.press("Polygon")
    for corner in corners:
        tab.page.mouse.click(*tab.screen(*corner))
        tab.page.wait_for_timeout(310)  # two clicks within 300 ms are a double one
    tab.page.mouse.dblclick(*tab.screen(*corners[-1]))
    tab.page.wait_for_function("Bokeh.documents[0] && s5.pen == null")


def test_a_polygon_ends_in_the_label_at_the_right_pixels(place, tab: Tab) -> None:
    url, part = place
    before = tab.open(url, VIEW)
    polygon(tab, [(100, 60), (180, 60), (180, 120), (100, 120)])
    assert (np.abs(tab.settled() - before).max(axis=-1) > 10).mean() > 0.01
    tab.press("Save drawing")
    tab.wait_note("label.png")
    label = s5.read_mask(part / "label.png")
    assert label.shape == (300, 500)
    inner, outer = np.zeros((2, 300, 500), bool)
    inner[62:118, 102:178] = True
    outer[59:122, 99:182] = True
    assert label[inner].all()
    assert not label[~outer].any()
    assert not (part / "ignore.png").exists()


def test_a_brush_draws_the_ignore_mask_and_undo_takes_the_last_shape_away(place, tab: Tab) -> None:
    url, part = place
    tab.open(url, VIEW)
    tab.press("Brush")
    tab.press("Ignore")
    for y in (100, 200):
        stroke(tab, (120, y), (200, y))
    tab.press("Undo")
    tab.wait_drawn(1)
    tab.press("Save drawing")
    tab.wait_note("ignore.png")
    ignore = s5.read_mask(part / "ignore.png")
    assert ignore[100, 125:195].all()
    assert ignore[91:109, 160].all()
    assert not ignore[:85].any()
    assert not ignore[115:].any()


@pytest.mark.slow
def test_the_eraser_takes_pixels_away_and_the_brush_is_as_wide_as_its_slider(
    place, tab: Tab
) -> None:
    url, part = place
    tab.open(url, VIEW)
    tab.press("Brush")
    widths = {}
    for radius, y in ((12, 70), (22, 200)):
        tab.slide("Brush radius", "ArrowRight", radius - 12)
        before = tab.settled()
        stroke(tab, (100, y), (220, y))
        changed = np.abs(tab.settled() - before).max(axis=-1) > 10
        x = round(tab.screen(160, y)[0]) - 248
        widths[radius] = changed[:, x].sum() / 2  # two screen pixels to one of the segment
    assert widths[12] == pytest.approx(24, abs=2)
    assert widths[22] == pytest.approx(44, abs=2)
    tab.tick("Erase")
    before = tab.settled()
    stroke(tab, (160, 150), (160, 280))
    assert (np.abs(tab.settled() - before).max(axis=-1) > 10).any()  # it is seen where it goes
    tab.press("Save drawing")
    tab.wait_note("label.png")
    label = s5.read_mask(part / "label.png")
    assert abs(label[:140, 160].sum() - 25) <= 1  # rows within 12 px of y 70
    assert abs(label[:, 110].sum() - 25 - 45) <= 2
    assert not label[150:, 142:179].any()
    assert label[200, 105:135].all()
    assert label[200, 186:215].all()


def stroke(tab: Tab, start, end) -> None:
    shapes = tab.shapes()
    tab.page.mouse.move(*tab.screen(*start))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.screen(*end), steps=8)
    tab.page.mouse.up()
    tab.wait_drawn(shapes + 1)


@pytest.mark.slow
def test_a_second_drawing_keeps_the_former_file(place, tab: Tab) -> None:
    url, part = place
    tab.open(url, VIEW)
    for corners in ([(50, 50), (90, 50), (90, 90)], [(200, 50), (240, 50), (240, 90)]):
        polygon(tab, corners)
        tab.press("Save drawing")
        tab.page.wait_for_function("s5.models.outbox.data.x.length === 0")
        tab.wait_note("label.png")
        tab.page.evaluate("Bokeh.documents[0].get_model_by_name('note').text = ''")
        tab.page.wait_for_timeout(300)
    assert s5.read_mask(part / "label.png")[60, 85]
    assert s5.read_mask(part / "label.png")[60, 235]
    assert not s5.read_mask(part / "label.1.png")[60, 235]


@pytest.mark.slow
def test_drawing_starts_from_a_proposal(data, tmp_path: Path, tab: Tab, browser) -> None:
    labels, proposal = tmp_path / "labels", tmp_path / "proposal"
    labels.mkdir()
    (proposal / "phantom_01").mkdir(parents=True)
    drawn = np.zeros((300, 500), np.uint8)
    drawn[200:250, 300:400] = 255
    write_gray_png(proposal / "phantom_01" / "label.png", drawn.shape, [drawn])
    scene = open_scene([data / "run1"], labels=labels, proposal=proposal, saves=tmp_path)
    viewer = Viewer(page_of(scene)).start()
    try:
        tab.open(viewer.url, VIEW + "&label=1")
        polygon(tab, [(100, 60), (180, 60), (180, 120), (100, 120)])
        tab.press("Save drawing")
        tab.wait_note("label.png")
    finally:
        viewer.stop()
    label = s5.read_mask(labels / "phantom_01" / "label.png")
    assert label[200:250, 300:400].all()
    assert label[90, 140]
