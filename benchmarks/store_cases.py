"""Reading and writing our store with the engine, zarr-python and tensorstore."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: A random window that a prediction might read: layers, rows and columns.
WINDOW = (16, 1136, 1136)


def read_engine(store: str) -> Iterator[None]:
    """Read every block of a store, as lazy work does."""
    import s5engine as s5

    s5.open_volume(store).isel(y=slice(0, 8), x=slice(0, 8)).compute()
    yield
    volume = s5.open_volume(store)
    volume.data.persist()
    return int(volume.size)


def read_zarr(store: str) -> Iterator[None]:
    """Read all of a store with zarr-python."""
    array = _zarr(store)
    array[:, :8, :8]
    yield
    return int(array[:].size)


def read_tensorstore(store: str) -> Iterator[None]:
    """Read all of a store with tensorstore."""
    array = _tensorstore(store)
    array[:, :8, :8].read().result()
    yield
    return int(array.read().result().size)


def windows(store: str, how: str, count: int) -> Iterator[None]:
    """Read random windows of a store; return a checksum that all ways share."""
    read: Callable[[tuple[slice, ...]], Any]
    if how == "engine":
        import s5engine as s5

        volume = s5.open_volume(store)
        shape = volume.shape

        def read(place: tuple[slice, ...]) -> Any:
            return volume[place].values
    elif how == "zarr":
        array = _zarr(store)
        shape = array.shape
        read = array.__getitem__
    else:
        tensor = _tensorstore(store)
        shape = tuple(tensor.shape)

        def read(place: tuple[slice, ...]) -> Any:
            return tensor[place].read().result()

    rng = np.random.default_rng(0)
    read((slice(0, 1), slice(0, 8), slice(0, 8)))
    yield
    total = 0
    for _ in range(count):
        size = [min(a, b) for a, b in zip(WINDOW, shape, strict=True)]
        start = [int(rng.integers(0, b - a + 1)) for a, b in zip(size, shape, strict=True)]
        place = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        total += int(read(place).sum(dtype=np.int64))
    return total


def write(store: str, copy: str, how: str) -> Iterator[None]:
    """Write a volume that is in memory as a store of the same form; return its files' bytes."""
    pixels = _tensorstore(store).read().result()
    shutil.copytree(store, copy, ignore=lambda folder, _: ["c"] if Path(folder).name == "0" else [])
    if how == "zarr":
        array = _zarr(copy, "r+")
        yield
        array[:] = pixels
    else:
        tensor = _tensorstore(copy)
        yield
        tensor.write(pixels).result()
    return sum(path.stat().st_size for path in Path(copy).rglob("*") if path.is_file())


def shards(store: str, copy: str, step: str, checksums: bool) -> Iterator[None]:
    """Write shards as ours with zarr-python, or read them with the engine; return their bytes."""
    import zarr
    from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

    import s5engine as s5

    like = _zarr(store)
    pixels = _tensorstore(store).read().result()
    blosc = BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.noshuffle)
    array = zarr.create_array(
        copy,
        shape=like.shape,
        dtype=like.dtype,
        chunks=like.chunks,
        shards=like.shards,
        fill_value=0,
        compressors=[blosc, Crc32cCodec()] if checksums else [blosc],
        dimension_names=list("zyx"),
    )
    if step == "read":
        array[:] = pixels
    yield
    if step == "write":
        array[:] = pixels
    else:
        s5.open_volume(copy).data.persist()
    return sum(path.stat().st_size for path in Path(copy).rglob("*") if path.is_file())


def check_equal(store: str, copy: str) -> int:
    """Compare a copy with its store, pixel by pixel.

    Raises
    ------
    AssertionError
        If any pixel differs.
    """
    ours, theirs = (_tensorstore(path).read().result() for path in (store, copy))
    np.testing.assert_array_equal(ours, theirs)
    return int(ours.size)


def _zarr(store: str, mode: Any = "r") -> Any:
    import zarr

    return zarr.open_array(f"{store}/0", mode=mode)


def _tensorstore(store: str) -> Any:
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{store}/0/"}}
    return tensorstore.open(spec, open=True).result()
