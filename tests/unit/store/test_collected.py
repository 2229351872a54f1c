"""Bands that memory cannot hold, collected on disk a few rows at a time: the same store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from s5engine.errors import StoreError
from s5engine.phantom import LAYOUTS, encode_layers
from s5engine.store import band_plan, write_bands
from s5engine.store.band_plan import BandPlan
from s5engine.store.ingest import ingest
from s5engine.store.scratch import BandScratch
from s5engine.store.volume import open_volume
from unit.store.segments import files_of, pixels

BOX = (21, 300, 5, 1300)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("rows", [1, 4, 64])
def test_the_store_is_that_of_whole_bands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    zarr_format: Literal[2, 3],
    rows: int,
) -> None:
    data = pixels(2, 300, 1300)
    (tmp_path / "seg").mkdir()
    for name, encoded in encode_layers(data, layout).items():
        (tmp_path / "seg" / name).write_bytes(encoded)
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    options = {"box": BOX, "zarr_format": zarr_format, "progress": False}
    ingest(tmp_path / "seg", tmp_path / "whole", **options)
    monkeypatch.setattr(BandPlan, "fits", property(lambda p: p.rows <= rows))
    volume = ingest(tmp_path / "seg", tmp_path / "collected", **options)
    np.testing.assert_array_equal(volume.values, data[:, 21:300, 5:1300])
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "collected")


def test_an_interrupted_band_is_collected_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pixels(2, 300, 1300)
    (tmp_path / "seg").mkdir()
    for name, encoded in encode_layers(data, "rows-lzw").items():
        (tmp_path / "seg" / name).write_bytes(encoded)
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    monkeypatch.setattr(BandPlan, "fits", property(lambda p: p.rows <= 16))
    real, calls = BandScratch.put, 0

    def put(self: BandScratch, row: int, rows: np.ndarray) -> None:
        nonlocal calls
        calls += 1
        if calls == 12:  # in the second band of eight pieces
            raise OSError(28, "No space left on device")
        real(self, row, rows)

    monkeypatch.setattr(BandScratch, "put", put)
    with pytest.raises(StoreError, match=r"No space left.*same command to go on"):
        ingest(tmp_path / "seg", tmp_path / "a", progress=False)
    with pytest.raises(StoreError, match="unfinished"):
        open_volume(tmp_path / "a")
    calls = 100
    volume = ingest(tmp_path / "seg", tmp_path / "a", progress=False)
    np.testing.assert_array_equal(volume.values, data)
    assert calls == 100 + 8 + 3  # the first band was not collected again
    assert not list(tmp_path.rglob("*.partial"))


def test_a_band_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="larger budget"):
        BandScratch(tmp_path / "band", (10**6, 10**6, 10**6), np.dtype(np.uint8))
    assert write_bands.scratch_path(tmp_path).suffix == ".partial"
