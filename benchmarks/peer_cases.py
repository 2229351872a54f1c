"""What a user would pick instead of the engine, each in its best honest configuration.

Each takes the same store, network and grid of tiles and leaves the ink as a ``.npy`` file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import s5engine as s5
from benchmarks.baseline_ink import gaussian
from benchmarks.ink_cases import model_of

REDUCTION = 4


def monai(
    network: str,
    store: str,
    out: str,
    *,
    window: int,
    stride: int,
    batch: int,
    buffer_steps: int | None = None,
    plain: bool = False,
) -> Iterator[None]:
    """Predict with MONAI's sliding window, as a user of it would.

    The volume is read whole, as MONAI takes tensors; layers are its channels. Its windows are the
    engine's grid with ``edge="cover"``. The taper is given, since MONAI's own is cut off below;
    answers are enlarged to pixels, as its buffered way wants them. ``plain``: the network as it
    was trained, instead of the engine's rewritten one.
    """
    from monai.inferers import sliding_window_inference

    model = model_of(network)
    run = (lambda tiles: model.network(tiles[:, None])) if plain else model.logits
    weights = torch.from_numpy(gaussian(model.tile))

    def predict(tiles: torch.Tensor) -> torch.Tensor:
        answer = torch.sigmoid(run(tiles))[:, None]
        return answer.repeat_interleave(REDUCTION, -1).repeat_interleave(REDUCTION, -2)

    def ink(volume: Any) -> np.ndarray:
        layers = torch.from_numpy(volume.values).float().div_(255)[None]
        found = sliding_window_inference(
            layers,
            (model.tile, model.tile),
            batch,
            predict,
            overlap=1 - stride / model.tile,
            roi_weight_map=weights,
            mode="gaussian",
            buffer_steps=buffer_steps,
            buffer_dim=0,
        )
        return np.asarray(found[0, 0])

    volume = _window(store, window, model.layers)
    with torch.inference_mode():
        ink(volume[:, : model.tile, : model.tile])
        yield
        np.save(out, ink(_window(store, window, model.layers)))


def map_overlap(
    network: str, store: str, out: str, *, window: int, stride: int, batch: int, block: int
) -> Iterator[None]:
    """Predict with `dask.array.map_overlap`: each block runs all tiles that reach into it.

    A block of the volume gets a halo of one tile on each side, runs the tiles of the global grid
    that reach into its middle, blends them and keeps that. Tiles at its borders run twice or more.
    Blocks must divide the volume: dask's halo is no larger than the smallest block.
    """
    model = model_of(network)
    model.probabilities(torch.zeros(batch, model.layers, model.tile, model.tile))
    halo = model.tile

    def ink(volume: Any) -> Any:
        data = volume.data.rechunk((-1, block, block))
        return data.map_overlap(
            _blend_block,
            depth=(0, halo, halo),
            boundary=0,
            trim=False,
            drop_axis=0,
            dtype=np.float32,
            meta=np.empty((0, 0), np.float32),
            model=model,
            stride=stride,
            batch=batch,
            halo=halo,
            shape=volume.shape[1:],
            block=block,
            allow_rechunk=False,
            chunks=tuple(data.chunks[1:]),
        )

    ink(_window(store, window, model.layers)[:, : model.tile, : model.tile]).compute(
        scheduler="single-threaded"
    )
    yield
    # One block at a time: torch uses all cores inside.
    found = ink(_window(store, window, model.layers)).compute(scheduler="single-threaded")
    np.save(out, found)


def _blend_block(
    pixels: np.ndarray,
    *,
    model: s5.InkModel,
    stride: int,
    batch: int,
    halo: int,
    shape: tuple[int, int],
    block: int,
    block_info: Any = None,
) -> np.ndarray:
    """Return the ink of the middle of a block with its halo."""
    tile = model.tile
    place = block_info[0]["chunk-location"][1:]
    top, left = (place[axis] * block - halo for axis in (0, 1))
    middle = [min(block, side - at * block) for side, at in zip(shape, place, strict=True)]
    ys, xs = (
        [
            y - first
            for y in _origins(side, tile, stride)
            if y >= max(first, 0)
            and y + tile <= first + length
            and y + tile > first + halo
            and y < first + length - halo
        ]
        for side, first, length in zip(shape, (top, left), pixels.shape[1:], strict=True)
    )
    total, weights = (np.zeros(pixels.shape[1:], np.float32) for _ in range(2))
    taper = gaussian(tile)
    places = [(y, x) for y in ys for x in xs]
    for start in range(0, len(places), batch):
        some = places[start : start + batch]
        tiles = np.stack([pixels[:, y : y + tile, x : x + tile] for y, x in some])
        answers = model.probabilities(torch.from_numpy(tiles).float() / 255).numpy()
        for (y, x), answer in zip(some, answers, strict=True):
            big = answer.repeat(REDUCTION, 0).repeat(REDUCTION, 1)
            total[y : y + tile, x : x + tile] += big * taper
            weights[y : y + tile, x : x + tile] += taper
    ink = np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    return ink[halo : halo + middle[0], halo : halo + middle[1]]


def _origins(side: int, tile: int, stride: int) -> list[int]:
    """Return where tiles begin; a last one is flush with the border."""
    return sorted({*range(0, side - tile + 1, stride), side - tile})


def compare(run: str, other: str, window: int, tolerance: float) -> float:
    """Return the largest difference between the engine's ink and another's.

    Raises
    ------
    AssertionError
        If it is above the tolerance.
    """
    ours = np.load(Path(run) / "npy_files" / f"segmentation_layer_{window}.npy")
    theirs = np.load(other)
    assert np.ptp(ours) > 0.01, "a constant map proves nothing"
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)
    return float(np.abs(ours - theirs).max())


def read_layers(url: str, out: str, *, layers: list[int], box: list[int], cache: str) -> list[int]:
    """Read a box of the layers with tifffile's zarr store over an fsspec file, write a zarr array.

    ``cache``: fsspec's cache of the file, ``"readahead"`` as it comes or another.
    """
    import fsspec
    import tifffile
    import zarr

    y0, y1, x0, x1 = box
    shape = (len(layers), y1 - y0, x1 - x0)
    array = zarr.create_array(
        out, shape=shape, chunks=(1, min(512, shape[1]), min(512, shape[2])), dtype="uint8"
    )
    system = fsspec.filesystem("http")
    for place, number in enumerate(layers):
        address = f"{url}{number:02d}.tif"
        with (
            system.open(address, cache_type=cache) as file,
            tifffile.imread(file, aszarr=True) as store,
        ):
            array[place] = zarr.open(store, mode="r")[y0:y1, x0:x1]
    return list(shape)


def ingest_layers(url: str, out: str, *, layers: list[int], box: list[int]) -> list[int]:
    """Read the same box with the engine."""
    return list(s5.ingest(url, out, layers=layers, box=box, progress=False).shape)


def same_pixels(store: str, other: str) -> int:
    """Compare a store with a zarr array; return how many pixels were compared.

    Raises
    ------
    AssertionError
        If any differs.
    """
    import zarr

    ours = s5.open_volume(store).values
    np.testing.assert_array_equal(zarr.open_array(other, mode="r")[:], ours)
    return int(ours.size)


def _window(store: str, first: int, count: int) -> Any:
    """Return the contrasted layers of one window, lazily."""
    return s5.contrast(s5.open_volume(store)).sel(layer=slice(first, first + count - 1))
