"""The demo ends in a picture, twice in the same folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import s5engine as s5
from pipelines import demo as module


def test_the_demo_makes_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = (module.SETTINGS.read_text()).replace("[0, 640, 0, 2200]", "[0, 160, 0, 480]")
    settings = tmp_path / "demo.toml"
    settings.write_text(small.replace("stride = 32", "stride = 64"))
    monkeypatch.setattr(module, "SETTINGS", settings)
    for _ in range(2):
        picture = np.asarray(Image.open(module.demo(tmp_path / "demo")))
    assert picture.shape[1] > 240
    assert picture.std() > 20
    run = s5.open_run(tmp_path / "demo" / "run")
    assert run.ink.shape == (3, 160, 480)
    assert (run.ink.values > 0).any()
