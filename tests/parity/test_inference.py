"""Whole inferences against the 2025 code's, from memory, from TIFF files and from a zarr store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

import s5engine as s5
from parity.golden_weights import GOLDEN, golden_network
from s5engine.model import from_network
from support import volume_of

TOLERANCE = {"uint8": 1e-5, "uint16": 1e-4}


@pytest.fixture(scope="module")
def model() -> s5.InkModel:
    return from_network(golden_network("tiny"), device="cpu")


def stack(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.load(GOLDEN / f"stack_{dtype}.npz")
    return arrays["layers"], arrays["mask"] > 0


def opened(layers: np.ndarray, how: str, folder: Path) -> xr.DataArray:
    """Return the layers as a volume that comes from memory, from TIFF files or from a store."""
    if how == "memory":
        return volume_of(layers)
    files = folder / "segment" / "layers"
    files.mkdir(parents=True)
    for number, layer in enumerate(layers):
        tifffile.imwrite(
            files / f"{number:02d}.tif", layer, compression="lzw", predictor=2, rowsperstrip=1
        )
    if how == "tiff":
        return s5.open_volume(files)
    return s5.ingest(files, folder / "volume.zarr", progress=False)


@pytest.mark.parametrize("how", ["memory", pytest.param("tiff", marks=pytest.mark.slow), "zarr"])
@pytest.mark.parametrize("dtype", ["uint8", pytest.param("uint16", marks=pytest.mark.graphs)])
def test_stride_32_without_tta(dtype: str, how: str, model: s5.InkModel, tmp_path: Path) -> None:
    layers, mask = stack(dtype)
    volume = s5.to_uint8(opened(layers, how, tmp_path))
    ink = s5.predict_ink(volume, model, windows=[3], stride=32, tta=0, mask=mask, edge="drop")
    golden = np.load(GOLDEN / f"infer_stride2_tta0_{dtype}.npz")["window_3"]
    np.testing.assert_allclose(ink.sel(window=3).values, golden, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["memory", "zarr"])
def test_crop_at_stride_16_with_tta(how: str, model: s5.InkModel, tmp_path: Path) -> None:
    layers, mask = stack("uint8")
    crop = {"y": slice(20, 150), "x": slice(30, 190)}
    volume = opened(layers, how, tmp_path).isel(crop)
    ink = s5.predict_ink(
        volume, model, windows=[4], stride=16, tta=2, mask=mask[20:150, 30:190], edge="drop"
    )
    golden = np.load(GOLDEN / "infer_stride4_tta2_crop_uint8.npz")["window_4"]
    np.testing.assert_allclose(ink.sel(window=4).values, golden, rtol=0, atol=1e-5)
    assert (int(ink.y[0]), int(ink.x[0])) == (20, 30)


@pytest.mark.slow
def test_covering_edges_changes_only_what_2025_left_out(model: s5.InkModel) -> None:
    layers, mask = stack("uint8")
    asked = {"windows": [3], "stride": 32, "tta": 0, "mask": mask}
    volume = volume_of(layers)
    drop = s5.predict_ink(volume, model, edge="drop", **asked).values[0]
    cover = s5.predict_ink(volume, model, edge="cover", **asked).values[0]
    last_y, last_x = ((side - 64) % 32 for side in (200, 264))
    inner = np.s_[: 200 - 64 - last_y + 8, : 264 - 64 - last_x + 8]
    np.testing.assert_array_equal(drop[inner], cover[inner])
    assert (drop[192:] == 0).all()
    assert (cover[192:][mask[192:]] > 0).any()
