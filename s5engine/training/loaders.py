"""The batches of each epoch."""
# ruff: noqa: D102  (Lightning's hooks do what Lightning says they do)

from __future__ import annotations

import os
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader

from s5engine.training.augment import Augmentation
from s5engine.training.data import TrainingDraws, ValidationTiles
from s5engine.training.sampling import Split
from s5engine.training.settings import TrainSettings
from s5engine.training.tileset import Example, Tileset


class Loaders(lightning.LightningDataModule):
    """Makes the training tiles of each epoch anew; the validation tiles are always the same.

    Attributes
    ----------
    steps : int
        Batches of an epoch: full ones only, so that each weighs the same.
    """

    def __init__(
        self, tileset: Tileset, split: Split, windows: list[slice], settings: TrainSettings
    ) -> None:
        super().__init__()
        self._tileset, self._split, self._windows = tileset, split, windows
        self._settings = settings
        self._augmentation = Augmentation(settings.augment, tileset.tile)
        self.steps = len(split.train) // settings.batch

    @property
    def _middle(self) -> slice:
        return self._windows[len(self._windows) // 2]

    def train_dataloader(self) -> DataLoader[Any]:
        # From the steps: the number of the epoch is not yet right when a training goes on.
        epoch = self.trainer.global_step // self.steps if self.trainer else 0
        draws = TrainingDraws(
            self._tileset,
            self._split.train,
            self._windows,
            self._augmentation,
            self._settings.seed,
            epoch,
        )
        return self._loader(draws, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        tiles = ValidationTiles(self._tileset, self._split.validation, self._middle)
        return self._loader(tiles, drop_last=False)

    def shown(self) -> list[Example]:
        """Return the validation tiles with most ink, from the window that validates."""
        validation = self._split.validation
        order = np.argsort(-self._tileset.ink_percent[validation].astype(int), kind="stable")
        chosen = validation[order[: self._settings.pictures]]
        examples = (self._tileset[int(i)] for i in chosen)
        return [Example(e.layers[self._middle], e.label, e.keep) for e in examples]

    def _loader(self, data: Any, *, drop_last: bool) -> DataLoader[Any]:
        s = self._settings
        # Not shuffled here: the draws are, by their seed.
        # Not forked from this process: libraries with threads of their own (OpenMP) crash so.
        method = "spawn" if os.name == "nt" else "forkserver"
        return DataLoader(
            data,
            batch_size=s.batch,
            num_workers=s.workers,
            drop_last=drop_last,
            multiprocessing_context=method if s.workers else None,
        )
