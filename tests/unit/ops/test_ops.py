"""Contrast, intensity, parts and mask: lazy, pixel by pixel the plain formula."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import s5engine as s5
from s5engine.foreign import structured
from support import counting_model, noise, volume_of


class Untouchable:
    """An array that must not be read."""

    shape, dtype, ndim = (16, 300, 400), np.dtype(np.uint8), 3

    def __getitem__(self, place: object) -> np.ndarray:
        raise AssertionError(f"a lazy step read {place}")


def untouchable(dtype: type = np.uint8) -> xr.DataArray:
    array = Untouchable()
    array.dtype = np.dtype(dtype)
    data = da.from_array(array, chunks=(16, 100, 100), meta=np.empty((0, 0, 0), dtype))
    return xr.DataArray(
        data,
        dims=("layer", "y", "x"),
        coords={"layer": range(16), "y": range(300), "x": range(400)},
    )


def test_nothing_is_computed_early() -> None:
    volume = untouchable()
    s5.parts(s5.to_uint8(s5.contrast(volume)), 150)
    s5.papyrus_mask(volume)
    for limits in ("layer", "dtype", (5.0, 900.0)):
        s5.to_uint8(untouchable(np.uint16), limits=limits)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_contrast_is_the_table_of_every_pixel(dtype: type) -> None:
    layers = noise((5, 70, 90), dtype=dtype)
    table = s5.lookup_table(dtype=dtype)
    result = s5.contrast(volume_of(layers, (2, 30, 40)))
    np.testing.assert_array_equal(result.values, table[layers])
    assert result.dtype == dtype
    assert structured(result.attrs["contrast"]) == [[0, 0], [128, 64], [255, 255]]
    assert result.chunks == volume_of(layers, (2, 30, 40)).chunks
    in_memory = s5.contrast(volume_of(layers).compute())
    np.testing.assert_array_equal(in_memory.values, table[layers])


def test_contrast_is_applied_once() -> None:
    once = s5.contrast(volume_of(noise((2, 8, 8))))
    with pytest.raises(s5.S5Error, match="contrasted already"):
        s5.contrast(once)


@pytest.mark.parametrize(
    "points",
    [
        ((0, 0),),
        ((0, 0), (0, 9)),
        ((9, 0), (3, 1)),
        ((0, 0), (300, 1)),
        "ab",
        ((0, float("nan")), (2, 2)),
    ],
)
def test_points_that_are_no_curve_are_refused(points: object) -> None:
    with pytest.raises(s5.S5Error, match="ascending inputs"):
        s5.lookup_table(points)


def test_contrast_wants_integers() -> None:
    with pytest.raises(s5.S5Error, match="float32"):
        s5.contrast(volume_of(noise((1, 4, 4))).astype(np.float32))


def plain_scale(layers: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((layers.astype(float) - low) * 255 / (high - low)), 0, 255)


def test_sixteen_bits_by_each_layers_own_range() -> None:
    layers = (
        noise((4, 60, 80), dtype=np.uint16) // np.array([1, 2, 3, 50], np.uint16)[:, None, None]
    )
    low, high = (f(axis=(1, 2), keepdims=True).astype(float) for f in (layers.min, layers.max))
    result = s5.to_uint8(volume_of(layers, (3, 25, 30)))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result.values, plain_scale(layers, low, high))
    np.testing.assert_array_equal(s5.to_uint8(volume_of(layers).compute()).values, result.values)


def test_sixteen_bits_by_the_type_or_given_limits() -> None:
    layers = noise((2, 30, 40), dtype=np.uint16)
    whole = s5.to_uint8(volume_of(layers), limits="dtype").values
    np.testing.assert_array_equal(whole, plain_scale(layers, np.array(0.0), np.array(65_535.0)))
    given = s5.to_uint8(volume_of(layers), limits=(1000, 40_000)).values
    np.testing.assert_array_equal(given, plain_scale(layers, np.array(1000.0), np.array(40_000.0)))


def test_a_layer_of_one_value_becomes_zero() -> None:
    flat = np.full((1, 9, 9), 700, np.uint16)
    assert (s5.to_uint8(volume_of(flat)).values == 0).all()


def test_limits_are_noted_and_the_name_is_the_same_each_time() -> None:
    volume = volume_of(noise((2, 40, 50), seed=2, dtype=np.uint16))
    # A run notes its mask by this name: one that changed would keep the run from going on.
    assert s5.to_uint8(volume).data.name == s5.to_uint8(volume).data.name
    assert s5.to_uint8(volume).attrs["limits"] == "layer"
    given = s5.to_uint8(volume, limits=(10, 2000))
    assert given.attrs["limits"] == [10, 2000]
    model, _ = counting_model()
    tall = s5.to_uint8(volume_of(noise((16, 64, 64), dtype=np.uint16)), limits="dtype")
    assert s5.predict_ink(tall, model, windows=[0]).attrs["limits"] == "dtype"


def test_a_volume_without_columns_has_no_parts() -> None:
    assert s5.parts(volume_of(noise((2, 9, 9))).isel(x=slice(0, 0))) == {}


def test_uint8_is_returned_as_it_is() -> None:
    volume = volume_of(noise((2, 9, 9)))
    assert s5.to_uint8(volume) is volume


@pytest.mark.parametrize("limits", ["pixel", (5, 5), (1, 2, 3)])
def test_limits_that_are_none_are_refused(limits: Any) -> None:
    with pytest.raises(s5.S5Error, match="limits is"):
        s5.to_uint8(volume_of(noise((1, 9, 9), dtype=np.uint16)), limits=limits)


def test_parts_are_counted_in_segment_pixels() -> None:
    whole = volume_of(noise((1, 5, 250)), (1, 5, 60))
    pieces = s5.parts(whole, 100)
    assert {n: (int(p.x[0]), p.sizes["x"]) for n, p in pieces.items()} == {
        1: (0, 100),
        2: (100, 100),
        3: (200, 50),
    }
    np.testing.assert_array_equal(xr.concat(pieces.values(), "x").values, whole.values)
    crop = s5.parts(whole.isel(x=slice(130, 220)), 100)
    assert {n: (int(p.x[0]), p.sizes["x"]) for n, p in crop.items()} == {2: (130, 70), 3: (200, 20)}
    offset = s5.parts(whole, 100, first_offset=30)
    assert [p.sizes["x"] for p in offset.values()] == [70, 100, 80]
    assert offset[2].attrs["part"] == 2


def test_the_mask_is_where_one_layer_is_not_zero() -> None:
    layers = noise((12, 40, 50))
    layers[10, :20] = 0
    mask = s5.papyrus_mask(volume_of(layers))
    np.testing.assert_array_equal(mask.values, layers[10] != 0)
    assert mask.dims == ("y", "x")
    shifted = s5.papyrus_mask(volume_of(layers, first_layer=3), layer=13)
    np.testing.assert_array_equal(shifted.values, mask.values)
    with pytest.raises(s5.S5Error, match="Layer 30 is not in this volume"):
        s5.papyrus_mask(volume_of(layers), layer=30)
