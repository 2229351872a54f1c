"""A real browser, one for all tests of this folder, and something to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import s5engine as s5
from browser.page import FLAGS, Tab
from s5engine.phantom import Phantom, write_labelled
from s5engine.store.png import write_gray_png
from s5engine.store.pyramid import write_pyramid


def find_chromium() -> str | None:
    named = os.environ.get("S5_CHROMIUM")
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return named or next((path for path in found if path), None)


@pytest.fixture(scope="package")
def driver() -> Iterator[Any]:
    """Playwright; its event loop must be gone before other tests run theirs."""
    if find_chromium() is None:
        missing = "no Chromium: install one, or name it in S5_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(driver) -> Iterator[object]:
    opened = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
    yield opened
    opened.close()


@pytest.fixture
def tab(browser) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1200, "height": 720})
    context.set_default_timeout(60_000)  # a machine may be busy
    opened = Tab(context.new_page())
    yield opened
    assert opened.errors == []
    context.close()


def ink_of(volume: xr.DataArray, seed: int = 0) -> xr.DataArray:
    """Smooth ink of two windows that differ, without any symmetry."""
    height, width = volume.sizes["y"], volume.sizes["x"]
    y, x = np.mgrid[:height, :width]
    planes = [
        (0.28 + 0.2 * np.sin(x / (17 + 3 * n + seed)) * np.cos(y / 23 + n) + 0.2 * x / width)
        for n in range(2)
    ]
    coords = {"window": [3, 4], "y": volume.y, "x": volume.x}
    return xr.DataArray(
        np.stack(planes).astype(np.float32),
        dims=("window", "y", "x"),
        coords=coords,
        attrs={k: volume.attrs[k] for k in ("segment", "source", "fingerprint")},
    )


@pytest.fixture(scope="package")
def data(tmp_path_factory) -> Path:
    """A volume, two runs from it, and label files of its part."""
    folder = tmp_path_factory.mktemp("data")
    volume = write_labelled(Phantom(300, 500, seed=1), folder)
    write_pyramid(folder / "phantom.zarr", progress=False)
    for number in (1, 2):
        ink = ink_of(volume, number)
        s5.write_run(ink, folder / f"run{number}", formats=("zarr",), progress=False)
    ignored = np.zeros((300, 500), np.uint8)
    ignored[40:120, 300:460] = 255
    part = folder / "labels" / "phantom_01"
    write_gray_png(part / "ignore.png", ignored.shape, [ignored])
    return folder
