"""The spread over the views of test-time augmentation, kept beside the mean."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import torch
import xarray as xr

import s5engine as s5
from s5engine.infer import graph, memory
from s5engine.infer.tta import averaged, views, with_spread
from support import counting_model, noise, texture, volume_of


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))


ASKED = {"windows": [0, 2], "stride": 32, "tta": 3}


def volume() -> xr.DataArray:
    return volume_of(noise((18, 200, 330)), y0=100, x0=1000, contrast=[[0, 0], [255, 255]])


def lazy_ink(model: s5.InkModel, **asked: object) -> xr.DataArray:
    return s5.predict_ink(volume(), model, **(ASKED | asked))


@pytest.mark.parametrize("level", [0, 1, 2, 3, 8])
def test_spread_is_the_deviation_of_the_views_and_the_mean_stays(level: int) -> None:
    tiles = torch.from_numpy(noise((3, 16, 64 * 64)).reshape(3, 16, 64, 64)).float() / 255

    def predict(seen: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(texture(seen))

    both = with_spread(predict, tiles, level)
    np.testing.assert_array_equal(both[..., 0], averaged(predict, tiles, level))
    maps = [v.undo(predict(v.apply(tiles))).numpy().astype(float) for v in views(level)]
    np.testing.assert_allclose(both[..., 1], np.std(maps, axis=0), rtol=0, atol=1e-6)
    assert (both[..., 1].numpy().max() > 0.01) == (level > 0)


def test_tiles_hold_both_and_the_ink_is_the_same_to_the_bit() -> None:
    model, _ = counting_model()
    plain = s5.predict_tiles(volume(), model, **ASKED)
    both = s5.predict_tiles(volume(), model, **ASKED, spread=True)
    assert plain.dims == ("window", "tile_y", "tile_x", "v", "u")
    assert both.dims == (*plain.dims, "statistic")
    assert both.statistic.values.tolist() == ["mean", "spread"]
    assert "spread" not in plain.attrs
    np.testing.assert_array_equal(both.sel(statistic="mean").values, plain.values)
    ink = s5.blend(plain).values
    np.testing.assert_array_equal(s5.blend(both).values, ink)
    np.testing.assert_array_equal(lazy_ink(model, spread=True).values, ink)
    one = both.isel(statistic=1, drop=True)
    spread = s5.blend(both, statistic="spread")
    assert spread.name == "spread"
    np.testing.assert_array_equal(spread.values, s5.blend(one).values)
    with pytest.raises(s5.S5Error, match="hold the mean, not the spread"):
        s5.blend(plain, statistic="spread")
    with pytest.raises(s5.S5Error, match='"mean" or "spread"'):
        s5.blend(both, statistic="median")  # type: ignore[arg-type]  # wrong


@pytest.mark.graphs
def test_without_spread_tiles_are_what_they_were() -> None:
    model, _ = counting_model()
    first = s5.predict_tiles(volume(), model, **ASKED)
    second = s5.predict_tiles(volume(), model, **ASKED, spread=False)
    assert first.attrs == second.attrs
    assert first.data.chunks == second.data.chunks
    keys = {name.rpartition("-")[0] for name in first.data.dask.layers}
    assert graph.PREDICT_STEP in keys
    assert keys == {name.rpartition("-")[0] for name in second.data.dask.layers}


def test_a_run_keeps_it_and_its_tiles_stay_what_they_were(tmp_path: Path) -> None:
    model, counter = counting_model()
    both = s5.predict_tiles(volume(), model, **ASKED, spread=True).compute()
    plain = s5.write_run(lazy_ink(model), tmp_path / "plain", progress=False)
    run = s5.write_run(lazy_ink(model, spread=True), tmp_path / "run", progress=False)
    counter.tiles = 0
    np.testing.assert_array_equal(run.ink.values, plain.ink.values)
    assert run.tiles.dims == run.spread.dims == plain.tiles.dims
    np.testing.assert_array_equal(run.tiles.values, plain.tiles.values)
    np.testing.assert_array_equal(run.spread.values, both.values[..., 1])
    np.testing.assert_array_equal(s5.blend(run.tiles).values, run.ink.values)
    lazy = s5.blend(run.spread)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, s5.blend(both, statistic="spread").values)
    np.testing.assert_array_equal(s5.blend(run.spread, statistic="spread").values, lazy.values)
    assert counter.tiles == 0
    assert "spread" not in plain.record["settings"]
    assert run.record["settings"]["spread"] is True
    with pytest.raises(s5.S5Error, match=r"Predict again with spread=True"):
        _ = plain.spread
    with pytest.raises(s5.S5Error, match="not the spread"):
        s5.blend(run.tiles, statistic="spread")
    with pytest.raises(s5.S5Error, match="not the mean"):
        s5.blend(run.spread, statistic="mean")


def test_the_other_choice_is_refused_by_name(tmp_path: Path) -> None:
    model, _ = counting_model()
    s5.write_run(lazy_ink(model), tmp_path / "plain", progress=False)
    with pytest.raises(s5.S5Error, match="spread was null and is now true"):
        s5.write_run(lazy_ink(model, spread=True), tmp_path / "plain", progress=False)
    ink = lazy_ink(model, spread=True)
    s5.write_run(ink, tmp_path / "with", progress=False)
    with pytest.raises(s5.S5Error, match="spread was true and is now null"):
        s5.write_run(lazy_ink(model), tmp_path / "with", progress=False)
    tiles = s5.predict_tiles(volume(), model, **ASKED, spread=True)
    with pytest.raises(s5.S5Error, match="statistic was null"):
        s5.write_run(s5.blend(tiles, statistic="spread"), tmp_path / "with", progress=False)


class StoppedError(Exception):
    """Stands for a kill."""


def test_a_stopped_run_goes_on_with_its_spread(tmp_path: Path) -> None:
    model, counter = counting_model()
    expected = s5.predict_tiles(volume(), model, **ASKED, spread=True).compute()
    whole, batches = counter.tiles, 0

    def failing(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if batches == 45:
            raise StoppedError
        return texture(tiles)

    counter._answer = failing
    with pytest.raises(StoppedError), dask.config.set(scheduler="synchronous"):
        s5.write_run(lazy_ink(model, spread=True), tmp_path, progress=False)
    lines = (tmp_path / "progress.jsonl").read_text().splitlines()
    finished = sum('"predict ' in line for line in lines)
    assert finished
    counter._answer, counter.tiles = texture, 0
    run = s5.write_run(lazy_ink(model, spread=True), tmp_path, progress=False)
    # Blocks own at least 4 × 4 tiles, in two windows, seen in four views.
    assert counter.tiles <= whole - finished * 4 * 4 * 2 * 4
    np.testing.assert_array_equal(run.tiles.values, expected.values[..., 0])
    np.testing.assert_array_equal(run.spread.values, expected.values[..., 1])
    np.testing.assert_array_equal(run.ink.values, s5.blend(expected).values)


def test_a_corner_stores_only_its_blocks(tmp_path: Path) -> None:
    model, counter = counting_model()
    corner = lazy_ink(model, spread=True).isel(y=slice(0, 60), x=slice(0, 60))
    run = s5.write_run(corner, tmp_path, dtype="float16", progress=False)
    assert counter.tiles < 7 * 11 * 2 * 4
    assert np.isnan(run.spread.values[0, -1, -1]).all()
    assert np.isfinite(run.spread.values[0, 0, 0]).all()


def test_skipped_tiles_have_no_spread_and_bad_answers_are_told() -> None:
    mask = np.zeros((200, 330), bool)
    mask[:40, :40] = True
    model, counter = counting_model()
    tiles = s5.predict_tiles(volume(), model, **ASKED, mask=mask, spread=True).values
    np.testing.assert_array_equal(np.isnan(tiles[..., 0]), np.isnan(tiles[..., 1]))
    assert np.isnan(tiles).any()
    counter._answer = lambda t: texture(t) * np.nan
    with pytest.raises(s5.S5Error, match="answered NaN"):
        s5.predict_tiles(volume(), model, **ASKED, spread=True).compute(scheduler="synchronous")
