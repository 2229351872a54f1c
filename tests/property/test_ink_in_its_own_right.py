"""Two drawn chains of xarray's verbs, written into one folder: right values, or a refusal.

Never another array's result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import S5Error
from support import constant, noise, texture, volume_of

VOLUME = volume_of(noise((17, 96, 96)), y0=10, x0=20)
Verb = Callable[[xr.DataArray], xr.DataArray]

VERBS: dict[str, Verb] = {
    "half": lambda ink: ink * 0.5,
    "most": lambda ink: ink * 0.9,
    "inverted": lambda ink: 1 - ink,
    "clipped low": lambda ink: ink.clip(0.2, 0.6),
    "clipped high": lambda ink: ink.clip(0.2, 0.8),
    "root": lambda ink: np.sqrt(abs(ink)),
    "where": lambda ink: ink.where(ink > 0.5, 0.0),
    "crop": lambda ink: ink.isel(y=slice(8, 60), x=slice(4, 90)),
    "crop by label": lambda ink: ink.sel(y=slice(30, 70)),
    "one window": lambda ink: ink.isel(window=[0]),
    "last window": lambda ink: ink.isel(window=slice(-1, None)),
    "every second": lambda ink: ink.isel(x=slice(None, None, 2)),
    "flipped": lambda ink: ink.isel(y=slice(None, None, -1)),
    "bare": lambda ink: ink.drop_attrs(),
    "wrapped again": lambda ink: xr.DataArray(ink.data, dims=ink.dims, coords=ink.coords),
    "copied": lambda ink: ink.copy(),
    "named": lambda ink: ink.assign_attrs(note="mine"),
    "blocks": lambda ink: ink.chunk({"y": 16}),
    "in memory": lambda ink: ink.compute(),
    "moved": lambda ink: ink.assign_coords(y=ink.y + 1),
}
NETWORKS = {"texture": texture, "constant": constant}


def ink_of(network: str) -> xr.DataArray:
    model = s5.wrap_model(NETWORKS[network], tile=64)
    return s5.predict_ink(VOLUME, model, windows=[0, 1], stride=32, tta=0)


chains = st.tuples(
    st.sampled_from(sorted(NETWORKS)), st.lists(st.sampled_from(sorted(VERBS)), max_size=4)
)


def worked(chain: tuple[str, list[str]]) -> xr.DataArray:
    ink = ink_of(chain[0])
    for verb in chain[1]:
        ink = VERBS[verb](ink)
    return ink


def check(first: tuple[str, list[str]], second: tuple[str, list[str]]) -> bool:
    """Write one chain, then the other; return whether the second one was refused."""
    with tempfile.TemporaryDirectory() as folder, xr.set_options(keep_attrs=True):
        for number, chain in enumerate((first, second)):
            ink = worked(chain)
            try:
                run = s5.write_run(ink, Path(folder) / "run", formats=["zarr"], progress=False)
            except S5Error:
                assert number or 0 in ink.shape  # the first is refused only if it is empty
                return bool(number)
            np.testing.assert_array_equal(run.ink.values, ink.compute().values.astype(np.float32))
            for dim in ("y", "x", "window"):
                np.testing.assert_array_equal(run.ink[dim].values, ink[dim].values)
    return False


@pytest.mark.graphs
@given(first=chains, second=chains)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_result_of_another_array_is_never_returned(
    first: tuple[str, list[str]], second: tuple[str, list[str]]
) -> None:
    check(first, second)


@pytest.mark.slow
@given(first=chains, second=chains)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_result_of_another_array_is_never_returned_200(
    first: tuple[str, list[str]], second: tuple[str, list[str]]
) -> None:
    check(first, second)


@pytest.mark.graphs
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_each_verb_gives_its_own_values(verb: str) -> None:
    check(("texture", [verb]), ("texture", ["crop", verb]))


PAIRS = [
    (["half"], ["most"]),
    pytest.param(["clipped low"], ["clipped high"], marks=pytest.mark.graphs),
    pytest.param(["where"], ["half"], marks=pytest.mark.graphs),
    ([], ["inverted"]),
    (["bare"], ["bare", "half"]),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_pairs_that_were_once_taken_for_each_other(first: list[str], second: list[str]) -> None:
    assert check(("texture", first), ("texture", second))


@pytest.mark.parametrize("verb", ["bare", "wrapped again", "copied"])
def test_two_networks_are_told_apart_whatever_hides_them(verb: str) -> None:
    assert check(("texture", [verb]), ("constant", [verb]))


def test_a_crop_is_the_same_crop_however_it_was_cut(tmp_path: Path) -> None:
    ink = ink_of("texture")
    at_once = ink.isel(y=slice(10, 50), x=slice(20, 60))
    bit_by_bit = ink.isel(y=slice(5, 80)).sel(x=slice(40, 79)).isel(y=slice(5, 45)).copy()
    first = s5.write_run(at_once, tmp_path / "run", progress=False)
    again = s5.write_run(bit_by_bit, tmp_path / "run", progress=False)
    assert first.record == again.record
    np.testing.assert_array_equal(again.ink.values, at_once.values)
