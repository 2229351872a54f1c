"""Thumbnails in a notebook: in a real kernel, cheap, and never by running a network."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import s5engine as s5
from s5engine.view.notebook import thumbnail
from support import counting_model, noise, volume_of
from unit.store.segments import pixels, write_layers
from unit.store.test_pyramid import ink_store


def test_a_lazy_prediction_is_not_run_for_a_picture() -> None:
    model, counter = counting_model()
    volume = volume_of(noise((18, 100, 90)), contrast=[[0, 0], [255, 255]])
    ink = s5.predict_ink(volume, model, windows=[0], stride=32)
    counter.tiles = 0
    assert thumbnail(ink) is None
    assert counter.tiles == 0


def test_what_is_stored_or_in_memory_has_one(tmp_path: Path) -> None:
    layers = write_layers(tmp_path / "seg", pixels())
    volume = s5.ingest(layers, tmp_path / "a", progress=False)
    picture = thumbnail(volume)
    np.testing.assert_array_equal(picture, pixels()[1])
    assert thumbnail(volume.load()) is not None
    assert thumbnail(volume[0]) is None
    assert thumbnail(s5.open_pyramid(ink_store(tmp_path))[0]) is None  # 7 million pixels


@pytest.mark.filterwarnings("ignore")
def test_a_real_kernel_shows_it_beside_xarrays_text(tmp_path: Path) -> None:
    s5.ingest(write_layers(tmp_path / "seg", pixels()), tmp_path / "a", progress=False)
    code = f"%load_ext s5engine\nimport s5engine as s5\ns5.open_volume({str(tmp_path / 'a')!r})"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = book.cells[0].outputs[-1]["data"]["text/html"]
    assert "data:image/png;base64," in shown
    assert "xarray.DataArray" in shown
