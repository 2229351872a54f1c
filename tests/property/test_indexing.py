"""Every kind of volume is indexed as xarray and numpy do it, to the pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.geometry import take
from support import noise
from unit.store.segments import write_layers

SHAPE = (12, 61, 83)
PIXELS = noise(SHAPE)
KINDS = ("layers", "store", "store of v2", "bare array", "depth last", "parts")


@pytest.fixture(scope="module")
def volumes() -> Iterator[dict[str, xr.DataArray]]:
    """One volume of the same pixels for each way to keep them."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        layers = write_layers(root / "seg", PIXELS) / "layers"
        for folder, version in (("3.zarr", 3), ("2.zarr", 2)):
            s5.ingest(layers, root / folder, zarr_format=version, progress=False)
        bare = zarr.create_array(root / "bare.zarr", shape=SHAPE, chunks=(5, 20, 30), dtype="u1")
        bare[:] = PIXELS
        last = zarr.create_array(
            root / "last.zarr",
            shape=(61, 83, 12),
            chunks=(20, 30, 5),
            dtype="u1",
            dimension_names=("y", "x", "z"),
        )
        last[:] = PIXELS.transpose(1, 2, 0)
        s5.split(s5.open_volume(root / "3.zarr"), root / "tree", width=30, progress=False)
        places = (
            layers,
            root / "3.zarr",
            root / "2.zarr",
            root / "bare.zarr",
            root / "last.zarr",
            root / "tree" / "seg",
        )
        yield {kind: s5.open_volume(place) for kind, place in zip(KINDS, places, strict=True)}


def one_axis(length: int) -> st.SearchStrategy[Any]:
    place = st.integers(-length, length - 1)
    return st.one_of(
        place,
        place.map(np.int64),
        st.slices(length),
        st.lists(place, min_size=1, max_size=4),
        st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
    )


def indexed(volume: xr.DataArray, steps: list[dict[str, Any]]) -> np.ndarray:
    for step in steps:
        volume = volume.isel({dim: part for dim, part in step.items() if dim in volume.dims})
    values: np.ndarray = volume.values
    return values


@st.composite
def selections(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One index of some axes, then another one of what is left."""
    axes = zip(("layer", "y", "x"), SHAPE, strict=True)
    first = {dim: draw(one_axis(n)) for dim, n in axes if draw(st.booleans())}
    second = {
        dim: draw(st.sampled_from([slice(None, None, -1), slice(1, None), slice(None, None, 3)]))
        for dim in ("layer", "y", "x")
        if draw(st.booleans())
    }
    return [first, second]


@pytest.mark.parametrize("kind", KINDS)
@given(steps=selections())
@settings(max_examples=50, deadline=None)
def test_any_index_gives_the_pixels_of_the_array(
    volumes: dict[str, xr.DataArray], kind: str, steps: list[dict[str, Any]]
) -> None:
    volume = volumes[kind]
    in_memory = volume.copy(data=PIXELS)
    np.testing.assert_array_equal(indexed(volume, steps), indexed(in_memory, steps))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_things_that_people_write(volumes: dict[str, xr.DataArray], kind: str) -> None:
    volume = volumes[kind]
    in_memory = volume.copy(data=PIXELS)
    for pick in (
        lambda v: v.isel(layer=10),
        lambda v: v.sel(layer=7),
        lambda v: v[:, 30, 10:20],
        lambda v: v[-1, -1, -1],
        lambda v: v[..., 4],
        lambda v: v[:, 5:5],
        lambda v: v.sel(y=[3, 60], x=slice(4, 9)),
        lambda v: v.isel(layer=xr.DataArray([1, 2], dims="p"), y=xr.DataArray([3, 4], dims="p")),
    ):
        xr.testing.assert_equal(pick(volume).compute(), pick(in_memory))
        assert pick(volume).dtype == np.uint8


@given(st.tuples(*(one_axis(n) for n in SHAPE)))
@settings(max_examples=200, deadline=None)
def test_boxes_are_enough_for_any_index_of_single_axes(index: tuple[Any, ...]) -> None:
    asked = []

    def read(box: tuple[slice, ...]) -> np.ndarray:
        assert all(part.step is None and 0 <= part.start < part.stop for part in box)
        asked.append(box)
        return PIXELS[box]

    got = take(read, SHAPE, index, np.uint8)
    wanted = PIXELS
    for axis in (2, 1, 0):
        wanted = wanted[(*[slice(None)] * axis, index[axis])]
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == np.uint8
    assert len(asked) == (wanted.size > 0)


def test_an_index_outside_is_refused(volumes: dict[str, xr.DataArray]) -> None:
    for volume in volumes.values():
        with pytest.raises(IndexError):
            volume.isel(layer=12).compute()
    with pytest.raises(IndexError, match="out of bounds"):
        take(PIXELS.__getitem__, SHAPE, (12, slice(None), slice(None)), np.uint8)
