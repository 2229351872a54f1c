"""The packed copy holds the pixels under tiles, read once, and goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

import s5engine as s5
from s5engine.errors import BudgetError, StoreError
from s5engine.runtime.journal import Journal
from s5engine.store.check import check_store
from s5engine.training import packed


def needed_blocks(segment, tileset):
    """Blocks of the volume that any tile touches, by brute force."""
    under = np.zeros(segment.volume.shape[1:], bool)
    for i in range(len(tileset)):
        box = tileset.box(i)
        under[box.y0 : box.y1, box.x0 : box.x1] = True
    return {
        (y, x)
        for y in range(0, 210, 70)
        for x in range(0, 500, 60)
        if under[y : y + 70, x : x + 60].any()
    }, under


def test_an_index_reads_no_pixels(segment):
    assert len(segment.build()) > 20
    assert segment.source.read == []


def test_only_blocks_under_tiles_are_read_once_each(segment):
    tileset = segment.build(packed=True, layers=range(5, 9))
    needed, _ = needed_blocks(segment, tileset)
    everything = {(y, x) for y in range(0, 210, 70) for x in range(0, 500, 60)}
    assert 0 < len(needed) < len(everything)
    # Layers 5…8 are in the first of three blocks of layers.
    starts = [(y // 70 * 70, x // 60 * 60) for y, x in segment.source.read]
    assert sorted(starts) == sorted(needed)


@pytest.mark.parametrize("layers", [None, range(5, 21), [9, 4, 22]])
def test_packed_and_plain_tiles_are_the_same(segment, layers):
    plain = segment.build("plain.zarr", layers=layers)
    copied = segment.build("packed.zarr", layers=layers, packed=True)
    segment.source.read.clear()
    alone = s5.open_tileset(copied.store)
    assert len(alone) == len(plain)
    for i in range(0, len(plain), 7):
        for one, other in zip(alone[i], plain[i], strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert len(segment.source.read) > 0  # by the plain one alone: the other has no volume


def test_what_lies_under_no_tile_is_not_stored(segment):
    import zarr

    tileset = segment.build(packed=True)
    _, under = needed_blocks(segment, tileset)
    group = zarr.open_group(tileset.store, mode="r")
    stored = np.concatenate([group[f"layers/20260101_0{n}"][:] for n in (1, 2)], axis=2)
    expected = segment.volume.values * under
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("spare", [2**30, 3 * 2 * 4 * 64 * 64])
def test_it_goes_on_where_it_stopped(segment, monkeypatch, spare):
    """Also when the second budget allows narrower slabs only."""
    monkeypatch.setattr(packed, "_SHARD", 2)  # several slabs per part
    monkeypatch.setattr(packed, "current_rss", lambda: 0)
    flight = 2 * 8 * 70 * 60 * (packed.os.cpu_count() or 1)
    segment.source.fail_after = 12
    with pytest.raises(OSError, match="connection is lost"):
        segment.build(packed=True, layers=range(5, 9))
    with pytest.raises(StoreError, match="is unfinished"):
        s5.open_tileset(segment.folder / "tiles.zarr")
    before = list(segment.source.read)
    segment.source.fail_after = 10**9
    segment.source.read.clear()
    tileset = segment.build(packed=True, layers=range(5, 9), budget=flight + spare)
    again = list(segment.source.read)
    segment.source.read.clear()
    fresh = segment.build("fresh.zarr", packed=True, layers=range(5, 9))
    whole = list(segment.source.read)
    assert before
    assert 0 < len(again) < len(whole)
    for i in range(len(fresh)):
        np.testing.assert_array_equal(tileset[i].layers, fresh[i].layers)
    assert not (segment.folder / "tiles.zarr.journal").exists()


def test_slabs_fit_into_the_budget(segment, monkeypatch):
    monkeypatch.setattr(packed, "_SHARD", 1)
    monkeypatch.setattr(packed, "current_rss", lambda: 0)
    monkeypatch.setattr(packed.os, "cpu_count", lambda: 1)
    part, rules = segment.parts[1], packed.TileRules(32, 16)
    flight, one = 2 * 8 * 70 * 60, 2 * 20 * 32 * 32
    for shards in (1, 3, 100):
        slabs = list(packed._slabs(part, 20, rules, flight + shards * one))
        assert max(s.width for s in slabs) == min(shards * 32, 250)
        assert sum(s.height * s.width for s in slabs) == 210 * 250
        assert all(s.y0 % 32 == 0 and s.x0 % 32 == 0 for s in slabs)
    with pytest.raises(BudgetError, match="Packing needs"):
        list(packed._slabs(part, 20, rules, flight + one - 1))


def test_a_budget_too_small_is_refused_before_pixels_are_read(segment):
    with pytest.raises(BudgetError, match="larger budget, or build the tileset without packed"):
        segment.build(packed=True, budget="1 MiB")
    assert segment.source.read == []
    assert not (segment.folder / "tiles.zarr").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_rot_in_a_tileset_is_told(segment, packed):
    store = segment.build(packed=packed).store
    assert check_store(store, progress=False) == []
    files = [p for p in sorted(store.rglob("*")) if p.is_file() and p.name.isdigit()]
    assert len(files) > 6
    for path in files:
        whole = path.read_bytes()
        for damaged in (whole[:-1], bytes([whole[0] ^ 4]) + whole[1:], None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            assert [d.file for d in check_store(store, progress=False)] == [str(path)]
            with pytest.raises(StoreError, match=path.parent.parent.name):
                read_tiles(store, segment)
        path.write_bytes(whole)
    read_tiles(store, segment)
    files[0].unlink()
    with pytest.raises(StoreError, match="is gone"):
        segment.build(packed=packed)


def read_tiles(store, segment):
    tileset = s5.open_tileset(store, segment.parts)
    for i in range(len(tileset)):
        tileset[i]


@pytest.mark.parametrize("damage", ["removed", "cut", "zeroed"])
def test_a_recorded_shard_that_is_damaged_is_packed_again(segment, monkeypatch, damage):
    monkeypatch.setattr(packed, "_SHARD", 2)
    monkeypatch.setattr(packed, "current_rss", lambda: 0)
    real, files = Journal.finish, []

    def finish(journal, unit, given=(), **how):
        real(journal, unit, given, **how)
        files.extend(given)
        if len(files) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", finish)
        with pytest.raises(KeyboardInterrupt):
            segment.build(packed=True, layers=range(5, 9))
    data = files[1].read_bytes()
    if damage == "removed":
        files[1].unlink()
    else:
        end = b"" if damage == "cut" else bytes(len(data) // 2)
        files[1].write_bytes(data[: len(data) - (len(end) or 1)] + end)
    segment.build(packed=True, layers=range(5, 9))
    assert files[1].read_bytes() == data
