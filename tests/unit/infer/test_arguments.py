"""What does not fit is refused before anything is read or run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import xarray as xr

import s5engine as s5
from support import counting_model, noise, volume_of

GOOD = {"windows": [0], "stride": 32, "tta": 0}


def volume(dtype: type = np.uint8) -> xr.DataArray:
    return volume_of(noise((18, 100, 120), dtype=dtype), first_layer=2)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"windows": [9]}, r"window 9 needs the layers 9…24.*Windows that fit: \[2, 3, 4\]"),
        ({"windows": [0]}, r"\[0, 1\] are missing"),
        ({"windows": []}, "No layer window"),
        ({"windows": 2}, r"For one window write \[2\]"),
        ({"windows": [2.5]}, "A layer window is a whole number, not 2.5"),
        ({"windows": [2, 2]}, r"named twice among \[2, 2\]"),
        ({"stride": 32.0}, "stride is a whole number"),
        ({"tta": [1]}, "tta is one of"),
        ({"batch": 2.5}, "batch is a whole number"),
        ({"mask": "papyrus.png"}, "A papyrus mask is a bool array"),
        ({"stride": 24}, "does not divide"),
        ({"stride": 0}, "does not divide"),
        ({"tta": 4}, "tta is one of"),
        ({"taper": "cosine"}, "taper is"),
        ({"taper": ["hann"]}, "taper is"),
        ({"edge": "keep"}, "edge is"),
        ({"batch": 0}, "batch is at least 1"),
        ({"budget": "100 MiB"}, "does not fit into 100 MiB"),
        ({"budget": "lots"}, "not an amount of memory"),
        ({"mask": np.ones((10, 10), bool)}, r"mask is \(10, 10\)"),
        ({"precision": "float8"}, "precision"),
    ],
)
def test_arguments_that_do_not_fit(change: dict[str, object], complaint: str) -> None:
    model, counter = counting_model()
    with pytest.raises(s5.S5Error, match=complaint):
        s5.predict_ink(volume(), model, **(GOOD | {"windows": [2]} | change))
    assert counter.tiles == 0


def test_volumes_that_do_not_fit() -> None:
    model, _ = counting_model()
    with pytest.raises(s5.S5Error, match="to_uint8"):
        s5.predict_ink(volume(np.uint16), model, **GOOD)
    with pytest.raises(s5.S5Error, match=r"dims \(layer, y, x\)"):
        s5.predict_ink(volume().transpose("y", "x", "layer"), model, **GOOD)


@pytest.mark.parametrize("cut", [{"y": slice(None, None, 2)}, {"x": slice(None, None, -1)}])
def test_pixels_that_are_no_neighbours_are_refused(cut: dict[str, slice]) -> None:
    model, _ = counting_model()
    with pytest.raises(s5.S5Error, match="not neighbours"):
        s5.predict_ink(volume().isel(cut), model, **(GOOD | {"windows": [2]}))
    with pytest.raises(s5.S5Error, match="those of a ndarray"):
        s5.predict_ink(volume().values, model, **GOOD)  # type: ignore[arg-type]  # wrong


def test_layers_in_no_order_are_refused() -> None:
    model, _ = counting_model()
    for order in ([1, 0, *range(2, 18)], [*range(18), 17]):
        mixed = volume().isel(layer=order)
        with pytest.raises(s5.S5Error, match=r"no order: .*turn all of them round"):
            s5.predict_ink(mixed, model, **(GOOD | {"windows": [2]}))


def test_a_mask_of_another_place_is_refused() -> None:
    model, _ = counting_model()
    wide = volume_of(noise((18, 100, 240)))
    mask = s5.papyrus_mask(wide).isel(x=slice(100, 220))
    with pytest.raises(s5.S5Error, match="has x from 100 to 219"):
        s5.predict_ink(wide.isel(x=slice(0, 120)), model, mask=mask, **GOOD)


@pytest.mark.parametrize("kind", [np.asarray, lambda m: m, lambda m: m.compute()])
def test_a_mask_may_be_an_array_or_lazy(kind: Callable[[xr.DataArray], object]) -> None:
    model, _ = counting_model()
    layers = noise((18, 100, 120))
    layers[10, :, :70] = 0
    lazy = volume_of(layers)
    ink = s5.predict_ink(lazy, model, mask=kind(s5.papyrus_mask(lazy)), **GOOD)
    plain = s5.predict_ink(lazy, model, mask=layers[10] > 0, **GOOD)
    np.testing.assert_array_equal(ink.values, plain.values)
    assert (ink.values == 0).any()


def test_an_answer_that_is_no_number_is_one_clear_error() -> None:
    def broken(tiles: torch.Tensor) -> torch.Tensor:
        answer = torch.zeros(len(tiles), 16, 16)
        answer[:, 3, 3] = torch.nan
        return answer

    model, _ = counting_model(broken)
    with pytest.raises(s5.S5Error, match=r"NaN or infinity for the tile at y 0, x 0"):
        s5.predict_ink(volume_of(noise((16, 64, 64))), model, **GOOD).compute()


def test_tiles_of_half_a_grid_are_not_blended() -> None:
    model, _ = counting_model()
    tiles = s5.predict_tiles(volume(), model, **(GOOD | {"windows": [2]}))
    assert tiles.dims == ("window", "tile_y", "tile_x", "v", "u")
    assert (int(tiles.tile_y[1]), int(tiles.tile_x[-1])) == (32, 56)
    with pytest.raises(s5.S5Error, match="slice the ink"):
        s5.blend(tiles.isel(tile_y=[0]))
    with pytest.raises(s5.S5Error, match="in another order"):
        s5.blend(tiles.isel(tile_x=slice(None, None, -1)))
    for other in (tiles.isel(window=0), tiles.transpose("tile_y", ...), tiles.drop_attrs()):
        with pytest.raises(s5.S5Error, match="Tile predictions have the dims"):
            s5.blend(other)


def test_building_the_graph_reads_and_runs_nothing() -> None:
    model, counter = counting_model()
    reads = 0

    def counting(block: np.ndarray) -> np.ndarray:
        nonlocal reads
        reads += block.size > 0
        return block

    lazy = volume()
    lazy = lazy.copy(data=lazy.data.map_blocks(counting, meta=np.empty((0, 0, 0), np.uint8)))
    ink = s5.predict_ink(lazy, model, **(GOOD | {"windows": [2, 3]}))
    assert (reads, counter.tiles) == (0, 0)
    assert ink.shape == (2, 100, 120)
    assert ink.attrs["segment"] == "test"


def test_windows_need_not_be_neighbours() -> None:
    model, _ = counting_model()
    layers = noise((40, 64, 64))
    ink = s5.predict_ink(volume_of(layers), model, **(GOOD | {"windows": [20, 1]}))
    for window in (20, 1):
        alone = s5.predict_ink(volume_of(layers), model, **(GOOD | {"windows": [window]}))
        np.testing.assert_array_equal(ink.sel(window=window).values, alone.values[0])
