"""The 2025 way from a contrasted part and its labels to training tiles, in code of our own.

Layers and masks are read whole and padded; every place of the grid is looked at by itself; each
tile that is taken is written to files of its own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

TILE, STRIDE, LEAST_KEPT = 128, 64, 5
Mask = npt.NDArray[np.uint8]


def prepare(part: str, labels: str, out: str, *, layers: list[int], tile: int = TILE) -> int:
    """Write ``<x>_<y>_<ink>_<ignored>.npz`` for every tile that is taken; return how many.

    Parameters
    ----------
    part : str
        A folder with ``layers/<LL>.tif``, contrasted.
    labels : str
        A folder with ``label.png``, ``mask.png`` and perhaps ``ignore.png``.
    out : str
        Gets the tiles.
    layers : list of int
        Which of them a tile has.
    tile : int
        Its size, px; the step is half of it.
    """
    folder, stride = Path(out), tile // 2
    folder.mkdir(parents=True, exist_ok=True)
    images = [tifffile.imread(Path(part) / "layers" / f"{number:02d}.tif") for number in layers]
    stack = np.stack([_padded(image, tile) for image in images])
    label, papyrus = (_read(Path(labels) / f"{name}.png", tile) for name in ("label", "mask"))
    path = Path(labels) / "ignore.png"
    keep = 1 - _read(path, tile) if path.exists() else np.ones_like(label)
    label = label * keep
    count = 0
    for y in range(0, stack.shape[1] - tile + 1, stride):
        for x in range(0, stack.shape[2] - tile + 1, stride):
            place = np.s_[y : y + tile, x : x + tile]
            if not papyrus[place].all():
                continue
            ink, kept = _reduced(label[place]), _reduced(keep[place])
            ignored = 100 - int(100 * kept.sum() / kept.size)
            if 100 - ignored < LEAST_KEPT:
                continue
            name = f"{x}_{y}_{int(100 * ink.sum() / ink.size)}_{ignored}.npz"
            np.savez(folder / name, layers=stack[:, place[0], place[1]], label=ink, keep=kept)
            count += 1
    return count


def _read(path: Path, tile: int) -> Mask:
    """Return a mask's pixels, 1 where it is 255."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return _padded((image / 255).astype(np.uint8), tile)


def _padded(image: Mask, tile: int) -> Mask:
    """Fill up to multiples of the tile with zeros, below and to the right."""
    below, right = (-side % tile for side in image.shape)
    return np.pad(image, ((0, below), (0, right)))


def _reduced(mask: Mask) -> Mask:
    """Return a quarter of it by nearest neighbour: of four pixels the third."""
    return np.ascontiguousarray(mask[2::4, 2::4])
