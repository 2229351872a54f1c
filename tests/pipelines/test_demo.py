"""The demo ends in a picture that can be read, twice in the same folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import s5engine as s5
from pipelines import demo as module
from s5engine.phantom import Phantom


def demonstrate(folder: Path) -> tuple[float, float]:
    """Run the demo; return the F1 of its ink, and of the best threshold on any single layer."""
    picture = np.asarray(Image.open(module.demo(folder)))
    assert picture.std() > 20
    settings = s5.read_title_settings(module.SETTINGS)
    phantom = Phantom(*settings.box.shape, seed=module.SEED, ink_contrast=module.INK_CONTRAST)
    truth, papyrus = phantom.ink(), phantom.papyrus()
    ink = s5.open_run(folder / "run").ink
    layers = s5.open_volume(folder / "volume.zarr").values
    best = max(s5.best_threshold(layer, truth, papyrus).f1 for layer in layers)
    return s5.score_ink(ink.mean("window"), truth, papyrus).f1, best


@pytest.mark.slow
def test_a_small_demo_makes_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = module.SETTINGS.read_text().replace("[0, 640, 0, 2200]", "[0, 256, 0, 640]")
    settings = tmp_path / "demo.toml"
    settings.write_text(small)
    monkeypatch.setattr(module, "SETTINGS", settings)
    for _ in range(2):
        read, layer = demonstrate(tmp_path / "demo")
    assert s5.open_run(tmp_path / "demo" / "run").ink.shape == (3, 256, 640)
    # Letters a quarter as large as those that it learned from.
    assert read > 2 * layer


@pytest.mark.slow
def test_the_demo_reads_what_no_layer_shows(tmp_path: Path) -> None:
    read, layer = demonstrate(tmp_path)
    assert read >= 0.75
    assert layer < 0.2
