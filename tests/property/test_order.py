"""The order that is asked for is the order that is used, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.source.stack import open_stack
from support import TILE, counting_model, noise, texture, volume_of
from unit.store.segments import write_layers

COUNT, HEIGHT, WIDTH = 20, 70, 90
PIXELS = noise((COUNT, HEIGHT, WIDTH))
MODEL = s5.wrap_model(texture, tile=TILE)
ASK = {"stride": 32, "tta": 0, "taper": "uniform"}


def ink_of(volume: xr.DataArray, windows: list[int]) -> np.ndarray:
    values: np.ndarray = s5.predict_ink(volume, MODEL, windows=windows, **ASK).values
    return values


@given(
    first=st.integers(0, 3),
    windows=st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
    chunks=st.tuples(st.integers(1, COUNT), st.integers(40, HEIGHT), st.integers(40, WIDTH)),
    turned=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_the_network_sees_layers_in_the_order_of_the_volume(
    first: int, windows: list[int], chunks: tuple[int, int, int], turned: bool
) -> None:
    volume = volume_of(PIXELS, chunks, first_layer=first)
    windows = [first + window for window in windows]
    # The plain twin: the same pixels as files would hold them, in ascending numbers.
    twin = volume_of(PIXELS[::-1] if turned else PIXELS, chunks, first_layer=first)
    step = -1 if turned else 1
    names = [2 * first + COUNT - 16 - w for w in windows] if turned else windows
    got = ink_of(volume.isel(layer=slice(None, None, step)), windows)
    np.testing.assert_array_equal(got, ink_of(twin, names))


def test_a_volume_turned_round_gives_other_ink_and_says_so() -> None:
    volume = volume_of(PIXELS)
    turned = volume.isel(layer=slice(None, None, -1))
    assert abs(ink_of(volume, [2]) - ink_of(turned, [2])).max() > 0.01
    np.testing.assert_array_equal(
        ink_of(turned.isel(layer=slice(None, None, -1)), [2]), ink_of(volume, [2])
    )
    attrs = [s5.predict_ink(v, MODEL, windows=[2], **ASK).attrs for v in (volume, turned)]
    assert [a.get("reversed") for a in attrs] == [None, True]


def test_a_run_of_one_direction_is_not_taken_for_the_other(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("run")
    volume = volume_of(PIXELS)
    s5.write_run(s5.predict_ink(volume, MODEL, windows=[2], **ASK), folder, progress=False)
    turned = s5.predict_ink(volume[::-1], MODEL, windows=[2], **ASK)
    with pytest.raises(s5.S5Error, match="reversed"):
        s5.write_run(turned, folder, progress=False)


@given(st.permutations(range(5)))
@settings(max_examples=50, deadline=None)
def test_layers_are_ascending_where_they_are_kept(stack_of_five, order: list[int]) -> None:
    index = s5.list_layers(stack_of_five)
    if list(order) == sorted(order):
        with open_stack(index, layers=order) as stack:
            assert stack.layers == (0, 1, 2, 3, 4)
        return
    with pytest.raises(s5.S5Error, match="do not ascend"):
        open_stack(index, layers=list(order))
    with pytest.raises(s5.S5Error, match="do not ascend"):
        s5.split(s5.open_volume(stack_of_five).isel(layer=list(order)), stack_of_five / "out")


@pytest.fixture(scope="module")
def stack_of_five(tmp_path_factory):
    return write_layers(tmp_path_factory.mktemp("five"), PIXELS[:5])


@given(
    flip_y=st.booleans(),
    flip_x=st.booleans(),
    swap=st.booleans(),
    move=st.integers(-1, 1),
    lazy=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_masks_and_truth_lie_on_the_pixels_or_are_refused(
    flip_y: bool, flip_x: bool, swap: bool, move: int, lazy: bool
) -> None:
    side = 70  # square: transposed, its shape would pass
    model, _ = counting_model()
    volume = volume_of(PIXELS[:16, :, :side], y0=5, x0=7)
    values = np.zeros((side, side), bool)
    values[:20, :60] = True
    mask = xr.DataArray(
        values, dims=("y", "x"), coords={"y": 5 + move + np.arange(side), "x": volume.x}
    )
    wrong = flip_y or flip_x or move != 0
    mask = mask[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    mask = mask.transpose("x", "y") if swap else mask
    mask = mask.chunk(30) if lazy else mask
    ink = xr.DataArray(
        values.astype(np.float32),
        dims=("y", "x"),
        coords={
            "y": volume.y,
            "x": volume.x,
        },
    )
    if wrong:
        with pytest.raises(s5.S5Error, match="Cut both to the same box"):
            s5.predict_ink(volume, model, windows=[0], mask=mask, **ASK)
        with pytest.raises(s5.S5Error, match="Cut both to the same box"):
            s5.score_ink(ink, mask)
        return
    plain = s5.predict_ink(volume, model, windows=[0], mask=values, **ASK).values
    got = s5.predict_ink(volume, model, windows=[0], mask=mask, **ASK).values
    np.testing.assert_array_equal(got, plain)
    assert s5.score_ink(ink, mask).f1 == 1.0
    assert s5.score_ink(ink.T, mask).f1 == 1.0
