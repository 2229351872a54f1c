"""Names decide which axis is the depth, wherever they stand; sizes only where there are none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.store import axes
from s5engine.store.axes import axis_places

LAYER = ["z", "Z", "depth", "Depth", "layer", "layers", "slice", "plane", " z "]
ROW = ["y", "Y", "row", "height"]
COLUMN = ["x", "X", "column", "col", "width"]
SURPLUS = ["t", "c", "time", "channel", "stain"]


def ome(names: list[str], form: int, *, plain: bool) -> dict[str, Any]:
    """Return what OME's metadata say of an image of one level."""
    told = names if plain else [{"name": name} for name in names]
    version = "0.4" if form == 2 else "0.5"
    scales = [{"version": version, "axes": told, "datasets": [{"path": "a"}]}]
    return {"multiscales": scales} if form == 2 else {"ome": {"multiscales": scales}}


def store(
    folder: Path,
    data: np.ndarray,
    names: list[str] | None,
    form: int,
    where: str,
    *,
    other: list[str] | None = None,
    plain: bool = False,
) -> Path:
    """Write an array with the names of its axes at one of the places where they can be."""
    told: dict[str, Any] = {"dtype": data.dtype, "shape": data.shape}
    inside = other if where == "ome" else names
    if form == 3:
        told["dimension_names"] = inside
    place = folder / "v.zarr"
    if where == "ome":
        group = zarr.open_group(place, mode="w", zarr_format=form)
        array = group.create_array("a", chunks=data.shape, **told)
        group.attrs.update(ome(names or [], form, plain=plain))
    else:
        array = zarr.create_array(place, zarr_format=form, chunks=data.shape, **told)
    if form == 2 and inside is not None:
        array.attrs["_ARRAY_DIMENSIONS"] = inside
    array[:] = data
    return place


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(axes.console, "say", lines.append)
    return lines


@settings(max_examples=120, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    order=st.permutations(range(3)),
    names=st.tuples(*map(st.sampled_from, (LAYER, ROW, COLUMN))),
    surplus=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(SURPLUS)), max_size=2),
    form=st.sampled_from([2, 3]),
    where=st.sampled_from(["own", "ome"]),
    plain=st.booleans(),
    vague=st.sampled_from([None, "layer", "sides"]),
)
def test_names_decide(
    shape: tuple[int, int, int],
    order: list[int],
    names: tuple[str, str, str],
    surplus: list[tuple[int, str]],
    form: int,
    where: str,
    plain: bool,
    vague: str | None,
) -> None:
    # Sides without names, one of them 1 px long, cannot be told from a surplus axis of 1.
    assume(not (vague == "sides" and surplus and 1 in shape[1:]))
    data = np.random.default_rng(1).integers(1, 200, shape).astype(np.uint8)
    # One name too few says as much; so do two, if the sides keep their order.
    known = list(names)
    if vague == "layer":
        known[0] = "dim_0"
    elif vague == "sides" and order.index(1) < order.index(2):
        known[1:] = "dim_1", "dim_2"
    turned, told = data.transpose(order), [known[axis] for axis in order]
    for at, name in surplus:
        turned = np.expand_dims(turned, min(at, turned.ndim))
        told.insert(min(at, len(told)), name)
    with tempfile.TemporaryDirectory() as folder:
        place = store(Path(folder), turned, told, form, where, plain=plain)
        np.testing.assert_array_equal(s5.open_volume(place).values, data)
        np.testing.assert_array_equal(s5.open_pyramid(place)[0].values, data)


@settings(max_examples=50, deadline=None)
@given(
    names=st.sampled_from(
        [
            ["z", "z", "x"],
            ["z", "depth", "x"],
            ["y", "row", "z"],
            ["x", "y", "width"],
            ["z", "y"],
            ["z", "y", "x", "c"],
            ["y"],
        ]
    ),
    form=st.sampled_from([2, 3]),
    plain=st.booleans(),
)
def test_names_that_contradict_each_other_are_refused(
    names: list[str], form: int, plain: bool
) -> None:
    data = np.ones((3, 4, 5), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        place = store(Path(folder), data, names, form, "ome", plain=plain)
        with pytest.raises(StoreError, match="contradict each other"):
            s5.open_volume(place)


@pytest.mark.parametrize("form", [2, 3])
def test_ome_and_the_array_may_not_differ(tmp_path: Path, form: int) -> None:
    data = np.ones((3, 4, 5), np.uint8)
    place = store(tmp_path, data, ["z", "y", "x"], form, "ome", other=["x", "y", "z"])
    with pytest.raises(StoreError, match="two names for axis 0") as told:
        s5.open_volume(place)
    assert "('z', 'y', 'x') and ('x', 'y', 'z')" in str(told.value)
    agreed = store(tmp_path / "b", data, ["z", "y", "x"], form, "ome", other=["layer", "row", "q"])
    assert s5.open_volume(agreed).shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("shape", "names", "places", "by_size"),
    [
        ((5, 100, 200), None, (0, 1, 2), True),
        ((100, 200, 5), None, (2, 0, 1), True),
        ((100, 5, 200), None, (1, 0, 2), True),
        ((5, 5, 200), None, (0, 1, 2), True),
        ((100, 20, 30), ["z", "y", "x"], (0, 1, 2), False),
        ((30, 20, 100), ["x", "y", "z"], (2, 1, 0), False),
        ((100, 200, 5), ["c", "y", "x"], (0, 1, 2), False),
        ((100, 200, 50), ["dim_0", "dim_1", "dim_2"], (2, 0, 1), True),
        ((9, 8, 7), ["q", "layer", None], (1, 0, 2), False),
        ((9, 8, 7), ["x", None, None], (2, 1, 0), True),
        ((1, 9, 8, 7), ["c", "z", "y", "x"], (1, 2, 3), False),
        ((9, 1, 8, 7), ["z", "c", "y", "x"], (0, 2, 3), False),
        ((1, 1, 9, 8, 7), None, (4, 2, 3), True),
        ((1, 1, 8, 7), ["z", "c", "y", "x"], (0, 2, 3), False),
    ],
)
def test_where_sizes_decide_it_is_said(
    said: list[str], shape: tuple[int, ...], names: Any, places: Any, by_size: bool
) -> None:
    array = zarr.create_array({}, shape=shape, chunks=shape, dtype="uint8", dimension_names=names)
    axes._say_once.cache_clear()
    assert axis_places(array, (), "here") == places
    assert bool(said) is by_size
    assert not said or "here: the axes of" in said[0]


def test_channels_are_no_layers(tmp_path: Path) -> None:
    data = np.ones((3, 1, 8, 9), np.uint8)
    place = store(tmp_path, data, ["c", "z", "y", "x"], 3, "ome")
    with pytest.raises(StoreError, match=r"'other', 'layer', 'y', 'x'"):
        s5.open_volume(place)


def test_before_axes_had_names_there_were_five(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(1, 9, (1, 1, 20, 6, 7)).astype(np.uint8)
    place = store(tmp_path, data, [], 2, "ome")
    np.testing.assert_array_equal(s5.open_volume(place).values, data[0, 0])


def test_more_layers_than_pixels(tmp_path: Path) -> None:
    """65 layers of 64 × 64 px: in other programs' arrays and in the first level of ours."""
    data = np.random.default_rng(0).integers(1, 200, (65, 64, 64)).astype(np.uint8)
    (tmp_path / "layers").mkdir()
    for number, layer in enumerate(data):
        tifffile.imwrite(tmp_path / "layers" / f"{number:02d}.tif", layer)
    found = [tmp_path / f"ours{form}.zarr" for form in (2, 3)]
    for form, place in zip((2, 3), found, strict=True):
        s5.ingest(tmp_path / "layers", place, zarr_format=form, progress=False)  # type: ignore[arg-type] # 2 or 3
    places = [*found, *(place / "0" for place in found)]
    places.append(store(tmp_path / "theirs", data, ["layer", "y", "x"], 3, "own"))
    for place in places:
        np.testing.assert_array_equal(s5.open_volume(place).values, data)


@pytest.mark.parametrize("form", [2, 3])
def test_the_one_image_of_bioformats2raw_is_opened(tmp_path: Path, form: int) -> None:
    data = np.random.default_rng(0).integers(1, 9, (2, 6, 7)).astype(np.uint8)
    root = zarr.open_group(tmp_path / "r.zarr", mode="w", zarr_format=form)
    layout: dict[str, Any] = {"bioformats2raw.layout": 3}
    root.attrs.update(layout if form == 2 else {"ome": layout})
    root.create_group("OME")
    image = root.create_group("0")
    image.attrs.update(ome(["z", "y", "x"], form, plain=False))
    array = image.create_array("a", shape=data.shape, chunks=data.shape, dtype="uint8")
    array[:] = data
    np.testing.assert_array_equal(s5.open_volume(tmp_path / "r.zarr").values, data)
    np.testing.assert_array_equal(s5.open_pyramid(tmp_path / "r.zarr")[0].values, data)
    root.create_group("1")
    with pytest.raises(StoreError, match=r"several images.* such as .*r\.zarr/0\."):
        s5.open_volume(tmp_path / "r.zarr")
