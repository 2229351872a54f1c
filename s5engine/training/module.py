"""The network in training: loss, optimizer, schedule and figures, as Lightning calls them."""
# ruff: noqa: D102  (Lightning's hooks do what Lightning says they do)

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryF1Score,
    BinaryJaccardIndex,
    BinaryPrecision,
    BinaryRecall,
)

from s5engine.errors import S5Error
from s5engine.model.unetr_segformer import UnetrSegformer
from s5engine.training.data import Batch
from s5engine.training.losses import masked_dice_bce
from s5engine.training.settings import TrainSettings

#: What torchmetrics leaves out: pixels that are not kept.
_IGNORED = -1


class TrainingError(S5Error, ArithmeticError):
    """The training has diverged."""


class InkModule(lightning.LightningModule):
    """Trains a network; its checkpoints are those of 2025.

    Parameters
    ----------
    network : UnetrSegformer
        Held as ``model``, so that tensors are named ``model.<name>``.
    settings : TrainSettings
    steps : int
        Optimizer steps in all, for the schedule.
    """

    def __init__(self, network: UnetrSegformer, settings: TrainSettings, steps: int) -> None:
        super().__init__()
        self.model = network
        self.settings, self.steps = settings, steps
        self.save_hyperparameters(network.config.to_hyper_parameters() | settings.flat())
        if settings.dropout is not None:
            for module in network.modules():
                if isinstance(module, nn.Dropout | nn.Dropout2d):
                    module.p = settings.dropout
        # Their counts are not part of the state_dict: torchmetrics does not persist them.
        self.figures = MetricCollection(
            {
                "val_iou": BinaryJaccardIndex(ignore_index=_IGNORED),
                "val_precision": BinaryPrecision(ignore_index=_IGNORED),
                "val_recall": BinaryRecall(ignore_index=_IGNORED),
                "val_f1": BinaryF1Score(ignore_index=_IGNORED),
            }
        )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        # Dropout of a step is the same whether or not the training was interrupted before it.
        torch.manual_seed((self.settings.seed << 32) + self.trainer.global_step)
        loss = self._loss(torch.sigmoid(self.model(batch[0])), batch)
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"The loss is {float(loss.detach())} in epoch {self.current_epoch}, step {index}: "
                "the training has diverged.",
                'Lower lr, or use precision="float32"; the checkpoints so far are kept.',
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        prob = torch.sigmoid(self.model(batch[0])).float()
        loss = self._loss(prob, batch)
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        self.figures.update(prob, batch[1].int().masked_fill(~batch[2], _IGNORED))

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.figures.compute())
        self.figures.reset()

    def configure_optimizers(self) -> Any:
        s = self.settings
        optimizer = torch.optim.AdamW(self.parameters(), lr=s.lr, weight_decay=s.weight_decay)

        def factor(step: int) -> float:
            """Rise linearly, then fall along a half cosine to ``min_lr``."""
            if step < s.warmup_steps:
                return (step + 1) / s.warmup_steps
            gone = (step - s.warmup_steps) / max(1, self.steps - s.warmup_steps)
            low = s.min_lr / s.lr if s.lr else 0.0
            return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _loss(self, prob: Tensor, batch: Batch) -> Tensor:
        s = self.settings
        return masked_dice_bce(
            prob,
            batch[1],
            batch[2],
            smoothing=s.smoothing,
            bce_weight=s.bce_weight,
            dice_weight=s.dice_weight,
        )
