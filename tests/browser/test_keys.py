"""The page without a mouse, on other windows, and for those who hear it read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser.page import Tab
from s5engine.view.app import page_of
from s5engine.view.colours import relight
from s5engine.view.keys import KEYS
from s5engine.view.scene import open_scene
from s5engine.view.serve import Viewer

START = "?zoom=1.5&x=250&y=150"


@pytest.fixture(scope="module")
def url(data, tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "labels").mkdir()
    scene = open_scene([data / "run1"], labels=folder / "labels", saves=folder / "saves")
    viewer = Viewer(page_of(scene)).start()
    yield viewer.url
    viewer.stop()


@pytest.fixture
def two(data, tmp_path, browser):
    scene = open_scene([data / "run1", data / "run2"], saves=tmp_path / "saves")
    viewer = Viewer(page_of(scene)).start()
    yield scene, viewer.url
    viewer.stop()


def view(tab: Tab) -> dict[str, float]:
    return dict(tab.page.evaluate("({...s5.view})"))


def test_arrows_move_and_plus_and_minus_zoom(url, tab: Tab) -> None:
    tab.open(url, START)
    steps = {
        "ArrowRight": ("x", 1),
        "ArrowLeft": ("x", -1),
        "ArrowDown": ("y", 1),
        "ArrowUp": ("y", -1),
        "+": ("zoom", 1),
        "-": ("zoom", -1),
        "−": ("zoom", -1),
        "=": ("zoom", 1),
    }
    for key, (name, sign) in steps.items():
        before = view(tab)
        tab.page.keyboard.press(key) if key != "−" else tab.page.evaluate(
            "document.dispatchEvent(new KeyboardEvent('keydown', {key: '−'}))"
        )
        after = view(tab)
        assert (after[name] - before[name]) * sign > 0.1, key
        assert {n: v for n, v in after.items() if n != name} == {
            n: v for n, v in before.items() if n != name
        }
    assert view(tab) == {"x": 250, "y": 150, "zoom": pytest.approx(1.5)}


@pytest.mark.slow
def test_arrows_go_where_they_point_when_the_view_is_mirrored(url, tab: Tab) -> None:
    tab.open(url, START + "&flip=1")
    tab.page.keyboard.press("ArrowRight")
    assert view(tab)["x"] < 240


def test_brackets_change_the_layer_and_f_flips(url, tab: Tab) -> None:
    before = tab.open(url, START + "&opacity=0&layer=10")
    tab.page.keyboard.press("]")
    tab.page.wait_for_function("s5.models.layer.value === 11")
    assert (np.abs(tab.settled() - before) > 2).any()
    assert "layer=11" in tab.page.url
    tab.page.keyboard.press("[")
    np.testing.assert_array_equal(tab.settled()[1:, 1:], before[1:, 1:])
    tab.page.keyboard.press("f")
    assert (np.abs(tab.settled() - before) > 2).any()
    assert "flip=1" in tab.page.url
    for _ in range(40):
        tab.page.keyboard.press("[")
    assert tab.page.evaluate("s5.models.layer.value === s5.models.layer.start")


def test_the_list_of_keys_is_shown_and_hidden(url, tab: Tab) -> None:
    tab.open(url, START)
    shown = tab.page.get_by_role("dialog", name="Keys")
    assert not shown.is_visible()
    tab.page.keyboard.press("?")
    assert shown.is_visible()
    text = shown.inner_text()
    assert all(key in text and words in text for key, words in KEYS)
    tab.page.keyboard.press("ArrowRight")  # the view below does not move
    assert view(tab)["x"] == 250
    tab.page.keyboard.press("?")
    assert not shown.is_visible()
    tab.press("Keys (?)")
    assert shown.is_visible()
    shown.get_by_role("button").click()
    assert not shown.is_visible()


def test_no_key_is_taken_from_a_field_or_a_slider(url, tab: Tab) -> None:
    tab.open(url, START)
    before = view(tab)
    tab.page.evaluate(
        "() => { const box = document.createElement('input'); box.id = 'typed';"
        " document.body.append(box); box.focus() }"
    )
    tab.page.keyboard.type("f?+-[]")
    tab.page.keyboard.press("ArrowLeft")
    assert tab.page.locator("#typed").input_value() == "f?+-[]"
    tab.page.get_by_role("combobox", name="Windows").focus()
    tab.page.keyboard.press("f")
    tab.slide("Boost", "ArrowRight", 3)
    assert tab.page.evaluate("s5.models.boost.value") == pytest.approx(1.3)
    assert view(tab) == before
    assert not tab.page.evaluate("s5.models.flip.active")
    assert not tab.page.get_by_role("dialog").is_visible()


def test_a_checkboxs_word_toggles_it(url, tab: Tab) -> None:
    tab.open(url, START)
    for word, name in (("Flip", "flip"), ("Invert", "invert"), ("Mask", "mask"), ("Erase", None)):
        box = tab.page.get_by_role("checkbox", name=word, exact=True)
        for expected in (True, False):
            tab.widget("Checkbox", word).get_by_text(word, exact=True).click()
            assert box.is_checked() is expected
            if name:
                assert tab.page.evaluate(f"s5.models.{name}.active") is expected


def test_everything_that_takes_input_has_a_name(url, tab: Tab) -> None:
    tab.open(url, START)
    for role, names in {
        "slider": [
            "Boost",
            "Opacity over the surface",
            "Layer",
            "Brightness",
            "Contrast",
            "Brush radius, px",
        ],
        "combobox": ["Windows", "Colours"],
        "checkbox": ["Flip", "Invert", "Mask", "Label", "Ignore", "Erase"],
        "group": ["Drawing tool", "Mask to draw"],
        "figure": ["Picture of run1"],
    }.items():
        for name in names:
            assert tab.page.get_by_role(role, name=name, exact=True).count() == 1, name
        if role != "group":
            assert tab.page.get_by_role(role).count() == len(names), role
    for button in tab.page.get_by_role("button").all():
        assert button.inner_text().strip()
    pressed = tab.page.get_by_role("button", pressed=True)
    assert pressed.all_inner_texts() == ["Look", "Label"]
    tab.press("Brush")
    assert pressed.all_inner_texts() == ["Brush", "Label"]


@pytest.mark.slow
def test_brightness_and_contrast_change_what_is_seen_and_saved_as_seen(url, data, tab: Tab) -> None:
    stored = sorted((p, p.stat().st_mtime_ns) for p in data.rglob("*") if p.is_file())
    plain = tab.open(url, START + "&opacity=0")
    tab.slide("Brightness", "ArrowRight", 6)
    brighter = tab.settled()
    assert brighter.mean() > plain.mean() + 10
    tab.slide("Brightness", "ArrowLeft", 6)
    tab.slide("Contrast", "ArrowRight", 10)
    assert "contrast=2" in tab.page.url
    seen = tab.settled()
    inner = np.s_[200:500, 200:700, 0]
    assert np.abs(relight(plain[inner].astype(np.uint8), 0, 2) - seen[inner]).mean() < 1
    assert np.abs(plain[inner] - seen[inner]).mean() > 10
    np.testing.assert_array_equal(tab.open(tab.page.url)[1:, 1:], seen[1:, 1:])
    tab.open(url, "?zoom=1&x=249.5&y=149.5&opacity=0&brightness=0.3&contrast=2")
    shown = tab.settled()
    tab.press("As on screen")
    path = Path(tab.wait_note("Saved").removeprefix("Saved "))
    saved = np.asarray(Image.open(path)).astype(int)
    x, y = (round(v) for v in tab.screen(-0.5, -0.5))
    apart = [  # scaled to the nearest pixel, the picture may lie one pixel beside
        np.abs(saved[2:-2, 2:-2] - shown[y + i + 2 : y + i + 298, x + j - 246 : x + j + 250]).mean()
        for i, j in np.ndindex(3, 3)
        for i, j in [(i - 1, j - 1)]
    ]
    assert min(apart) < 1, apart
    assert stored == sorted((p, p.stat().st_mtime_ns) for p in data.rglob("*") if p.is_file())


@pytest.mark.slow
@pytest.mark.parametrize(("width", "beside"), [(1400, True), (800, False)])
def test_panels_lie_side_by_side_where_there_is_room_and_have_their_runs_names(
    two, tab: Tab, width: int, beside: bool
) -> None:
    _, url = two
    tab.page.set_viewport_size({"width": width, "height": 720})
    tab.page.goto(url)
    tab.page.wait_for_function("window.s5 && s5.models && s5.view.zoom != null && s5.sharp > 0")
    boxes = [
        tab.page.get_by_role("figure", name=f"Picture of run{n}").bounding_box() for n in (1, 2)
    ]
    left, right = boxes
    if beside:
        assert left["y"] == right["y"]
        assert right["x"] >= left["x"] + left["width"] > left["x"] + 400
        assert left["height"] > 600
    else:
        assert left["x"] == right["x"]
        assert right["y"] >= left["y"] + left["height"] > left["y"] + 250
        assert left["width"] > 500
    for number, box in enumerate(boxes, start=1):
        name = tab.page.locator(".bk-Column").get_by_text(f"run{number}", exact=True).last
        place = name.bounding_box()
        assert box["x"] <= place["x"] <= box["x"] + 40
        assert box["y"] <= place["y"] <= box["y"] + 40


def test_a_panels_name_is_text(two, tab: Tab) -> None:
    scene, url = two
    scene.panels[1].title = "<img src=x onerror='window.ran=1'>"
    tab.open(url)
    assert tab.page.evaluate("window.ran") is None
    assert tab.page.get_by_text(scene.panels[1].title, exact=True).count() == 1
    assert tab.page.get_by_role("figure", name=scene.panels[1].title).count() == 1


@pytest.mark.slow
def test_the_page_is_as_wide_as_the_device(url, tab: Tab) -> None:
    tab.open(url)
    meta = tab.page.locator("head > meta[name=viewport]")
    assert meta.get_attribute("content") == "width=device-width, initial-scale=1"
