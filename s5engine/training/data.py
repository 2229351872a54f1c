"""Tiles as torch sees them: every draw a pure function of seed, epoch and position.

So neither the number of worker processes nor an interruption changes what the network is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from s5engine.errors import InvalidArgumentError, WayOut
from s5engine.training.augment import Augmentation
from s5engine.training.tileset import Example, Tileset

Batch = tuple[Tensor, Tensor, Tensor]


def window_positions(tileset: Tileset, windows: Sequence[int], count: int) -> list[slice]:
    """Return where each layer window lies among a tileset's layers.

    Parameters
    ----------
    tileset : Tileset
    windows : sequence of int
        First layer numbers; empty if the tileset has just one window's layers.
    count : int
        Layers of a window, 16.

    Raises
    ------
    InvalidArgumentError
        If the tileset lacks a layer of a window, or has too many layers and no window is named.
    """
    layers = list(tileset.layers)
    if not windows:
        if len(layers) != count:
            raise InvalidArgumentError(
                f"The tileset has {len(layers)} layers, {layers[0]}…{layers[-1]}, and the network "
                f"takes {count}.",
                WayOut(
                    "Name windows by their first layers, such as windows=(3, 4, 5).",
                    "Name windows by their first layers, such as --windows 3-5.",
                ),
            )
        windows = layers[:1]
    found = []
    for first in windows:
        start = layers.index(first) if first in layers else 0
        if layers[start : start + count] != list(range(first, first + count)):
            raise InvalidArgumentError(
                f"The layer window {first}…{first + count - 1} is not among the tileset's layers "
                f"{layers}.",
                "Choose other windows, or build the tileset with these layers.",
            )
        found.append(slice(start, start + count))
    return found


class TrainingDraws(Dataset[Batch]):
    """One epoch's training tiles: shuffled, each from a random window, augmented.

    Items are (layers (1, 16, P, P) float32 in [0, 1], label (P/4, P/4) bool, keep (P/4, P/4) bool).
    """

    def __init__(
        self,
        tileset: Tileset,
        chosen: npt.NDArray[np.int64],
        windows: Sequence[slice],
        augmentation: Augmentation,
        seed: int,
        epoch: int,
    ) -> None:
        self._tileset, self._windows, self._augmentation = tileset, windows, augmentation
        self._key = (seed, epoch)
        self._order = np.random.default_rng(self._key).permutation(chosen)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Batch:
        rng = np.random.default_rng((*self._key, position))
        window = self._windows[int(rng.integers(len(self._windows)))]
        layers, label, keep = self._tileset[int(self._order[position])]
        example = self._augmentation(Example(layers[window], label, keep), int(rng.integers(2**31)))
        return as_tensors(example)


class ValidationTiles(Dataset[Batch]):
    """The validation tiles as they are, from one window; items as those of `TrainingDraws`."""

    def __init__(self, tileset: Tileset, chosen: npt.NDArray[np.int64], window: slice) -> None:
        self._tileset, self._chosen, self._window = tileset, chosen, window

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, position: int) -> Batch:
        layers, label, keep = self._tileset[int(self._chosen[position])]
        return as_tensors(Example(layers[self._window], label, keep))


def as_tensors(example: Example) -> Batch:
    """Return a tile as the network takes it, and its label and keep."""
    layers = torch.from_numpy(np.ascontiguousarray(example.layers)).float().div_(255).unsqueeze(0)
    label, keep = (torch.from_numpy(np.ascontiguousarray(m)) for m in example[1:])
    return layers, label, keep
