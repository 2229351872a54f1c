"""Real data, where they are at hand: a CT crop through the whole line, labels and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import s5engine as s5
from s5engine.phantom import LayerServer
from support import counting_model

DATA = Path(s5.__file__).parents[2] / "shared" / "data"
CROP, LABELS = DATA / "ct_scroll1_crop", DATA / "labels"


@pytest.mark.skipif(not CROP.exists(), reason="needs the real CT crop, which is not distributed")
def test_a_real_crop_served_over_http(tmp_path: Path) -> None:
    files = {f"scroll1/layers/{f.name}": f for f in CROP.glob("*.tif")}
    plain = np.stack([tifffile.imread(f) for f in sorted(CROP.glob("*.tif"))])
    with LayerServer(files) as server:
        volume = s5.ingest(server.url("scroll1/layers/"), tmp_path / "v.zarr", progress=False)
    np.testing.assert_array_equal(volume.values, plain)
    contrasted = s5.contrast(volume)
    np.testing.assert_array_equal(contrasted.values, s5.lookup_table()[plain])
    model, counter = counting_model()
    ink = s5.predict_ink(
        contrasted, model, windows=[5, 12, 24], stride=32, mask=s5.papyrus_mask(volume)
    )
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    assert run.ink.shape == (3, *plain.shape[1:])
    assert counter.tiles == 4 * 4 * 2 * 3
    picture = s5.composite(run.ink, reduce=2)
    assert picture.shape == tuple(n // 2 for n in plain.shape[1:])
    assert picture.std() > 0


@pytest.mark.slow
@pytest.mark.skipif(not LABELS.exists(), reason="needs the real labels, which are not distributed")
@pytest.mark.parametrize("path", sorted(LABELS.glob("*/*.png")), ids=lambda p: str(p.parent.name))
def test_real_labels_and_masks_are_read_as_gray_luma(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(path) as picture:
        plain = np.asarray(picture.convert("RGB").convert("L")) == 255
    mask = s5.read_mask(path)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, plain)
    assert 0 < mask.mean() < 1
