"""The page in a real browser: every control changes what is drawn, and what is kept is right."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import s5engine as s5
from browser.page import Tab
from s5engine.view.app import page_of
from s5engine.view.colours import OVERLAY_OPACITY, OVERLAYS
from s5engine.view.scene import open_scene
from s5engine.view.serve import Viewer


@pytest.fixture(scope="module")
def saves(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saves")


@pytest.fixture(scope="module")
def url(data, saves, browser):
    scene = open_scene([data / "run1"], labels=data / "labels", saves=saves)
    viewer = Viewer(page_of(scene)).start()
    yield viewer.url
    viewer.stop()


def differing(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels that differ by more than rounding."""
    return float((np.abs(one - other).max(axis=-1) > 2).mean())


def test_the_page_shows_ink_over_the_surface(url, data, tab: Tab) -> None:
    seen = tab.open(url, "?colour=gray&opacity=1&zoom=1&x=250&y=150")
    ink = s5.open_run(data / "run1").ink.mean("window").values
    x, y = (round(v) for v in tab.screen(0, 0))
    for place in ((40, 60), (150, 250), (260, 430)):
        shown = seen[y + place[0], x - 248 + place[1]]
        assert np.abs(shown - ink[place] * 255).max() <= 2, place
    assert tab.page.title() == "phantom · s5 view"


START = {"x": 240, "y": 150, "zoom": 1.5}

#: How each control is used, and how that is taken back.
CONTROLS = {
    "windows": [
        lambda tab: tab.choose("Windows", "window 3"),
        lambda tab: tab.choose("Windows", "average"),
    ],
    "maximum": [
        lambda tab: tab.choose("Windows", "maximum"),
        lambda tab: tab.choose("Windows", "average"),
    ],
    "boost": [
        lambda tab: tab.slide("Boost", "ArrowRight", 8),
        lambda tab: tab.slide("Boost", "ArrowLeft", 8),
    ],
    "opacity": [
        lambda tab: tab.slide("Opacity", "ArrowLeft", 15),
        lambda tab: tab.slide("Opacity", "ArrowRight", 15),
    ],
    "colours": [
        lambda tab: tab.choose("Colours", "viridis"),
        lambda tab: tab.choose("Colours", "gray"),
    ],
    "inferno": [
        lambda tab: tab.choose("Colours", "inferno"),
        lambda tab: tab.choose("Colours", "gray"),
    ],
    **{
        words: [lambda tab, words=words: tab.tick(words)] * 2
        for words in ("Flip", "Invert", "Mask", "Label", "Ignore")
    },
    "layer": [
        lambda tab: tab.slide("Layer", "ArrowRight", 4),
        lambda tab: tab.slide("Layer", "ArrowLeft", 4),
    ],
    "brightness": [
        lambda tab: tab.slide("Brightness", "ArrowLeft", 4),
        lambda tab: tab.slide("Brightness", "ArrowRight", 4),
    ],
    "contrast": [
        lambda tab: tab.slide("Contrast", "ArrowRight", 9),
        lambda tab: tab.slide("Contrast", "ArrowLeft", 9),
    ],
    **{
        words: [lambda tab, words=words: tab.press(words), lambda tab: tab.move(**START)]
        for words in ("Whole", "1 : 1")
    },
}


@pytest.mark.slow
def test_every_control_changes_what_is_drawn_and_can_be_taken_back(url, tab: Tab) -> None:
    place = "&".join(f"{key}={value}" for key, value in START.items())
    before = tab.open(url, f"?colour=gray&opacity=0.6&{place}")

    def words() -> dict[str, list[str]]:
        return parse_qs(urlsplit(tab.page.url).query)

    address = words()
    for name, (use, take_back) in CONTROLS.items():
        use(tab)
        assert differing(before, tab.settled()) > 0.01, name
        assert words() != address, name
        take_back(tab)
        # The canvas smooths its outermost row and column.
        np.testing.assert_array_equal(tab.settled()[1:, 1:], before[1:, 1:], err_msg=name)
        assert words() == address, name


def test_colours_from_the_table_are_those_that_bokeh_computes(url, tab: Tab) -> None:
    tab.open(url, "?colour=inferno&boost=3.5&invert=1&mask=1")
    told = tab.page.evaluate("""() => {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      const colours = (mapper) => Array.from(mapper.rgba_mapper.v_compute(bytes));
      return s5.models.all_mappers.map((mapper) => {
        const quick = mapper._v_compute, found = colours(mapper);
        delete mapper._v_compute;
        const plain = colours(mapper);
        mapper._v_compute = quick;
        return [found, plain, quick !== Object.getPrototypeOf(mapper)._v_compute];
      });
    }""")
    assert len(told) == 5
    for found, plain, quickened in told:
        assert quickened
        assert found == plain
        assert len(set(zip(*[iter(found)] * 4, strict=True))) > 1


def test_a_move_is_asked_for_once(url, tab: Tab) -> None:
    tab.open(url, "?zoom=1&x=250&y=150")
    before = tab.page.evaluate("s5.asked")
    tab.move(260, 140, 1)
    tab.page.wait_for_function("n => s5.asked > n && s5.asked === s5.sharp", arg=before)
    tab.page.wait_for_timeout(200)  # Bokeh tells of ranges later than they were set
    assert tab.page.evaluate("s5.asked") == before + 1


def test_flip_mirrors_the_picture(url, tab: Tab) -> None:
    before = tab.open(url, "?zoom=1&x=249.5&y=150&opacity=1&colour=gray")
    tab.tick("Flip")
    after = tab.settled()
    assert differing(before, after) > 0.1
    # A canvas draws a mirrored picture one screen pixel beside; else they are the same.
    x, y = (round(v) for v in tab.screen(499.5, -0.5))
    rows, columns = slice(y + 1, y + 299), slice(x - 248 + 2, x - 248 + 498)
    left = after[rows, columns]
    right = before[:, ::-1][rows]
    columns = slice(columns.start - 1, columns.stop - 1)
    np.testing.assert_array_equal(right[:, columns], left)


@pytest.mark.slow
def test_overlays_are_mixed_into_the_picture_where_their_files_say(url, data, tab: Tab) -> None:
    start = "?zoom=1&x=249.5&y=149.5&opacity=1&colour=gray"
    plain = tab.open(url, start)
    x, y = (round(v) for v in tab.screen(0, 0))
    for kind, colour in OVERLAYS.items():
        seen = tab.open(url, f"{start}&{kind}=1")
        mask = s5.read_mask(data / "labels" / "phantom_01" / f"{kind}.png")
        # Pixels whose neighbours are alike, as the picture may lie one pixel beside.
        inner = np.logical_and.reduce([np.roll(mask, s, a) for s in (-1, 0, 1) for a in (0, 1)])
        outer = np.logical_or.reduce([np.roll(mask, s, a) for s in (-1, 0, 1) for a in (0, 1)])
        before, after = (s[y : y + 300, x - 248 : x - 248 + 500] for s in (plain, seen))
        mixed = before * (1 - OVERLAY_OPACITY) + np.array(colour) * OVERLAY_OPACITY
        cut = np.s_[2:-2, 2:-2]
        assert inner[cut].any(), kind
        assert np.abs(after - mixed)[cut][inner[cut]].max() <= 2, kind
        assert np.abs(after - before)[cut][~outer[cut]].max(initial=0) <= 1, kind


@pytest.mark.slow
def test_the_address_restores_the_view(url, tab: Tab) -> None:
    tab.open(url)
    tab.choose("Windows", "window 4")
    tab.slide("Boost", "ArrowRight", 5)
    tab.tick("Invert")
    tab.tick("Mask")
    tab.page.mouse.move(600, 300)
    tab.page.mouse.wheel(0, -400)
    seen = tab.settled()
    # The canvas smooths its outermost row and column, of the one picture more than of the other.
    np.testing.assert_array_equal(tab.open(tab.page.url)[1:, 1:], seen[1:, 1:])
    tab.open(url, "?boost=99")
    assert "boost is between 1 and 10" in tab.note()


@pytest.mark.slow
def test_the_read_out_names_pixel_and_part(url, data, tab: Tab) -> None:
    tab.open(url, "?zoom=1&x=250&y=150&opacity=1")
    tab.page.mouse.move(*tab.screen(120, 80))
    read = "Bokeh.documents[0].get_model_by_name('readout').text"
    tab.page.wait_for_function(f"{read}.includes('y 80  x 120')")
    text = tab.page.evaluate(read)
    value = float(s5.open_run(data / "run1").ink.mean("window")[80, 120])
    assert "part 01, x 120" in text
    assert f"ink {int(value * 255) / 255:.2f}" in text


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("show=mean", marks=pytest.mark.slow),
        "show=max&boost=2.5&invert=1&flip=1",
        pytest.param("show=4", marks=pytest.mark.slow),
    ],
)
def test_a_saved_picture_is_the_composite(url, data, tab: Tab, query) -> None:
    tab.open(url, f"?colour=gray&opacity=1&zoom=4&x=250&y=150&{query}")
    tab.press("Full resolution")
    path = Path(tab.wait_note("Saved").removeprefix("Saved "))
    told = json.loads(path.with_suffix(".json").read_text())
    y0, y1, x0, x1 = told["box"]
    ink = s5.open_run(data / "run1").ink.isel(y=slice(y0, y1), x=slice(x0, x1))
    asked = told["settings"]
    ink = ink if asked["show"] in ("mean", "max") else ink.sel(window=[int(asked["show"])])
    method = "max" if asked["show"] == "max" else "mean"
    expected = s5.composite(
        ink,
        method=method,
        boost=asked["boost"],
        flip=asked["flip"],
        invert=asked["invert"],
        reduce=1,
    )
    assert (y1 - y0, x1 - x0) == expected.shape
    assert y1 - y0 < 300
    np.testing.assert_array_equal(_gray(path), (expected * 255).astype(np.uint8))


def _gray(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path))


@pytest.mark.slow
def test_the_picture_saved_as_on_the_screen_looks_like_it(url, tab: Tab) -> None:
    tab.open(url, "?zoom=1&x=249.5&y=149.5&opacity=0.6&colour=amber&boost=2&mask=1&label=1")
    seen = tab.settled()
    tab.press("As on screen")
    saved = _gray(Path(tab.wait_note("Saved").removeprefix("Saved "))).astype(int)
    x, y = (round(v) for v in tab.screen(-0.5, -0.5))
    # Scaled to the nearest pixel, the picture may lie one pixel beside.
    shares = {}
    for down, across in np.ndindex(3, 3):
        top, left = y + down - 1, x + across - 1 - 248
        shown = seen[top : top + 300, left : left + 500]
        assert saved.shape == shown.shape
        shares[down - 1, across - 1] = (np.abs(saved - shown).max(axis=-1) > 6).mean()
    assert min(shares.values()) < 0.02, shares
