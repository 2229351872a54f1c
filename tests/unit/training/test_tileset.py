"""A tileset is what its labels and its volume say, opened again, pickled, built anew."""

from __future__ import annotations

import pickle
import tracemalloc

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import s5engine as s5
from s5engine.errors import (
    InvalidArgumentError,
    ResumeError,
    SourceError,
    SourceNotFoundError,
    StoreError,
)
from unit.training.conftest import PART, STRIDE, TILE, write_png


def files(segment, part):
    return segment.folder / f"20260101_{part:02d}"


def test_tiles_are_cut_from_volume_and_labels(segment):
    tileset = segment.build()
    assert set(tileset.part.tolist()) == {0, 1}
    values = segment.volume.values
    for i in range(len(tileset)):
        box = tileset.box(i)
        assert segment.papyrus[box.y0 : box.y1, box.x0 : box.x1].all()
        cut = (slice(box.y0 + 2, box.y1, 4), slice(box.x0 + 2, box.x1, 4))
        label, keep = tileset.labels(i)
        np.testing.assert_array_equal(keep, ~segment.ignore[cut])
        np.testing.assert_array_equal(label, segment.label[cut] & keep)
        assert tileset.ink_percent[i] == 100 * int(label.sum()) // keep.size
        assert tileset.ignore_percent[i] == 100 - 100 * int(keep.sum()) // keep.size <= 95
    for i in (0, len(tileset) // 2, -1):
        box, example = tileset.box(i), tileset[i]
        expected = values[:, box.y0 : box.y1, box.x0 : box.x1]
        np.testing.assert_array_equal(example.layers, expected)
        assert example.layers.shape == (20, TILE, TILE)
        assert example.layers.dtype == np.uint8
        assert example.label.shape == example.keep.shape == (TILE // 4, TILE // 4)
        assert example.label.dtype == example.keep.dtype == np.bool_


def test_every_tile_that_fits_is_there(segment):
    tileset = segment.build()
    found = {tuple(tileset.box(i)) for i in range(len(tileset))}
    expected = set()
    for part in (1, 2):
        for y in range(0, 210 - TILE + 1, STRIDE):
            for x in range((part - 1) * PART, part * PART - TILE + 1, STRIDE):
                keep = ~segment.ignore[y + 2 : y + TILE : 4, x + 2 : x + TILE : 4]
                if segment.papyrus[y : y + TILE, x : x + TILE].all() and keep.mean() >= 0.05:
                    expected.add((y, y + TILE, x, x + TILE))
    assert found == expected


def test_it_is_a_sequence(segment):
    tileset = segment.build(packed=True)
    assert len(list(tileset)) == len(tileset)
    np.testing.assert_array_equal(tileset[-1].layers, tileset[len(tileset) - 1].layers)
    np.testing.assert_array_equal(tileset[np.int64(3)].label, tileset[3].label)
    for beyond in (len(tileset), -len(tileset) - 1):
        with pytest.raises(IndexError, match="of a tileset of"):
            tileset[beyond]
    with pytest.raises(TypeError):
        tileset["1"]
    assert "packed" in repr(tileset)


@pytest.mark.parametrize("packed", [False, True])
def test_pickled_it_is_the_same(segment, packed):
    tileset = segment.build(packed=packed)
    _ = tileset[0]
    again = pickle.loads(pickle.dumps(tileset))
    assert len(again) == len(tileset)
    for one, other in zip(again[5], tileset[5], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_torch_loader_takes_it(segment):
    tileset = segment.build(packed=True, layers=range(4, 20))
    layers, label, keep = next(iter(torch.utils.data.DataLoader(tileset, batch_size=3)))
    assert layers.shape == (3, 16, TILE, TILE)
    assert label.shape == keep.shape == (3, TILE // 4, TILE // 4)
    assert (layers.dtype, keep.dtype) == (torch.uint8, torch.bool)
    loss = s5.masked_dice_bce(torch.full(label.shape, 0.5), label, keep)
    assert torch.isfinite(loss)


def test_opened_again(segment):
    made = segment.build()
    alone = s5.open_tileset(str(made.store))
    np.testing.assert_array_equal(alone.x, made.x)
    np.testing.assert_array_equal(alone.labels(9), made.labels(9))
    with pytest.raises(StoreError, match="index without pixels"):
        alone[0]
    whole = s5.open_tileset(made.store, segment.parts)
    np.testing.assert_array_equal(whole[9].layers, made[9].layers)


def test_opened_with_other_parts(segment):
    store = segment.build().store
    with pytest.raises(InvalidArgumentError, match="the parts given are"):
        s5.open_tileset(store, {1: segment.parts[1]})
    crop = segment.volume.isel(y=slice(0, 200))
    with pytest.raises(InvalidArgumentError, match=r"shape of part .* was \[210, 250\]"):
        s5.open_tileset(store, s5.parts(crop, PART))
    few = segment.volume.isel(layer=slice(0, 9))
    with pytest.raises(InvalidArgumentError, match="are missing"):
        s5.open_tileset(store, s5.parts(few, PART))
    raw = segment.volume.assign_attrs(contrast=None)
    with pytest.raises(InvalidArgumentError, match="contrast of part"):
        s5.open_tileset(store, s5.parts(raw, PART))


def test_what_is_no_tileset(segment, tmp_path):
    with pytest.raises(StoreError, match="There is no tileset at"):
        s5.open_tileset(tmp_path / "nothing")
    with pytest.raises(StoreError, match="is not a tileset; it is left alone"):
        segment.build("20260101_01")
    zarr.open_group(tmp_path / "group", mode="w")
    with pytest.raises(StoreError, match="is not a tileset"):
        s5.open_tileset(tmp_path / "group")
    for act in (s5.open_tileset, lambda s: s5.build_tileset(segment.parts, segment.folder, s)):
        with pytest.raises(InvalidArgumentError, match="not on this machine"):
            act("s3://bucket/tiles.zarr")
    (tmp_path / "empty").mkdir()
    assert len(segment.build("empty")) > 0


def test_the_same_again_is_opened(segment):
    made = segment.build(packed=True)
    reads = len(segment.source.read)
    again = segment.build(packed=True)
    assert len(segment.source.read) == reads
    np.testing.assert_array_equal(again.y, made.y)


def test_other_labels_are_not_mixed_in(segment):
    before = segment.build()
    write_png(files(segment, 1) / "label.png", np.zeros((210, PART), bool))
    with pytest.raises(ResumeError, match=r"part 20260101_01 files label\.png was .* resume=False"):
        segment.build()
    with pytest.raises(ResumeError, match="stride was 16 and is now 32"):
        segment.build(stride=32)
    other = [p.assign_attrs(fingerprint={"5": "2 bytes"}) for p in segment.parts.values()]
    with pytest.raises(ResumeError, match=r"part 20260101_01 fingerprint was null .*2 bytes"):
        segment.build(parts=other)
    after = segment.build(resume=False)
    assert before.ink_percent[before.part == 0].any()
    assert not after.ink_percent[after.part == 0].any()


def test_missing_files(segment):
    (files(segment, 2) / "ignore.png").unlink()
    tileset = segment.build("one.zarr")
    assert (tileset.ignore_percent[tileset.part == 1] == 0).all()
    (files(segment, 1) / "label.png").unlink()
    with pytest.raises(SourceNotFoundError, match=r"20260101_01 has no label: .*label\.png does"):
        segment.build("two.zarr")
    for name in ("ignore.png", "mask.png"):
        (files(segment, 1) / name).unlink()
    assert segment.build("three.zarr").part_names == ("20260101_02",)
    (files(segment, 2) / "label.png").unlink()
    with pytest.raises(SourceNotFoundError, match=r"There are no labels in .* for the 2 parts"):
        segment.build("four.zarr")


def test_papyrus_from_the_pixels_where_there_is_no_mask(segment):
    values = np.where(segment.papyrus, np.maximum(segment.source.values, 1), 0)
    raw = segment.volume.copy(data=xr.Variable(("layer", "y", "x"), values).chunk(70).data)
    raw = raw.assign_attrs(contrast=None)
    expected = segment.build("expected.zarr")
    for part in (1, 2):
        (files(segment, part) / "mask.png").unlink()
    with pytest.raises(SourceNotFoundError, match=r"no papyrus mask: .*papyrus=s5engine\.parts"):
        segment.build()
    papyrus = s5.parts(s5.papyrus_mask(raw), PART)
    for tileset in (
        segment.build(papyrus=papyrus),
        segment.build("raw.zarr", parts=s5.parts(raw, PART)),
    ):
        np.testing.assert_array_equal(tileset.x, expected.x)
        np.testing.assert_array_equal(tileset.y, expected.y)
    assert segment.source.read == []


def test_nothing_left_is_an_error(segment):
    store = segment.folder / "tiles.zarr"
    with pytest.raises(InvalidArgumentError, match="of 0 tiles of 256 px, 0 are all papyrus"):
        segment.build(tile=256)
    write_png(files(segment, 1) / "ignore.png", np.ones((210, PART), bool))
    only = {1: files(segment, 1)}
    with pytest.raises(InvalidArgumentError, match=r"No tile is left of 20260101_01: of \d+ tiles"):
        segment.build(labels=only, resume=False)
    write_png(files(segment, 1) / "mask.png", np.zeros((210, PART), bool))
    with pytest.raises(InvalidArgumentError, match="px, 0 are all papyrus"):
        segment.build(labels=only, resume=False)
    assert not store.exists()


def test_sizes_that_differ(segment):
    write_png(files(segment, 2) / "ignore.png", np.zeros((200, PART), bool))
    message = r"20260101_02 is 210 × 250 px .*02/ignore\.png is 200 × 250 px"
    with pytest.raises(InvalidArgumentError, match=message):
        segment.build()
    papyrus = s5.parts(s5.papyrus_mask(segment.volume).isel(y=slice(9, 99)), PART)
    (files(segment, 1) / "mask.png").unlink()
    with pytest.raises(InvalidArgumentError, match="its papyrus mask is 90 × 250 px"):
        segment.build(labels={1: files(segment, 1)}, papyrus=papyrus)


def test_labels_by_number_and_by_name(segment):
    other = segment.volume.assign_attrs(segment="20270202")
    parts = [*segment.parts.values(), *s5.parts(other, PART).values()]
    folder = files(segment, 1)
    tileset = segment.build(parts=parts, labels={"20270202_01": folder, "20260101_01": folder})
    assert tileset.part_names == ("20270202_01", "20260101_01")
    assert (tileset.part == 0).sum() == (tileset.part == 1).sum() > 0
    with pytest.raises(InvalidArgumentError, match="all have that number"):
        segment.build(parts=parts, labels={1: folder})
    for key in (7, "20260101_7"):
        with pytest.raises(InvalidArgumentError, match="there is no such part"):
            segment.build(labels={key: folder})
    with pytest.raises(InvalidArgumentError, match="There are no labels"):
        segment.build(labels={})


def test_parts_that_are_none(segment):
    with pytest.raises(InvalidArgumentError, match="one array, not the parts"):
        segment.build(parts=segment.volume)
    with pytest.raises(InvalidArgumentError, match="part None of the segment '20260101'"):
        segment.build(parts=[segment.volume])
    with pytest.raises(InvalidArgumentError, match="20260101_01 is given twice"):
        segment.build(parts=[segment.parts[1]] * 2)
    with pytest.raises(InvalidArgumentError, match="There are no parts"):
        segment.build(parts={})
    with pytest.raises(InvalidArgumentError, match="labels is None, not a folder"):
        segment.build(labels=None)


def test_volumes_that_do_not_fit(segment):
    with pytest.raises(
        InvalidArgumentError, match=r"20260101_01 has the layers .*\[1, 2\] are mis"
    ):
        segment.build(layers=range(1, 17))
    with pytest.raises(InvalidArgumentError, match="some come twice"):
        segment.build(layers=[4, 4])
    deep = {n: part.astype(np.uint16) for n, part in segment.parts.items()}
    with pytest.raises(InvalidArgumentError, match=r"uint16 pixels; .* to_uint8"):
        segment.build(parts=deep)
    mixed = {**segment.parts, 2: segment.parts[2].assign_attrs(contrast=None)}
    with pytest.raises(InvalidArgumentError, match="Apply the same contrast"):
        segment.build(parts=mixed)
    with pytest.raises(InvalidArgumentError, match="threshold 0"):
        segment.build(threshold=0)


def test_a_damaged_label_leaves_no_store(segment):
    file = files(segment, 1) / "label.png"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"label\.png: the picture is damaged"):
        segment.build()
    assert not (segment.folder / "tiles.zarr").exists()


def test_the_threshold_counts(segment):
    soft = np.full((210, PART), 254, np.uint8)
    (files(segment, 1) / "label.png").write_bytes(imagecodecs.png_encode(soft))
    only = {1: files(segment, 1)}
    with pytest.raises(s5.S5Error, match="largest value is 254, below the threshold 255"):
        segment.build("hard.zarr", labels=only)
    assert segment.build("soft.zarr", labels=only, threshold=254).ink_percent.any()


def test_memory_is_not_that_of_the_pictures(tmp_path):
    """Three RGBA files of 5,000 × 4,000 px are 80 MB each when decoded, 20 MB as masks."""
    picture = np.zeros((5000, 4000, 4), np.uint8)
    for name in ("label", "ignore", "mask"):
        picture[...] = 255 * (name == "mask")
        picture[1000:2000, 500:900] = 255
        data = imagecodecs.png_encode(picture, level=1)
        (tmp_path / f"{name}.png").write_bytes(data)
    del picture, data
    attrs = {"segment": "a", "part": 1, "contrast": None}
    coords = {"layer": np.arange(16), "y": np.arange(5000), "x": np.arange(4000)}
    lazy = da.zeros((16, 5000, 4000), dtype=np.uint8, chunks=(16, 1000, 1000))
    part = xr.DataArray(lazy, dims=("layer", "y", "x"), coords=coords, attrs=attrs)
    tracemalloc.start()
    try:
        tileset = s5.build_tileset([part], {1: tmp_path}, tmp_path / "t.zarr", progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(tileset) > 4000
    assert peak < 40e6
