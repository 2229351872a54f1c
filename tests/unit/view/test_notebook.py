"""Thumbnails in a notebook: in a real kernel, cheap, and never by running a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import s5engine as s5
from s5engine.store.origins import store_of
from s5engine.view.notebook import thumbnail
from s5engine.view.shrink import shrink
from support import counting_model, noise, volume_of
from unit.store.segments import pixels, write_layers
from unit.store.test_pyramid import ink_store


def test_a_lazy_prediction_is_not_run_for_a_picture() -> None:
    model, counter = counting_model()
    volume = volume_of(noise((18, 100, 90)), contrast=[[0, 0], [255, 255]])
    ink = s5.predict_ink(volume, model, windows=[0], stride=32)
    counter.tiles = 0
    for lazy in (ink, ink[:, 20:40, 10:60], s5.predict_ink(volume, model, windows=[0, 1])[1:]):
        assert thumbnail(lazy) is None
    assert counter.tiles == 0


def test_what_is_stored_or_in_memory_has_one(tmp_path: Path) -> None:
    layers = write_layers(tmp_path / "seg", pixels())
    volume = s5.ingest(layers, tmp_path / "a", progress=False)
    picture = thumbnail(volume)
    np.testing.assert_array_equal(picture, pixels()[1])
    assert thumbnail(volume.load()) is not None
    assert thumbnail(volume[0]) is None


def test_a_large_array_has_one_from_its_pyramid_and_reads_little(tmp_path: Path) -> None:
    store = ink_store(tmp_path)  # 7 million pixels
    whole = s5.open_pyramid(store)[0]
    assert thumbnail(whole) is None
    levels = s5.write_pyramid(store, progress=False)
    picture = thumbnail(whole)
    assert picture is not None
    expected = shrink(levels[2], 480).mean(axis=0) * 255
    assert np.abs(picture - expected).max() <= 1
    # Upside down, as it is.
    expected = shrink(levels[2][:, ::-1], 480).mean(axis=0) * 255
    assert np.abs(thumbnail(whole[:, ::-1]) - expected).max() <= 1


def test_what_is_computed_from_a_store_has_none(tmp_path: Path) -> None:
    s5.ingest(write_layers(tmp_path / "seg", pixels()), tmp_path / "a", progress=False)
    volume = s5.open_volume(tmp_path / "a")
    assert store_of(volume) == str(tmp_path / "a")
    part = volume.isel(y=slice(10, 40), x=slice(3, 50, 2))
    assert store_of(part) == str(tmp_path / "a")
    np.testing.assert_array_equal(thumbnail(part), part.values[len(part) // 2])
    for computed in (s5.contrast(volume), volume + volume, volume[::-1] * 0):
        assert store_of(computed) is None
        assert thumbnail(computed) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_kernel_shows_it_beside_xarrays_text(tmp_path: Path) -> None:
    s5.ingest(write_layers(tmp_path / "seg", pixels()), tmp_path / "a", progress=False)
    opened = f"import s5engine as s5\ns5.open_volume({str(tmp_path / 'a')!r})"
    codes = [opened, f"%load_ext s5engine\n{opened}"]
    code = (
        "shown = s5.show(s5.open_volume(" + repr(str(tmp_path / "a")) + "))\n"
        "import urllib.request\nprint(urllib.request.urlopen(shown.url, timeout=60).status)\nshown"
    )
    cells = [nbformat.v4.new_code_cell(text) for text in [*codes, code, "shown.stop()"]]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    # Only where it was asked for.
    for cell, asked in zip(book.cells, (False, True), strict=False):
        shown = cell.outputs[-1]["data"]["text/html"]
        assert ("data:image/png;base64," in shown) == asked
        assert "xarray.DataArray" in shown
    served = book.cells[2].outputs
    assert served[0]["text"] == "200\n"
    assert "<iframe" in served[-1]["data"]["text/html"]


def test_a_plain_import_brings_neither_ipython_nor_xarray() -> None:
    code = (
        "import sys, s5engine as s5; s5.Plan; "
        "assert 'IPython' not in sys.modules and 's5engine.view.notebook' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
