"""What happens after each epoch of a training: a row of figures, a picture, a line, a journal."""
# ruff: noqa: D102  (Lightning's hooks do what Lightning says they do)

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from s5engine.atomic import atomic_write, write_text
from s5engine.console import Meter, say
from s5engine.runtime.journal import Journal
from s5engine.training.data import as_tensors
from s5engine.training.epoch_pictures import write_tile_rows
from s5engine.training.tileset import Example

COLUMNS = (
    "epoch",
    "train_loss",
    "val_loss",
    "val_iou",
    "val_precision",
    "val_recall",
    "val_f1",
    "lr",
)


class Progress(lightning.Callback):
    """Moves the bar after each step."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_batch_end(self, *_: Any) -> None:
        self._meter.advance()


class Figures(lightning.Callback):
    """Writes ``metrics.csv``: one row an epoch, whole or not at all."""

    def __init__(self, path: Path | None, progress: bool) -> None:
        self._path, self._progress = path, progress

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        logged = trainer.callback_metrics
        row: dict[str, Any] = {"epoch": trainer.current_epoch}
        row |= {name: float(logged[name]) for name in COLUMNS[1:-1]}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        if self._path is not None:
            # What an interrupted epoch had written already is written anew.
            rows = [r for r in read_figures(self._path) if r["epoch"] < row["epoch"]]
            _write_figures(self._path, [*rows, row])
        if self._progress:
            shown = "  ".join(f"{name} {row[name]:.3f}" for name in COLUMNS[1:-1])
            say(f"epoch {row['epoch'] + 1} of {trainer.max_epochs}: {shown}")


class Pictures(lightning.Callback):
    """Writes ``pictures/epoch_NN.png``: the same validation tiles after each epoch."""

    def __init__(self, folder: Path, examples: Sequence[Example]) -> None:
        self._folder, self._examples = folder, examples

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        if not self._examples:
            return
        module.eval()
        tiles = torch.stack([as_tensors(example)[0] for example in self._examples])
        with torch.no_grad():
            answers = torch.sigmoid(module.model(tiles.to(module.device))).float().cpu().numpy()
        module.train()
        path = self._folder / f"epoch_{trainer.current_epoch:02d}.png"
        write_tile_rows(path, self._examples, answers)


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoints, then ``last.ckpt``, then notes that the epoch is finished.

    In this order: what ``last.ckpt`` says of the best ones is then true, and an epoch counts once
    all of it is on disk.
    """

    def __init__(self, folder: Path, keep: int, journal: Journal) -> None:
        super().__init__(
            folder,
            filename="best-checkpoint-{epoch:02d}-{val_iou:.2f}",
            monitor="val_iou",
            mode="max",
            save_top_k=keep,
            save_on_train_epoch_end=True,
        )
        self._journal, self.last = journal, folder / "last.ckpt"
        self._folder = folder

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what is kept where it is now: Lightning forgets it when a folder was moved.

        What is not there any more is not kept; the best is then the best of what is.
        """
        here = {
            str(self._folder / PurePath(path).name): score
            for path, score in state_dict["best_k_models"].items()
            if (self._folder / PurePath(path).name).is_file()
        }
        order = sorted(here, key=lambda path: float(here[path]))
        names = {
            "best_model_path": order[-1] if order else "",
            "kth_best_model_path": order[0] if order else "",
            "last_model_path": "",
        }
        scores = {"best_model_score": here[order[-1]], "kth_value": here[order[0]]} if order else {}
        super().load_state_dict(
            state_dict | names | scores | {"dirpath": self.dirpath, "best_k_models": here}
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        super().on_train_epoch_end(trainer, module)
        with atomic_write(self.last) as partial:
            trainer.save_checkpoint(partial)
        self._journal.finish(f"epoch {trainer.current_epoch}")


def read_figures(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``metrics.csv``; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _write_figures(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([row | {"epoch": int(row["epoch"])} for row in rows])
    write_text(path, text.getvalue())
