"""What the machine itself can do: decoding, the codec, copying memory; see `common.run_case`.

Each limit is the least work that the step cannot do without, on all cores, from and to memory.
"""

from __future__ import annotations

import os
import struct
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

CHUNK, SHARD = 128, 1024
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_and_write(url: str, folder: str, layers: int) -> Iterator[None]:
    """Decode all layers from memory, then write them as the store's shards; all cores.

    Fetching the files is preparation.
    """
    files = [urllib.request.urlopen(f"{url}{number:02d}.tif").read() for number in range(layers)]
    strips = [_strips(data) for data in files]
    height, width = strips[0][1]
    volume = np.empty((layers, height, width), np.uint8)
    yield
    import time

    started = time.perf_counter()

    def decode(layer: int) -> None:
        data = memoryview(files[layer])
        for row, (at, size) in enumerate(strips[layer][0]):
            imagecodecs.lzw_decode(data[at : at + size], out=volume[layer, row])
            imagecodecs.delta_decode(volume[layer, row], out=volume[layer, row])

    on_all_cores(decode, range(layers))
    decoded = time.perf_counter()
    places = [(y, x) for y in range(0, height, SHARD) for x in range(0, width, SHARD)]

    def write(place: tuple[int, int]) -> None:
        y, x = place
        body = b"".join(encode(volume[:, y : y + SHARD, x : x + SHARD]))
        (Path(folder) / f"{y}.{x}").write_bytes(body)

    Path(folder).mkdir(parents=True)
    on_all_cores(write, places)
    return {
        "decode_seconds": round(decoded - started, 3),
        "write_seconds": round(time.perf_counter() - decoded, 3),
    }


def encode(shard: np.ndarray) -> Iterable[bytes]:
    """Yield the chunks of a shard, compressed as the store's are."""
    for y in range(0, shard.shape[1], CHUNK):
        for x in range(0, shard.shape[2], CHUNK):
            chunk: Any = np.ascontiguousarray(shard[:, y : y + CHUNK, x : x + CHUNK])
            yield bytes(
                imagecodecs.blosc_encode(chunk, level=1, compressor="zstd", shuffle=0, numthreads=1)
            )


def decode_chunks(store: str) -> Iterator[None]:
    """Decompress every chunk of a store from memory, on all cores; reading is preparation."""
    shards = [
        chunks_of(path.read_bytes())
        for path in (Path(store) / "0" / "c").rglob("*")
        if path.is_file()
    ]
    yield

    def decode(chunks: list[bytes]) -> int:
        return sum(len(imagecodecs.blosc_decode(chunk)) for chunk in chunks)

    return sum(on_all_cores(decode, shards))


def chunks_of(shard: bytes) -> list[bytes]:
    """Return the compressed chunks of a shard; its index is at its end, and a checksum behind it.

    The index has an offset and a length for each of the 8 columns of chunks and the rows of them,
    whose number follows from the first offset and lengths that make sense.
    """
    for rows in (8, 4, 2, 1):
        count = rows * SHARD // CHUNK
        start = len(shard) - 4 - 16 * count
        table = struct.unpack(f"<{2 * count}Q", shard[start : start + 16 * count])
        pairs = [(a, n) for a, n in zip(table[::2], table[1::2], strict=True) if n < len(shard)]
        if sum(n for _, n in pairs) == start:
            return [shard[a : a + n] for a, n in pairs]
    raise ValueError("this is not a shard of ours")


def copy_blocks(layers: int, side: int) -> Iterator[None]:
    """Copy a volume block by block into fresh memory, on all cores."""
    blocks = volume_blocks(layers, side)
    yield
    on_all_cores(np.copy, blocks)


def contrast_blocks(layers: int, side: int) -> Iterator[None]:
    """Contrast a volume in memory, block by block, with the engine."""
    import dask.array as da
    import xarray as xr

    import s5engine as s5

    count = side // SHARD or 1
    parts = iter(volume_blocks(layers, side))
    grid = [[[next(parts) for _ in range(count)] for _ in range(count)]]
    data = da.block(
        [[[da.from_array(b, chunks=-1) for b in row] for row in plane] for plane in grid]
    )
    volume = xr.DataArray(data, dims=("layer", "y", "x"), attrs={"segment": "m", "contrast": None})
    s5.contrast(volume.isel(y=slice(0, 8), x=slice(0, 8))).compute()
    yield
    s5.contrast(volume).data.persist()


def volume_blocks(layers: int, side: int) -> list[np.ndarray]:
    """Return blocks of noise that make a square volume."""
    count, length = side // SHARD or 1, min(side, SHARD)
    noise = np.random.default_rng(0).integers(0, 256, (layers, length, length), np.uint8)
    return [noise + np.uint8(k) for k in range(count * count)]


def one_pass(side: int, stride: int) -> Iterator[None]:
    """Read the predictions of all tiles once and write as many bytes as the ink has."""
    tiles = _tiles(side, stride)
    yield
    ink = np.empty((side, side), np.float32)
    ink[:] = tiles.sum()


def blend(side: int, stride: int) -> Iterator[None]:
    """Blend predictions that are in memory, with the engine."""
    tiles = _tiles(side, stride, wrapped=True)
    import s5engine as s5

    lazy = s5.blend(tiles)
    lazy.isel(y=slice(0, 64), x=slice(0, 64)).compute()
    yield
    lazy.data.persist()


def _tiles(side: int, stride: int, *, wrapped: bool = False) -> Any:
    """Return noise in the form of tile predictions of a square volume."""
    import dask.array as da
    import xarray as xr

    import s5engine as s5
    from benchmarks.ink_cases import model_of

    volume = xr.DataArray(
        da.zeros((16, side, side), dtype=np.uint8, chunks=(16, 1024, 1024)),
        dims=("layer", "y", "x"),
        coords={"layer": np.arange(16), "y": np.arange(side), "x": np.arange(side)},
        attrs={"segment": "m", "source": "memory", "contrast": None},
    )
    lazy = s5.predict_tiles(volume, model_of("stand-in"), windows=[0], stride=stride, tta=0)
    noise = np.random.default_rng(0).random(lazy.shape, np.float32)
    return lazy.copy(data=da.from_array(noise, chunks=lazy.chunks)) if wrapped else noise


def on_all_cores(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Do the work on every item, in as many threads as there are cores."""
    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(work, items))


def _strips(data: bytes) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Return where the strips of a file lie, and the image's size; rows-lzw has one row a strip."""
    import io

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        return places, (int(page.shape[0]), int(page.shape[1]))
