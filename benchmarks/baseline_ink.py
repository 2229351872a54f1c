"""The 2025 way from contrasted layer files to ink, as behaviour, in code of our own.

The part's layers are read whole; tiles are cut, scaled and stacked one by one; each batch is
prepared, predicted and added before the next one is begun; every prediction is enlarged, weighted
and added by itself. The network is torch's, as it was trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
import torch

REDUCTION = 4
WINDOW_LAYERS = 16

Floats = npt.NDArray[np.float32]


def predict(
    part: Path,
    out: Path,
    network: torch.nn.Module,
    *,
    tile: int,
    windows: list[int],
    stride: int,
    tta: int,
    batch: int,
) -> int:
    """Write the ink of a part's layer windows as npy and png; return how many tiles ran in each.

    Parameters
    ----------
    part : Path
        A folder with ``layers/<LL>.tif``, contrasted, and ``mask.png``.
    out : Path
        Gets ``npy_files/`` and ``visualizations/``.
    network : Module
        ``(n, 1, 16, P, P)`` floats to ``(n, P/4, P/4)`` logits.
    tile, stride : int
        Size and step of tiles, px.
    windows : list of int
        First layers.
    tta : {0, 1, 2, 3}
        None, + horizontal flip, + vertical flip, + quarter turn.
    batch : int
        Tiles of a batch.
    """
    for name in ("npy_files", "visualizations"):
        (out / name).mkdir(parents=True, exist_ok=True)
    mask = cv2.imread(str(part / "mask.png"), cv2.IMREAD_GRAYSCALE)
    tiles = 0
    for first in windows:
        layers = [
            tifffile.imread(part / "layers" / f"{first + k:02d}.tif") for k in range(WINDOW_LAYERS)
        ]
        ink, tiles = predict_window(layers, mask, network, tile, stride, tta, batch)
        np.save(out / "npy_files" / f"segmentation_layer_{first}.npy", ink)
        picture = (ink * 255).astype(np.uint8)
        cv2.imwrite(str(out / "visualizations" / f"segmentation_layer_{first}.png"), picture)
    return tiles


def predict_window(
    layers: list[npt.NDArray[np.uint8]],
    mask: npt.NDArray[np.uint8],
    network: torch.nn.Module,
    tile: int,
    stride: int,
    tta: int,
    batch: int,
) -> tuple[Floats, int]:
    """Return the ink of one layer window and how many tiles ran."""
    height, width = layers[0].shape
    total, weights = (np.zeros((height, width), np.float32) for _ in range(2))
    taper = gaussian(tile)
    count = 0
    for places, tiles in _batches(layers, mask, tile, stride, batch):
        for (y, x), answer in zip(places, _averaged(network, tiles, tta), strict=True):
            enlarged = np.kron(answer, np.ones((REDUCTION, REDUCTION), np.float32))
            total[y : y + tile, x : x + tile] += enlarged * taper
            weights[y : y + tile, x : x + tile] += taper
            count += 1
    return np.divide(total, weights, out=np.zeros_like(total), where=weights > 0), count


def gaussian(tile: int) -> Floats:
    """Return exp(−((x−c)² + (y−c)²) / (2σ²)), c = P // 2, σ = P // 4, its maximum 1."""
    squares = (np.arange(tile) - tile // 2) ** 2
    weights = np.exp(-(squares[:, None] + squares[None]) / (2 * (tile // 4) ** 2))
    return np.asarray(weights / weights.max(), np.float32)


def _batches(
    layers: list[npt.NDArray[np.uint8]],
    mask: npt.NDArray[np.uint8],
    tile: int,
    stride: int,
    batch: int,
) -> Iterator[tuple[list[tuple[int, int]], torch.Tensor]]:
    """Yield the tiles that hold papyrus, cut and scaled one layer at a time."""
    height, width = layers[0].shape
    places: list[tuple[int, int]] = []
    tiles: list[Floats] = []
    for y in range(0, height - tile + 1, stride):
        for x in range(0, width - tile + 1, stride):
            if not mask[y : y + tile, x : x + tile].any():
                continue
            cut = [layer[y : y + tile, x : x + tile].astype(np.float32) / 255 for layer in layers]
            places.append((y, x))
            tiles.append(np.stack(cut)[None])
            if len(tiles) == batch:
                yield places, torch.from_numpy(np.stack(tiles))
                places, tiles = [], []
    if tiles:
        yield places, torch.from_numpy(np.stack(tiles))


@torch.no_grad()
def _averaged(network: torch.nn.Module, tiles: torch.Tensor, tta: int) -> Any:
    """Return the mean of the sigmoids over the views, (n, P/4, P/4)."""
    answers = [torch.sigmoid(network(tiles))]
    if tta >= 1:
        answers.append(torch.sigmoid(network(tiles.flip(-1))).flip(-1))
    if tta >= 2:
        answers.append(torch.sigmoid(network(tiles.flip(-2))).flip(-2))
    if tta >= 3:
        turned = torch.rot90(tiles, 1, (-2, -1))
        answers.append(torch.rot90(torch.sigmoid(network(turned)), 3, (-2, -1)))
    return torch.stack(answers).mean(0).numpy()
