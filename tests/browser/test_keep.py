"""What is drawn is kept: by keys, over a reload, in a draft, and never thrown away in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import s5engine as s5
from browser.page import Tab
from s5engine.view.app import page_of
from s5engine.view.scene import open_scene
from s5engine.view.serve import Viewer

VIEW = "?zoom=2&x=250&y=150&opacity=1"
SQUARE = [(100, 60), (180, 60), (180, 120), (100, 120)]
#: Events on their way to the server have arrived, and what it answered is here.
POLYGONS = "s5.models.polygons.data.xs.length"


class Place:
    """A folder of labels, and viewers that draw into it, one after the other."""

    def __init__(self, run: Path, folder: Path) -> None:
        self.run, self.folder = run, folder
        self.labels = folder / "labels"
        self.labels.mkdir()
        self.draft = self.labels / "phantom.draft.json"
        self.viewers: list[Viewer] = []

    def serve(self) -> str:
        scene = open_scene([self.run], labels=self.labels, saves=self.folder / "saves")
        self.viewers.append(Viewer(page_of(scene)).start())
        return self.viewers[-1].url

    def restart(self) -> str:
        """Another viewer, as after a crash: nothing but files is left."""
        self.stop()
        return self.serve()

    def stop(self) -> None:
        while self.viewers:
            self.viewers.pop().stop()

    def drawn(self) -> list[dict]:
        return json.loads(self.draft.read_text())["shapes"] if self.draft.exists() else []


@pytest.fixture
def place(data, tmp_path, browser):
    made = Place(data / "run1", tmp_path)
    yield made
    made.stop()


def click(tab: Tab, corners) -> None:
    tab.press("Polygon")
    for corner in corners:
        tab.page.mouse.click(*tab.screen(*corner))
        tab.page.wait_for_timeout(310)  # two clicks within 300 ms may be a double one


def corners(tab: Tab) -> int:
    return int(tab.page.evaluate("s5.pen ? s5.pen.x.length : 0"))


def wait_polygons(tab: Tab, count: int) -> None:
    tab.page.wait_for_function(f"n => {POLYGONS} === n", arg=count)


def draw(tab: Tab, points=SQUARE) -> None:
    before = tab.page.evaluate(POLYGONS)
    click(tab, points)
    tab.page.keyboard.press("Enter")
    wait_polygons(tab, before + 1)


def test_enter_closes_backspace_takes_a_corner_back_and_esc_drops_the_polygon(
    place, tab: Tab
) -> None:
    tab.open(place.serve(), VIEW)
    click(tab, [*SQUARE, (400, 250)])
    assert corners(tab) == 5
    tab.page.keyboard.press("Backspace")
    assert corners(tab) == 4
    tab.page.keyboard.press("Enter")
    assert corners(tab) == 0
    wait_polygons(tab, 1)
    click(tab, SQUARE[:2])
    tab.page.keyboard.press("Enter")  # two corners are no polygon: they stay
    assert corners(tab) == 2
    tab.page.keyboard.press("Escape")
    assert corners(tab) == 0
    assert tab.page.evaluate(POLYGONS) == 1
    tab.press("Save drawing")
    tab.wait_note("label.png")
    label = s5.read_mask(place.labels / "phantom_01" / "label.png")
    assert label[65:115, 105:175].all()
    assert not label[130:].any()  # where the corner was that was taken back


def test_a_double_click_closes_and_two_quick_clicks_apart_do_not(place, tab: Tab) -> None:
    tab.open(place.serve(), VIEW)
    click(tab, SQUARE[:2])
    for corner in SQUARE[2:]:
        tab.page.mouse.click(*tab.screen(*corner))
    tab.page.wait_for_timeout(310)
    assert corners(tab) == 4
    tab.page.mouse.dblclick(*tab.screen(60, 90))
    wait_polygons(tab, 1)
    assert len(place.drawn()[0]["points"]) == 5


@pytest.mark.parametrize(
    "again", ["Control+Shift+Z", pytest.param("Control+y", marks=pytest.mark.slow)]
)
def test_undo_and_redo_by_keys(place, tab: Tab, again: str) -> None:
    tab.open(place.serve(), VIEW)
    for left in (50, 150, 250):
        draw(tab, [(left, 60), (left + 40, 60), (left + 40, 100)])
    whole = place.drawn()
    for count in (2, 1, 0, 0):
        tab.page.keyboard.press("Control+z")
        wait_polygons(tab, count)
        assert place.drawn() == whole[:count]
    for count in (1, 2, 3):
        tab.page.keyboard.press(again)
        wait_polygons(tab, count)
        assert place.drawn() == whole[:count]


@pytest.mark.slow
def test_corners_are_undone_and_redone_while_a_polygon_is_open(place, tab: Tab) -> None:
    tab.open(place.serve(), VIEW)
    draw(tab)
    click(tab, [(300, 60), (350, 60), (350, 120)])
    tab.page.keyboard.press("Control+z")
    tab.page.keyboard.press("Control+z")
    assert corners(tab) == 1
    assert tab.page.evaluate(POLYGONS) == 1
    tab.page.keyboard.press("Control+Shift+Z")
    tab.page.keyboard.press("Control+Shift+Z")
    assert corners(tab) == 3


def test_the_hint_says_the_keys(place, tab: Tab) -> None:
    tab.open(place.serve(), VIEW)
    tab.press("Polygon")
    shown = tab.page.get_by_text("A click sets a corner")
    assert shown.is_visible()
    for word in ("Enter", "Backspace", "Esc", "Ctrl+Z", "Ctrl+Shift+Z"):
        assert word in shown.inner_text()


@pytest.mark.parametrize("way", ["reload", pytest.param("restart", marks=pytest.mark.slow)])
def test_shapes_and_an_open_polygon_are_there_again(place, tab: Tab, way: str) -> None:
    url = place.serve()
    tab.open(url, VIEW)
    tab.page.on("dialog", lambda dialog: dialog.accept())
    draw(tab)
    click(tab, [(300, 60), (350, 60), (350, 120)])
    tab.page.wait_for_function("s5.models.outbox.data.x.length === 0")
    for _ in range(100):
        if len(json.loads(place.draft.read_text())["corners"]) == 3:
            break
        tab.page.wait_for_timeout(50)
    if way == "restart":
        url = place.restart()
        tab.page.wait_for_timeout(300)
        tab.errors.clear()  # the page has lost its connection
    tab.open(url, VIEW)
    assert tab.page.evaluate(POLYGONS) == 1
    assert corners(tab) == 3
    assert "phantom.draft.json" in tab.note()
    tab.page.keyboard.press("Enter")
    wait_polygons(tab, 2)
    tab.press("Save drawing")
    tab.wait_note("label.png")
    label = s5.read_mask(place.labels / "phantom_01" / "label.png")
    assert label[65:115, 105:175].all()
    assert label[70, 340]
    assert not place.draft.exists()


@pytest.mark.slow
def test_leaving_is_asked_about_while_something_is_not_saved(place, tab: Tab) -> None:
    url = place.serve()
    tab.open(url, VIEW)
    asked: list[str] = []

    def answer(dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    tab.page.on("dialog", answer)
    tab.page.mouse.click(*tab.screen(20, 20))  # a page that nobody touched may not ask
    tab.page.reload()
    tab.open(url, VIEW)
    assert asked == []
    draw(tab)
    tab.page.reload()
    assert asked == ["beforeunload"]
    tab.open(url, VIEW)
    tab.press("Save drawing")
    tab.wait_note("label.png")
    wait_polygons(tab, 0)
    asked.clear()
    tab.page.reload()
    assert asked == []


@pytest.mark.slow
def test_a_drawing_is_discarded_by_its_button_and_undo_brings_it_back(place, tab: Tab) -> None:
    tab.open(place.serve(), VIEW)
    draw(tab)
    assert len(place.drawn()) == 1
    tab.press("Discard drawing")
    wait_polygons(tab, 0)
    assert not place.draft.exists()
    tab.press("Undo")
    wait_polygons(tab, 1)
    assert len(place.drawn()) == 1


@pytest.mark.parametrize(
    "found",
    ['{"draft": 1, "segm', '{"draft": 1, "segment": "<b>other</b>", "shapes": [], "corners": []}'],
)
def test_a_draft_that_cannot_be_used_is_named_and_kept(place, tab: Tab, found: str) -> None:
    place.draft.write_text(found)
    tab.open(place.serve(), VIEW)
    note = tab.note()
    assert "phantom.draft.json" in note
    assert "damaged" in note or "is of segment '<b>other</b>'" in note
    assert "Traceback" not in note
    assert tab.page.locator("b").count() == 0
    draw(tab)
    tab.wait_note("phantom.draft.1.json")
    assert (place.labels / "phantom.draft.1.json").read_text() == found
    assert len(place.drawn()) == 1


@pytest.mark.slow
def test_shapes_end_at_the_border_of_the_segment(place, tab: Tab) -> None:
    tab.open(place.serve(), "?zoom=1&x=500&y=150&opacity=1")
    draw(tab, [(450, 100), (700, 100), (700, 200), (450, 200)])
    xs, ys = tab.page.evaluate("[s5.models.polygons.data.xs[0], s5.models.polygons.data.ys[0]]")
    assert max(xs) == 499.5
    assert min(xs) == pytest.approx(450, abs=1)
    assert max(ys) - min(ys) == pytest.approx(100, abs=1)
    click(tab, [(600, 100), (700, 100), (700, 200)])
    tab.page.keyboard.press("Enter")
    tab.wait_note("inside the segment")
    assert tab.page.evaluate(POLYGONS) == 1


@pytest.mark.slow
def test_two_tabs_draw_on_the_same_drawing(place, tab: Tab) -> None:
    url = place.serve()
    tab.open(url, VIEW)
    other = Tab(tab.page.context.new_page())
    other.open(url, VIEW)
    draw(tab)
    wait_polygons(other, 1)
    draw(other, [(300, 60), (350, 60), (350, 120)])
    wait_polygons(tab, 2)
    assert len(place.drawn()) == 2
    assert sorted(place.labels.iterdir()) == [place.draft]
    assert other.errors == []


def test_what_is_said_is_in_sight(place, tab: Tab) -> None:
    place.draft.write_text("{")
    tab.page.set_viewport_size({"width": 1200, "height": 500})
    tab.page.goto(place.serve())
    said = tab.page.get_by_role("status")
    tab.page.wait_for_function("window.s5 && s5.models && s5.sharp > 0")
    place_of_it = said.bounding_box()
    assert said.get_by_text("damaged").is_visible()
    assert place_of_it["height"] > 20
    assert place_of_it["y"] + place_of_it["height"] <= 500
    tab.page.get_by_role("button", name="Full resolution").focus()  # below what is seen
    assert tab.page.evaluate("document.body.scrollTop") == 0  # the controls alone are scrolled
    assert said.bounding_box()["y"] + place_of_it["height"] <= 500
