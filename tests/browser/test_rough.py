"""After a jump the page shows a coarser level at the right place, then the same as without it."""

from __future__ import annotations

import threading
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from browser.page import Tab
from s5engine.view import rough
from s5engine.view.app import page_of
from s5engine.view.pictures import SurfacePicture
from s5engine.view.scene import Panel, Scene
from s5engine.view.serve import Viewer


class Held(SurfacePicture):
    """Its finest level is not read before it may be."""

    may = threading.Event()

    def read(self, level, tile, choice, count=1):
        if level == 0:
            assert self.may.wait(60)
        return super().read(level, tile, choice, count)


def pyramid() -> list[xr.DataArray]:
    """Smooth values, so that a coarser level looks alike where it lies right."""
    y, x = np.mgrid[:1600, :2000]
    full = (127 + 60 * np.sin(x / 9) * np.cos(y / 11) + 60 * np.sin((x + 2 * y) / 97))[None]
    levels = []
    for reduction in (1, 2, 4):
        blocks = (1, 1600 // reduction, reduction, 2000 // reduction, reduction)
        values = full.reshape(blocks).mean((2, 4)).astype(np.uint8)
        coords = {name: np.arange(n) for name, n in zip("zyx", values.shape, strict=True)}
        coords["layer"] = coords.pop("z")
        levels.append(
            xr.DataArray(
                da.from_array(values, chunks=(1, 256, 256)),
                dims=("layer", "y", "x"),
                coords=coords,
                attrs={"segment": "s", "reduction": reduction, "contrast": [[0, 0]]},
            )
        )
    return levels


@pytest.fixture
def url(browser, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(rough, "WORTH_WAITING", 0)
    monkeypatch.setattr(Held, "may", threading.Event())
    viewers = []

    def serve() -> str:
        panel = Panel("volume", surface=Held("held", pyramid()))
        viewers.append(Viewer(page_of(Scene([panel], "s", tmp_path))).start())
        return viewers[-1].url

    yield serve
    Held.may.set()
    for viewer in viewers:
        viewer.stop()


@pytest.mark.slow
def test_after_a_jump_the_pixels_are_those_of_the_plain_path(url, tab: Tab, monkeypatch) -> None:
    tab.open(url(), "?zoom=0.25&x=1000&y=800")
    tab.page.evaluate("s5.show(1100, 700, 1)")
    tab.page.wait_for_function("s5.answered === s5.asked")
    assert tab.page.evaluate("s5.sharp < s5.asked")
    first = tab.settled(sharp=False)
    Held.may.set()
    tab.page.wait_for_function("s5.sharp === s5.asked")
    sharp = tab.settled()
    monkeypatch.setattr(rough, "WORTH_WAITING", 2**40)
    plain = tab.open(url(), "?zoom=1&x=1100&y=700")
    assert plain[1:, 1:].std() > 20
    # The canvas smooths its outermost row and column.
    np.testing.assert_array_equal(sharp[1:, 1:], plain[1:, 1:])
    assert np.abs(first - plain)[1:, 1:].mean() > 0
    apart = {}
    for moved in np.ndindex(5, 5):
        by = (2 * moved[0] - 4, 2 * moved[1] - 4)
        apart[by] = np.abs(np.roll(first, by, (0, 1)) - plain)[20:-20, 20:-20].mean()
    assert min(apart, key=lambda by: apart[by]) == (0, 0), apart
