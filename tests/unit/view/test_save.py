"""What is saved at full resolution is the composite, also where it is made piece by piece."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from PIL import Image

import s5engine as s5
from s5engine.view import save
from s5engine.view.scene import show_ink
from s5engine.view.url import ViewSettings


@pytest.mark.parametrize("peak", [1.0, 2.5])
@pytest.mark.parametrize("show", ["mean", "max", "4"])
def test_pieces_make_the_composite(
    peak: float, show: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save, "_COLUMNS", 32)
    monkeypatch.setattr(save, "_ROWS", 20)
    values = np.random.default_rng(0).random((2, 70, 110), np.float32)
    values[1, 30, 40] = peak  # one window above 1, in one piece alone
    ink = xr.DataArray(
        da.from_array(values, chunks=(1, 50, 50)),
        dims=("window", "y", "x"),
        coords={"window": [3, 4], "y": np.arange(70) + 7, "x": np.arange(110) + 5},
    )
    scene = show_ink(ink, None, tmp_path)
    settings = ViewSettings(show=show, boost=1.7, colour="gray", flip=True)
    path = save.save_view(scene, scene.panels[0], settings, scene.box)
    chosen = ink if show in ("mean", "max") else ink.sel(window=[int(show)])
    method = "max" if show == "max" else "mean"
    expected = s5.composite(chosen, method=method, boost=1.7, flip=True, reduce=1)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), (expected * 255).astype(np.uint8))
