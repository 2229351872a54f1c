"""Our way of writing shards and zarr-python's: the same files, the same pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.errors import StoreError
from s5engine.store.band_plan import CHUNK
from s5engine.store.create import create_store, level_files
from s5engine.store.growing_shards import GrowingShards
from s5engine.store.ome import VolumeRecord
from s5engine.store.scratch import BandScratch
from s5engine.store.shards import ChunkFiles, encode_shard
from s5engine.store.write_bands import grow, grow_scratch, write_band
from unit.store.segments import files_of, pixels


def written_both_ways(
    folder: Path, data: np.ndarray, band: int, zarr_format: Literal[2, 3]
) -> tuple[Path, Path]:
    """Write ``data`` by our writers and by zarr-python into two stores of ours.

    Of our writers the plain one, the one whose shards grow and the one that collects rows on disk
    first take turns.
    """
    layers, height, width = data.shape
    record = VolumeRecord(
        "s",
        "u",
        {},
        tuple(range(layers)),
        (0, height, 0, width),
        data.dtype.name,
        zarr_format,
        band,
        complete=True,
    )
    ours, theirs = folder / "ours", folder / "theirs"
    for path in (ours, theirs):
        create_store(path, record)
    files = level_files(ours, record)
    shape = (layers, CHUNK, width)
    with (
        ThreadPoolExecutor(2) as writers,
        closing(BandScratch(folder / "scratch", shape, data.dtype)) as scratch,
    ):
        for number, y0 in enumerate(range(0, height, band)):
            rows = data[:, y0 : y0 + band]
            if number % 3 == 2:
                write_band(files, y0, rows, writers)
                continue
            with closing(GrowingShards(files, y0)) as shards:
                for y in range(0, rows.shape[1], CHUNK):
                    piece = rows[:, y : y + CHUNK]
                    if number % 3 == 1:
                        grow(shards, y0 + y, piece, writers)
                        continue
                    for row in range(0, piece.shape[1], 50):
                        scratch.put(row, piece[:, row : row + 50])
                    grow_scratch(shards, y0 + y, piece.shape[1], scratch, writers)
                shards.finish()
    assert not (folder / "scratch").exists()
    array = zarr.open_array(theirs / "0", mode="r+", config={"write_empty_chunks": False})
    array[...] = data
    return ours, theirs


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 400), st.integers(1, 2200)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    zarr_format=st.sampled_from([2, 3]),
    band=st.sampled_from([128, 256]),
    empty=st.tuples(st.integers(0, 300), st.integers(0, 2200)),
)
def test_both_ways_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: str,
    zarr_format: Literal[2, 3],
    band: int,
    empty: tuple[int, int],
) -> None:
    data = pixels(*shape, dtype=dtype)
    data[:, : empty[0], : empty[1]] = 0
    folder = tmp_path_factory.mktemp("both")
    ours, theirs = written_both_ways(folder, data, band, zarr_format)
    a, b = files_of(ours), files_of(theirs)
    assert a.keys() == b.keys()
    assert {name: len(content) for name, content in a.items()} == {
        name: len(content) for name, content in b.items()
    }
    for path in (ours, theirs):
        np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[...], data)


def test_chunk_files_are_byte_for_byte_those_of_zarr(tmp_path: Path) -> None:
    for dtype in ("uint8", "uint16"):
        (tmp_path / dtype).mkdir()
        ours, theirs = written_both_ways(tmp_path / dtype, pixels(dtype=dtype), 128, 2)
        assert files_of(ours) == files_of(theirs)


def test_an_empty_shard_is_no_file() -> None:
    assert encode_shard(np.zeros((3, 100, 1000), np.uint8), 128) == b""


@pytest.mark.parametrize(
    ("y0", "rows", "width", "layers"),
    [
        (64, 64, 400, 2),
        (0, 100, 400, 2),
        (0, 256, 400, 2),
        (0, 128, 128, 2),
        (256, 40, 400, 2),
        (0, 128, 400, 1),
    ],
)
def test_a_band_that_is_not_whole_shards_is_refused(
    tmp_path: Path, y0: int, rows: int, width: int, layers: int
) -> None:
    files = ChunkFiles(tmp_path / "0", (2, 300, 400), 128, sharded=True)
    for each in (files, replace(files, sharded=False)):
        with (
            ThreadPoolExecutor(1) as writers,
            pytest.raises(StoreError, match="not whole shards"),
        ):
            write_band(each, y0, np.ones((layers, rows, width), np.uint8), writers)
    assert not (tmp_path / "0").exists()


def test_grown_shards_are_byte_for_byte_those_of_whole_bands(tmp_path: Path) -> None:
    data = pixels(3, 700, 1300)
    data[:, :200, 1024:] = 0
    data[:, 512:, :1024] = 0  # a shard of zeros
    for height in (512, 256):
        whole, grown = (
            ChunkFiles(tmp_path / f"{name}{height}", data.shape, height, sharded=True)
            for name in ("whole", "grown")
        )
        with ThreadPoolExecutor(2) as writers:
            for y0 in range(0, 700, height):
                rows = data[:, y0 : y0 + height]
                write_band(whole, y0, rows, writers)
                with closing(GrowingShards(grown, y0)) as shards:
                    for y in range(0, rows.shape[1], 256):
                        grow(shards, y0 + y, rows[:, y : y + 256], writers)
                    unfinished = (grown.folder / f"c/0/{y0 // height}").iterdir()
                    assert all(path.suffix == ".partial" for path in unfinished)
                    shards.finish()
        assert files_of(whole.folder) == files_of(grown.folder)
        assert len(files_of(whole.folder)) == (3 if height == 512 else 5)


def test_shards_that_were_not_finished_leave_nothing(tmp_path: Path) -> None:
    data = pixels(3, 128, 1300)
    files = ChunkFiles(tmp_path, data.shape, 1024, sharded=True)
    with ThreadPoolExecutor(2) as writers, closing(GrowingShards(files, 0)) as shards:
        grow(shards, 0, data, writers)
        assert len(files_of(tmp_path)) == 2
    assert not files_of(tmp_path)
