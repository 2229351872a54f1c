"""Halving by mean: against plain arithmetic, however the array is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.store.halve import centres, halve, level_shapes


def plain(pixels: np.ndarray) -> np.ndarray:
    """The mean of what each 2 × 2 square has, pixel by pixel."""
    layers, height, width = pixels.shape
    out = np.empty((layers, -(-height // 2), -(-width // 2)), pixels.dtype)
    for n, y, x in np.ndindex(out.shape):
        mean = pixels[n, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(dtype=np.float64)
        out[n, y, x] = np.floor(mean + 0.5) if pixels.dtype.kind == "u" else mean
    return out


@given(
    st.sampled_from(["uint8", "uint16", "float32", "float16"]),
    st.integers(1, 2),
    st.integers(1, 19),
    st.integers(1, 40),
    st.integers(0, 99),
)
def test_it_is_the_mean_of_what_there_is(
    dtype: str, layers: int, height: int, width: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    if dtype.startswith("u"):
        pixels = random.integers(0, np.iinfo(dtype).max + 1, (layers, height, width), dtype)
    else:
        pixels = random.random((layers, height, width)).astype(dtype)
    made = halve(pixels)
    assert made.dtype == dtype
    if dtype.startswith("u"):
        np.testing.assert_array_equal(made, plain(pixels))
    else:
        spacing = np.spacing(np.ones(1, dtype))[0]
        np.testing.assert_allclose(made, plain(pixels), atol=2 * spacing, rtol=0)


def test_halves_are_rounded_upwards() -> None:
    assert halve(np.array([[[0, 1], [1, 0]]], np.uint8)).item() == 1
    assert halve(np.array([[[0, 1], [0, 0]]], np.uint8)).item() == 0
    assert halve(np.array([[[65535, 65534], [65535, 65534]]], np.uint16)).item() == 65535


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_pieces_give_the_same_bits_as_the_whole(dtype: str) -> None:
    pixels = (np.random.default_rng(1).random((2, 61, 75)) * 200).astype(dtype)
    whole = halve(pixels)
    for y in range(0, 61, 14):
        for x in range(0, 75, 22):
            piece = halve(pixels[:, y : y + 14, x : x + 22])
            place = whole[:, y // 2 : y // 2 + 7, x // 2 : x // 2 + 11]
            np.testing.assert_array_equal(piece, place)


def test_levels_end_when_the_longer_side_fits() -> None:
    assert list(level_shapes(1024, 1024)) == []
    assert list(level_shapes(3, 1025)) == [(2, 513)]
    shapes = list(level_shapes(13_780, 289_380))
    assert shapes[0] == (6_890, 144_690)
    assert max(shapes[-1]) <= 1024 < max(shapes[-2])


def test_centres_are_where_the_averaged_pixels_have_their_middle() -> None:
    np.testing.assert_array_equal(centres(100, 1, 1, 4), [100, 101, 102, 103])
    np.testing.assert_array_equal(centres(100, 1, 4, 3), [101.5, 105.5, 109.5])
