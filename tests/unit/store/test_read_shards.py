"""Our way of reading shards and zarr-python's: the same pixels, whoever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, ShardingCodec, TransposeCodec, ZstdCodec

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.store.read_shards import ShardFiles
from unit.store.segments import pixels


def sharded(folder: Path, data: np.ndarray, *, deep: bool, ours: bool) -> zarr.Array:
    """Write ``data`` in shards as level 0 has them, or as coarser ones do."""
    layers = len(data)
    chunk = (layers, 128, 128) if deep else (1, 256, 256)
    array = zarr.create_array(
        folder / "0",
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunk,
        shards=(layers, 256, 1024),
        compressors=BloscCodec(cname="zstd", clevel=1),
        fill_value=0,
    )
    if not ours:
        array[...] = data
        return array
    files = ShardFiles.of(array)
    assert files is not None
    for y in range(0, data.shape[1], 256):
        for x in range(0, data.shape[2], 1024):
            files.writer().write(y, x, data[:, y : y + 256, x : x + 1024])
    return array


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 600), st.integers(1, 2200)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    deep=st.booleans(),
    ours=st.booleans(),
    empty=st.tuples(st.integers(0, 600), st.integers(0, 2200)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_both_ways_read_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: str,
    deep: bool,
    ours: bool,
    empty: tuple[int, int],
    corners: tuple[float, ...],
) -> None:
    data = pixels(*shape, dtype=dtype)
    data[:, : empty[0], : empty[1]] = 0
    array = sharded(tmp_path_factory.mktemp("read"), data, deep=deep, ours=ours)
    files = ShardFiles.of(array)
    assert files is not None
    rows, columns = (
        slice(*sorted(round(share * length) for share in pair))
        for pair, length in ((corners[:2], shape[1] + 9), (corners[2:], shape[2] + 9))
    )
    if rows.start < shape[1] and columns.start < shape[2]:
        np.testing.assert_array_equal(files.read(rows, columns), data[:, rows, columns])
    # With zarr's own slicing, as dask asks for blocks.
    box = (slice(len(data) // 2, len(data)), rows, columns)
    np.testing.assert_array_equal(files[box], data[box])
    np.testing.assert_array_equal(array[...], data)


@pytest.mark.parametrize("at", [-1, 10])
def test_a_damaged_shard_is_told(tmp_path: Path, at: int) -> None:
    files = ShardFiles.of(sharded(tmp_path, pixels(2, 200, 300), deep=True, ours=True))
    assert files is not None
    path = files.folder / "c/0/0/0"
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data if at < 0 else data[:at])
    with pytest.raises(StoreError, match="c/0/0/0 is damaged"):
        files.read(slice(0, 200), slice(0, 300))


def test_what_has_no_shards_of_ours_is_left_to_zarr(tmp_path: Path) -> None:
    plain = zarr.create_array(tmp_path / "a", shape=(2, 9, 9), dtype="uint8", chunks=(1, 9, 9))
    memory = zarr.create_array(
        {}, shape=(2, 16, 16), dtype="uint8", chunks=(1, 8, 8), shards=(2, 16, 16)
    )
    layered = zarr.create_array(
        tmp_path / "b", shape=(2, 16, 16), dtype="uint8", chunks=(1, 8, 8), shards=(1, 16, 16)
    )
    assert [ShardFiles.of(array) for array in (plain, memory, layered)] == [None] * 3


@pytest.mark.parametrize(
    "other",
    [
        {"compressors": ZstdCodec()},
        {"filters": [TransposeCodec(order=(0, 2, 1))]},
        {"fill_value": 7},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
        {"serializer": BytesCodec(endian="big")},
        {"index_location": "start"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_is_stored_in_another_way_is_left_to_zarr(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    given: dict[str, Any] = {
        "shape": (2, 32, 32),
        "dtype": "uint16",
        "chunks": (2, 16, 16),
        "shards": (2, 32, 32),
        "compressors": BloscCodec(cname="zstd", clevel=1),
        "fill_value": 0,
    }
    ours = zarr.create_array(tmp_path / "ours", **given)
    assert ShardFiles.of(ours) is not None
    if index_location := other.pop("index_location", None):
        serializer = ShardingCodec(
            chunk_shape=(2, 16, 16),
            codecs=[BytesCodec(), BloscCodec(cname="zstd", clevel=1)],
            index_location=index_location,
        )
        given |= {"chunks": (2, 32, 32), "serializer": serializer, "compressors": None}
        del given["shards"]
    else:
        given |= other
    theirs = zarr.create_array(tmp_path / "theirs", **given)
    theirs[...] = data = pixels(2, 32, 32, dtype="uint16")
    assert ShardFiles.of(theirs) is None
    np.testing.assert_array_equal(s5.open_volume(tmp_path / "theirs").values, data)


@pytest.mark.parametrize(
    "place",
    [
        np.s_[:, 3:40, 5:60],
        np.s_[:, ::3, 2:70:5],
        np.s_[::-1, 40:3:-4, ::-1],
        np.s_[1, 7, 9:50],
        np.s_[:, [5, 2, 60], :],
        np.s_[1:2, -3, ::2],
        np.s_[1, 2, 3],
        np.s_[:, 9:9, :],
        np.s_[[2, 0], 5:9, 8:70],
    ],
    ids=str,
)
def test_any_slice_is_numpys(tmp_path: Path, place: Any) -> None:
    array = zarr.create_array(
        tmp_path / "a",
        shape=(3, 70, 90),
        dtype="uint8",
        chunks=(3, 16, 16),
        shards=(3, 32, 32),
        compressors=BloscCodec(cname="zstd", clevel=1),
        fill_value=0,
    )
    array[...] = data = pixels(3, 70, 90, dtype="uint8")
    read = ShardFiles.of(array)
    assert read is not None
    np.testing.assert_array_equal(read[place], data[place])
    volume = s5.open_volume(tmp_path / "a")
    np.testing.assert_array_equal(volume[place].values, data[place])
