"""Pyramids of volumes and of ink: their pixels and places, resumed, bounded, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import s5engine as s5
from s5engine.budget import current_rss
from s5engine.errors import BudgetError, InvalidArgumentError, StoreError
from s5engine.store import halve as halving
from s5engine.store import level_blocks, levels, pyramid_plan
from s5engine.store.halve import halve
from s5engine.store.ingest import ingest
from s5engine.store.pyramid import open_pyramid, write_pyramid
from s5engine.store.reduce_blocks import reduce_blocks
from unit.store.segments import files_of, pixels, write_layers

#: Three levels; the first of them has three blocks along x.
HEIGHT, WIDTH = 301, 4501


def volume_store(folder: Path, *, dtype: str = "uint8", zarr_format: Any = 3) -> Path:
    data = pixels(2, HEIGHT, WIDTH, dtype)
    source = write_layers(folder / "seg", data, first=4)
    store = folder / "a.zarr"
    box = (1, HEIGHT, 3, WIDTH)
    ingest(source, store, zarr_format=zarr_format, progress=False, box=box, pyramid=False)
    return store


def ink_store(folder: Path, *, dtype: str = "float32", chunk: int = 1024) -> Path:
    """A run's ink store, as `write_run` leaves it."""
    store = folder / "ink.zarr"
    group = zarr.create_group(store)
    shape = (2, 1500, 2300)
    places = {"window": np.array([3, 9]), "y": np.arange(70, 1570), "x": np.arange(500, 2800)}
    for name, values in places.items():
        axis = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=[name]
        )
        axis[:] = values
    ink = group.create_array(
        "ink",
        shape=shape,
        dtype=dtype,
        chunks=(1, chunk, chunk),
        dimension_names=["window", "y", "x"],
        attributes={"segment": "seg"},
    )
    ink[:] = np.random.default_rng(0).random(shape).astype(dtype)
    return store


def halved(data: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        data = halve(data)
    return data


def check_levels(levels: list[xr.DataArray], count: int) -> None:
    """Every level is the plain halving of the first, and lies where it should."""
    data = levels[0].values
    assert len(levels) == count
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level.values, halved(data, number))
        assert level.attrs["reduction"] == 2**number
        assert level.dtype == levels[0].dtype
        first = level.dims[0]
        np.testing.assert_array_equal(level[first].values, levels[0][first].values)
        for dim in ("y", "x"):
            index = np.arange(level.sizes[dim])
            want = float(levels[0][dim][0]) + (index + 0.5) * 2**number - 0.5
            np.testing.assert_array_equal(level[dim].values, want)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_levels_of_a_volume(tmp_path: Path, dtype: str, zarr_format: int) -> None:
    store = volume_store(tmp_path, dtype=dtype, zarr_format=zarr_format)
    assert len(open_pyramid(store)) == 1
    check_levels(write_pyramid(store, progress=False), 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "seg"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_levels_of_ink_lie_where_the_ink_store_still_opens(tmp_path: Path, dtype: str) -> None:
    store = ink_store(tmp_path, dtype=dtype)
    before = xr.open_zarr(store, consolidated=False)["ink"].load()
    check_levels(write_pyramid(store, progress=False), 3)
    xr.testing.assert_identical(xr.open_zarr(store, consolidated=False)["ink"].load(), before)
    check_levels(open_pyramid(tmp_path), 3)


def test_a_small_store_has_one_level(tmp_path: Path) -> None:
    source = write_layers(tmp_path / "seg", pixels())
    ingest(source, tmp_path / "a", progress=False)
    levels = write_pyramid(tmp_path / "a", progress=False)
    assert [level.attrs["reduction"] for level in levels] == [1]
    assert len(open_pyramid(source)) == 1


def test_the_second_call_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = volume_store(tmp_path)
    write_pyramid(store, progress=False)
    monkeypatch.setattr(level_blocks, "_make", None)
    check_levels(write_pyramid(store, progress=False), 4)


class StoppedError(RuntimeError):
    """A kill, as far as this process is concerned."""


@pytest.mark.parametrize("after", [0, 1, 3, 4])
@pytest.mark.parametrize("kind", ["volume", "ink"])
def test_it_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, after: int
) -> None:
    store = volume_store(tmp_path) if kind == "volume" else ink_store(tmp_path)
    count = 4 if kind == "volume" else 3
    make, calls = level_blocks._make, []

    def counted(*args: Any) -> None:
        if len(calls) == after:
            raise StoppedError
        calls.append(args)
        make(*args)

    monkeypatch.setattr(level_blocks, "_make", counted)
    with pytest.raises(StoppedError):
        write_pyramid(store, progress=False)
    listed = len(open_pyramid(store))
    assert listed < count
    check_levels(open_pyramid(store), listed)
    assert len(open_pyramid(store, partial=True)) == count
    calls.clear()
    monkeypatch.setattr(level_blocks, "_make", lambda *a: (calls.append(a), make(*a)))
    check_levels(write_pyramid(store, progress=False), count)
    total = 6
    # Two are made at a time: of the first attempt's last ones, some were written and not noted.
    assert total - after <= len(calls) <= total - after + 1


def test_afresh_makes_everything_again(tmp_path: Path) -> None:
    store = volume_store(tmp_path)
    write_pyramid(store, progress=False)
    level = zarr.open_group(store, mode="r+")["1"]
    level[:] = 7
    with pytest.raises(AssertionError):
        check_levels(open_pyramid(store), 4)
    check_levels(write_pyramid(store, resume=False, progress=False), 4)


def test_the_journal_of_other_levels_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = volume_store(tmp_path)
    make = level_blocks._make
    calls: list[Any] = []

    def once(*args: Any) -> None:
        if calls:
            raise StoppedError
        calls.append(args)
        make(*args)

    monkeypatch.setattr(level_blocks, "_make", once)
    with pytest.raises(StoppedError):
        write_pyramid(store, progress=False)
    monkeypatch.undo()
    # The store is made anew, with other pixels, while the journal beside it stays.
    write_layers(tmp_path / "seg", 255 - pixels(2, HEIGHT, WIDTH), first=4)
    ingest(tmp_path / "seg", store, resume=False, progress=False, pyramid=False)
    check_levels(write_pyramid(store, progress=False), 4)


def test_ingest_ends_with_the_pyramid_and_its_levels_are_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_layers(tmp_path / "seg", pixels(2, HEIGHT, WIDTH))
    ingest(source, tmp_path / "a", progress=False)
    check_levels(open_pyramid(tmp_path / "a"), 4)
    with monkeypatch.context() as patch:  # it was killed before the last level
        levels.remove_levels(levels.find_base(tmp_path / "a"))
        patch.setattr(level_blocks, "_make", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingest(source, tmp_path / "a", progress=False)
    ingest(source, tmp_path / "a", progress=False)
    check_levels(open_pyramid(tmp_path / "a"), 4)
    monkeypatch.setattr(pyramid_plan, "ENCODE_COPIES", 1e6)
    budget = current_rss() + 2**30  # whatever other tests have left
    with pytest.raises(BudgetError, match="The pyramid does not fit"):
        ingest(source, tmp_path / "b", progress=False, budget=budget)
    assert not (tmp_path / "b").exists()
    ingest(source, tmp_path / "b", progress=False, budget=budget, pyramid=False)


def test_equal_stores_have_equal_files(tmp_path: Path) -> None:
    source = write_layers(tmp_path / "seg", pixels(2, HEIGHT, WIDTH))
    for name in "ab":
        ingest(source, tmp_path / name, progress=False)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_what_does_not_fit_the_budget_is_refused_with_the_sum(tmp_path: Path) -> None:
    store = volume_store(tmp_path)
    with pytest.raises(BudgetError, match=r"that the process has now \+ 1 × .* = .*at least"):
        write_pyramid(store, budget="1 MiB", progress=False)
    assert len(open_pyramid(store)) == 1


def test_others_and_unfinished_stores_are_refused(tmp_path: Path) -> None:
    zarr.open_array(tmp_path / "b.zarr", shape=(3, 9, 9), dtype="uint8", mode="w")
    with pytest.raises(StoreError, match="neither a store made from layers nor a run"):
        write_pyramid(tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="neither a store made from layers nor a run"):
        write_pyramid(tmp_path / "nothing")
    with pytest.raises(InvalidArgumentError, match="not on this machine"):
        write_pyramid("http://127.0.0.1:1/a.zarr")
    ink_store(tmp_path)
    (tmp_path / "run.json").write_text('{"completed": false}')
    with pytest.raises(StoreError, match="is not finished"):
        write_pyramid(tmp_path)


@pytest.mark.parametrize("at_a_time", [1, 3])
@pytest.mark.parametrize("chunk", [1024, 96 * 9])
def test_blocks_of_a_going_run_add_up_to_the_same_levels(
    tmp_path: Path, chunk: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halving, "LAST_SIDE", 20)
    store = ink_store(tmp_path)
    array: Any = zarr.open_group(store, mode="r+")["ink"]
    whole = array[:]
    array[:] = 0
    places = [
        (slice(y, y + chunk), slice(x, x + chunk))
        for y in range(0, 1500, chunk)
        for x in range(0, 2300, chunk)
    ]
    order = np.random.default_rng(3).permutation(len(places))
    for start in range(0, len(places), at_a_time):
        finished = [places[i] for i in order[start : start + at_a_time]]
        for place in finished:
            array[:, *place] = whole[:, *place]
        reduce_blocks(store, finished)
        assert len(open_pyramid(store)) == 1
    check_levels(open_pyramid(store, partial=True), 8)
    check_levels(write_pyramid(store, progress=False), 8)


def test_a_block_outside_or_of_a_volume_is_refused(tmp_path: Path) -> None:
    store = ink_store(tmp_path)
    with pytest.raises(InvalidArgumentError, match="A block of ink"):
        reduce_blocks(store, [(slice(1500, 1600), slice(0, 10))])
    with pytest.raises(InvalidArgumentError, match="A block of ink"):
        reduce_blocks(volume_store(tmp_path), [(slice(0, 10), slice(0, 10))])


@pytest.mark.parametrize("form", ["0.4", "0.5"])
def test_others_pyramids_open_with_their_levels(tmp_path: Path, form: str) -> None:
    data = pixels(4, 100, 60)
    group = zarr.create_group(tmp_path / "b.zarr", zarr_format=2 if form == "0.4" else 3)
    datasets = []
    for number, name in enumerate(("s0", "s1")):
        level = halved(data, number)[None]
        array = group.create_array(
            name, shape=level.shape, dtype=level.dtype, chunks=(1, 4, 32, 32)
        )
        array[:] = level
        scale = [1.0, 7.91, 7.91 * 2**number, 7.91 * 2**number]
        transform = [{"type": "scale", "scale": scale}]
        datasets.append({"path": name, "coordinateTransformations": transform})
    kinds = zip("czyx", ("channel", "space", "space", "space"), strict=True)
    axes = [{"name": name, "type": kind} for name, kind in kinds]
    image = {"axes": axes, "datasets": datasets}
    group.update_attributes(
        {"multiscales": [image]} if form == "0.4" else {"ome": {"multiscales": [image]}}
    )
    check_levels(open_pyramid(tmp_path / "b.zarr"), 2)


def test_public_names() -> None:
    assert s5.write_pyramid is write_pyramid
    assert s5.open_pyramid.__name__ == "open_pyramid"
