"""The engine's sides of the ingest benchmark, and the check that both ways give equal pixels.

Each function runs in a fresh process; see `common.run_case`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import s5engine as s5

CONTRAST = ((0, 0), (128, 64), (255, 255))


def store(
    url: str,
    store: str,
    *,
    width: int = 10_000,
    layers: list[int] | None = None,
    box: list[int] | None = None,
    budget: str | int | None = None,
    pyramid: bool = True,
) -> int:
    """Ingest, and make the contrasted parts as lazy views; return how many parts there are."""
    volume = s5.ingest(
        url, store, layers=layers, box=box, budget=budget, pyramid=pyramid, progress=False
    )
    return len(s5.parts(s5.contrast(volume), width))


def tree(url: str, folder: str, *, width: int = 10_000) -> int:
    """Cut the tree of contrasted parts from the source; return how many parts there are."""
    table = s5.lookup_table(CONTRAST)
    cut = s5.split(url, folder, width=width, lookup=table, contrast=CONTRAST, progress=False)
    return len(cut)


def pixels_decoded(url: str, store: str, *, box: list[int] | None = None) -> int:
    """Ingest a box; return how many bytes of pixels the LZW decoder gave."""
    import threading

    import imagecodecs

    lock, total, decode = threading.Lock(), 0, imagecodecs.lzw_decode

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal total
        pixels = decode(*arguments, **options)
        with lock:
            total += len(pixels)
        return pixels

    imagecodecs.lzw_decode = counted
    s5.ingest(url, store, box=box, progress=False)
    return total


def check_equal(
    baseline: str,
    store: str,
    tree: str,
    *,
    segment: str = "phantom",
    width: int = 10_000,
    windows: int = 24,
    seed: int = 0,
) -> int:
    """Compare the three ways on drawn windows; return how many pixels were compared.

    A window is three layers of up to 512 × 512 px of one part. All parts have their turn.

    Raises
    ------
    AssertionError
        If any pixel differs, or a tree's mask from the other's.
    """
    rng = np.random.default_rng(seed)
    contrasted = s5.contrast(s5.open_volume(store))
    parts = s5.parts(contrasted, width)
    numbers = [*parts] * (-(-windows // len(parts)))
    compared = 0
    for number in numbers:
        part = parts[number]
        chosen = rng.choice(part.sizes["layer"], min(3, part.sizes["layer"]), replace=False)
        y, x = (_interval(rng, part.sizes[dim]) for dim in "yx")
        lazy = part.isel(layer=np.sort(chosen), y=y, x=x)
        pixels = lazy.values
        for layer, image in zip(lazy.layer.values.tolist(), pixels, strict=True):
            name = f"{segment}_{number:02d}/layers/{layer:02d}.tif"
            old = _whole(Path(baseline) / "parts_contrasted" / name)
            new = _whole(Path(tree) / segment / "parts_contrasted" / name)
            np.testing.assert_array_equal(image, old[y, x])
            np.testing.assert_array_equal(new, old)
            compared += image.size
    _check_masks(Path(baseline), Path(tree) / segment, contrasted, segment, width)
    return compared


def _interval(rng: np.random.Generator, length: int) -> slice:
    size = min(int(rng.integers(1, 513)), length)
    start = int(rng.integers(0, length - size + 1))
    return slice(start, start + size)


def _whole(path: Path) -> np.ndarray:
    import tifffile

    return tifffile.imread(path)


def _check_masks(old: Path, new: Path, contrasted: Any, segment: str, width: int) -> None:
    lazy = s5.papyrus_mask(contrasted)
    for number in s5.parts(contrasted, width):
        name = f"parts_contrasted/{segment}_{number:02d}/mask.png"
        mask = s5.read_mask(old / name)
        np.testing.assert_array_equal(mask, s5.read_mask(new / name))
        x0 = (number - 1) * width
        np.testing.assert_array_equal(mask, lazy.isel(x=slice(x0, x0 + width)).values)


def crop(
    url: str, store: str, *, layers: list[int], box: list[int], budget: str | None = None
) -> list[int]:
    """Get at a contrasted crop: ingest its rows, read it block by block; return its shape."""
    volume = s5.ingest(url, store, layers=layers, box=box, budget=budget, progress=False)
    contrasted = s5.contrast(volume)
    for y in range(0, contrasted.sizes["y"], 1024):
        for x in range(0, contrasted.sizes["x"], 1024):
            contrasted.isel(y=slice(y, y + 1024), x=slice(x, x + 1024)).compute()
    return list(contrasted.shape)


def check_crop(
    baseline: str, store: str, *, part: int, layers: list[int], box: list[int], width: int
) -> int:
    """Compare the same crop of both ways on every pixel; return how many were compared.

    Raises
    ------
    AssertionError
        If any pixel differs.
    """
    from benchmarks.baseline import read_crop

    old = read_crop(baseline, part, layers, box)
    new = s5.contrast(s5.open_volume(store))
    assert (int(new.y[0]), int(new.x[0])) == (box[0], (part - 1) * width + box[2])
    np.testing.assert_array_equal(new.values, old)
    return int(old.size)
