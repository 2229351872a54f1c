"""However a volume is cut into blocks: the same tiles, each once, and the same ink to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.geometry import TileAxis
from s5engine.infer import memory
from s5engine.infer.blend import blend_box
from s5engine.infer.taper import taper_weights
from support import TILE, constant, counting_model, noise, texture, volume_of


@st.composite
def axes(draw: st.DrawFn) -> TileAxis:
    tile = draw(st.sampled_from([32, 64, 128]))
    stride = tile // draw(st.sampled_from([1, 2, 4, 8]))
    length = draw(st.integers(tile, 1500))
    return TileAxis(length, tile, stride, draw(st.sampled_from(["cover", "drop"])))


@given(axes(), st.integers(1, 1200))
def test_blocks_tile_the_axis_and_own_every_tile_once(axis: TileAxis, size: int) -> None:
    blocks = axis.blocks(size)
    step = axis.block_step(size)
    starts = np.arange(len(blocks.pixels)) * step
    assert sum(blocks.pixels) == axis.length
    assert sum(blocks.tiles) == axis.count == len(axis.origins)
    np.testing.assert_array_equal(np.cumsum([0, *blocks.pixels[:-1]]), starts)
    owner = np.repeat(np.arange(len(starts)), blocks.tiles)
    assert (axis.origins >= starts[owner]).all()
    # A tile reaches at most into the next block, and never beyond its halo of tile - stride.
    ends = np.append(starts[1:], axis.length)[owner]
    assert (axis.origins + axis.tile <= ends + axis.tile - axis.stride).all()
    assert min(blocks.tiles) >= min(axis.tile // axis.stride, axis.count)


@given(axes())
def test_cover_leaves_no_pixel_out_and_drop_is_the_range_of_2025(axis: TileAxis) -> None:
    if axis.edge == "drop":
        wanted = list(range(0, axis.length - axis.tile + 1, axis.stride))
        assert axis.origins.tolist() == wanted
    else:
        covered = np.zeros(axis.length, bool)
        for origin in axis.origins:
            covered[origin : origin + axis.tile] = True
        assert covered.all()
        assert axis.origins[-1] + axis.tile == axis.length


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    height, width = draw(st.integers(40, 280)), draw(st.integers(40, 280))
    edge = "cover" if min(height, width) < TILE else draw(st.sampled_from(["cover", "drop"]))
    return {
        "shape": (18, height, width),
        "chunks": (
            draw(st.integers(1, 18)),
            draw(st.integers(30, 280)),
            draw(st.integers(30, 280)),
        ),
        "block": draw(st.integers(1, 300)),
        "crop": (draw(st.integers(0, height // 4)), draw(st.integers(0, width // 4))),
        "masked": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
        "asked": {
            "windows": draw(st.sampled_from([[0], [2], [0, 2], [2, 0, 1]])),
            "stride": draw(st.sampled_from([16, 32, 64])),
            "tta": draw(st.sampled_from([0, 1, 2, 3, 8])),
            "taper": draw(st.sampled_from(["gaussian", "hann", "uniform"])),
            "edge": edge,
            "batch": draw(st.integers(1, 9)),
        },
    }


def blocked(size: int) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(memory, "BLOCK_SIZES", (size,))
    return patch


@settings(max_examples=30, deadline=None)
@given(jobs())
def test_ink_is_bitwise_that_of_one_pass_and_each_active_tile_runs_once(
    job: dict[str, Any],
) -> None:
    layers = noise(job["shape"], job["seed"])
    top, left = job["crop"]
    volume = volume_of(layers, job["chunks"], y0=7).isel(y=slice(top, None), x=slice(left, None))
    asked = job["asked"]
    if asked["edge"] == "drop" and min(volume.shape[1:]) < TILE:
        asked = asked | {"edge": "cover"}
    mask = None
    if job["masked"]:
        mask = np.random.default_rng(job["seed"]).random(volume.shape[1:]) > 0.9995
        mask[0, 0] = True  # one without papyrus is refused
    model, counter = counting_model()
    patch = blocked(job["block"])
    try:
        ink = s5.predict_ink(volume, model, mask=mask, **asked).compute()
    finally:
        patch.undo()
    np.testing.assert_array_equal(ink.values, one_pass(volume, mask, asked))
    axes_yx = [TileAxis(n, TILE, asked["stride"], asked["edge"]) for n in volume.shape[1:]]
    active = sum(
        mask is None or mask[y : y + TILE, x : x + TILE].any()
        for y in axes_yx[0].origins
        for x in axes_yx[1].origins
    )
    views = {0: 1, 1: 2, 2: 3, 3: 4, 8: 8}[asked["tta"]]
    assert counter.tiles == active * views * len(asked["windows"])


def one_pass(volume: xr.DataArray, mask: np.ndarray | None, asked: dict[str, Any]) -> np.ndarray:
    """The plain twin: every tile of the grid in raster order, over the whole volume at once."""
    import torch

    from s5engine.infer.tta import averaged

    height, width = volume.shape[1:]
    padded = [max(height, TILE), max(width, TILE)]
    pixels = np.zeros((volume.shape[0], *padded), np.uint8)
    pixels[:, :height, :width] = volume.values
    grid = [TileAxis(n, TILE, asked["stride"], asked["edge"]) for n in (height, width)]
    weights = taper_weights(asked["taper"], TILE)
    result = []
    for window in asked["windows"]:
        total = np.zeros(padded, np.float32)
        norm = np.zeros(padded, np.float32)
        for y in grid[0].origins:
            for x in grid[1].origins:
                if mask is not None and not mask[y : y + TILE, x : x + TILE].any():
                    continue
                tile = pixels[window : window + 16, y : y + TILE, x : x + TILE]
                answer = averaged(
                    lambda t: torch.sigmoid(texture(t)),
                    torch.from_numpy(tile.copy())[None].float() / 255,
                    asked["tta"],
                )
                whole = np.kron(answer[0].numpy(), np.ones((4, 4), np.float32))
                total[y : y + TILE, x : x + TILE] += whole * weights
                norm[y : y + TILE, x : x + TILE] += weights
        ink = np.divide(total, norm, out=np.zeros_like(total), where=norm > 0)
        result.append(ink[:height, :width])
    return np.stack(result)


@pytest.mark.parametrize("taper", ["gaussian", "hann", "uniform"])
@pytest.mark.parametrize("edge", ["cover", "drop"])
@pytest.mark.parametrize("stride", [8, 16, 32, 64])
def test_a_constant_answer_stays_constant(taper: str, edge: str, stride: int) -> None:
    model, _ = counting_model(constant)
    volume = volume_of(noise((16, 150, 201)))
    mask = np.zeros((150, 201), bool)
    mask[30:140, 20:190] = True
    ink = s5.predict_ink(
        volume, model, windows=[0], stride=stride, tta=0, taper=taper, edge=edge, mask=mask
    ).values[0]
    covered = ink > 0
    np.testing.assert_allclose(ink[covered], 0.7, rtol=0, atol=1e-6)
    if edge == "cover":
        assert covered[mask].all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16, 32, 64]))
@settings(max_examples=20, deadline=None)
def test_fast_blending_is_the_plain_sum(seed: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    axis_y, axis_x = (TileAxis(int(rng.integers(64, 200)), TILE, stride) for _ in range(2))
    maps = rng.random((axis_y.count, axis_x.count, 16, 16), np.float32)
    maps[rng.random(maps.shape[:2]) < 0.3] = np.nan
    weights = taper_weights("gaussian", TILE)
    shape = (axis_y.length, axis_x.length)
    total, norm = np.zeros(shape), np.zeros(shape)
    for i, y in enumerate(axis_y.origins):
        for j, x in enumerate(axis_x.origins):
            if not np.isnan(maps[i, j, 0, 0]):
                place = np.s_[y : y + TILE, x : x + TILE]
                total[place] += np.kron(maps[i, j], np.ones((4, 4))) * weights
                norm[place] += weights
    plain = np.divide(total, norm, out=np.zeros(shape), where=norm > 0)
    fast = blend_box(maps, axis_y.origins, axis_x.origins, weights, shape)
    np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-6)


def test_a_corner_computes_only_that_corner() -> None:
    model, counter = counting_model()
    patch = blocked(128)
    try:
        ink = s5.predict_ink(volume_of(noise((16, 700, 700))), model, windows=[0], stride=32, tta=0)
        assert counter.tiles == 0
        corner = ink.isel(y=slice(0, 50), x=slice(0, 50)).compute()
    finally:
        patch.undo()
    assert corner.shape == (1, 50, 50)
    assert counter.tiles == 16  # the one block of 128 px that holds it, 4 × 4 tiles
