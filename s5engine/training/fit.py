"""Train a network on a tileset, epoch by epoch, so that it can be killed."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import local_file
from s5engine.atomic import write_json
from s5engine.console import progress as show_progress
from s5engine.console import say
from s5engine.errors import (
    CheckpointError,
    InvalidArgumentError,
    MissingExtraError,
    S5Error,
    StoreError,
    afresh,
)
from s5engine.foreign import reading
from s5engine.model.config import NetworkConfig
from s5engine.runtime.journal import Journal
from s5engine.runtime.same_work import as_json
from s5engine.training.sampling import Split, balance, split_tiles
from s5engine.training.settings import TrainSettings, make_settings
from s5engine.training.tileset import Tileset

if TYPE_CHECKING:
    import torch

    from s5engine.model.unetr_segformer import UnetrSegformer

_JOURNAL, RECORD = "progress.jsonl", "train.json"
_FOLDERS = ("checkpoints", "tensorboard", "pictures", "wandb")
_FILES = (RECORD, "metrics.csv")
#: Lightning's names of our precisions, which it types as literals.
_LIGHTNING_PRECISION: dict[str, Any] = {
    "float32": "32-true",
    "float16": "16-mixed",
    "bfloat16": "bf16-mixed",
}


@dataclass(frozen=True)
class _Job:
    """All that a training needs, checked."""

    tileset: Tileset
    folder: Path
    settings: TrainSettings
    config: NetworkConfig
    split: Split
    windows: list[slice]
    device: torch.device
    precision: str
    start: UnetrSegformer | None


def train(
    tileset: Tileset,
    directory: str | Path = "out/train",
    *,
    network: NetworkConfig | None = None,
    checkpoint: str | Path | None = None,
    settings: TrainSettings | None = None,
    device: str | torch.device | None = None,
    resume: bool = True,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Train a UNETR-SF on a tileset and return its best checkpoint.

    As in 2025: AdamW, a cosine schedule, clipped gradients, mixed precision on CUDA, `balance` and
    `split_tiles`, `masked_dice_bce` on the sigmoid, and the best checkpoints by validation IoU.

    Parameters
    ----------
    tileset : Tileset
        Best packed, see `build_tileset`.
    directory : str or Path
        Gets ``checkpoints/`` (the best ones and ``last.ckpt``), ``metrics.csv``, ``tensorboard/``,
        ``pictures/epoch_NN.png`` (layer, label, prediction) and ``train.json``.
    network : NetworkConfig, optional
        Sizes of a new network; by default the settings', or those of 2025 for the tileset's tile.
    checkpoint : path-like, optional
        Fine-tune: start from its weights, with a fresh optimizer. Its sizes are used.
    settings : TrainSettings, optional
    device : str or torch.device, optional
        By default the first of CUDA, MPS and CPU that is there.
    resume : bool
        Go on after the last finished epoch of an interrupted training, with the same figures as if
        it had not been interrupted; a finished one is returned. False starts afresh.
    progress : bool
        Show how far it is.
    **options
        Fields of `TrainSettings` that replace those of ``settings``.

    Returns
    -------
    Path
        The checkpoint with the highest validation IoU; `load_checkpoint` reads it.

    Raises
    ------
    InvalidArgumentError
        If settings, layers or tiles do not fit each other, or no tile has ink.
    CheckpointError
        If ``checkpoint`` does not fit the tileset.
    ResumeError
        If the directory holds a training with other settings.
    StoreError
        If the directory holds something else or cannot be written.
    TrainingError
        If the loss becomes NaN or infinite.
    MissingExtraError
        If Lightning is not installed.
    """
    place = local_file(directory, "training")
    job = _prepare(tileset, place, network, checkpoint, settings, device, options)
    told = _told(job, checkpoint)
    folder = job.folder
    foreign = [name for name in (*_FOLDERS, *_FILES) if (folder / name).exists()]
    if foreign and not (folder / _JOURNAL).exists():
        raise StoreError(
            f"{folder} holds {', '.join(foreign)}, but not the journal of a training.",
            "Choose another folder, or move them away.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Journal.open(folder / _JOURNAL, told, resume=resume) as journal:
            best = _finished(folder) if journal.is_complete else None
            if best is None:
                if not journal.units:
                    _clear(folder)
                best = _fit(job, told, journal, progress)
                journal.complete()
    except S5Error:
        raise
    except OSError as error:
        raise StoreError(
            f"The training in {folder} cannot be written: {error}.",
            "Make room or check the rights, then run the same command to go on.",
        ) from error
    if progress:
        say(f"train: {best}")
    return best


def _prepare(
    tileset: Tileset,
    folder: Path,
    network: NetworkConfig | None,
    checkpoint: str | Path | None,
    settings: TrainSettings | None,
    device: str | torch.device | None,
    options: dict[str, Any],
) -> _Job:
    """Check everything before anything is written."""
    chosen = make_settings(settings, options)
    _check_packages(chosen)
    from s5engine.model.checkpoint import read_checkpoint
    from s5engine.model.devices import resolve_device, resolve_precision
    from s5engine.training.data import window_positions

    where = resolve_device(device)
    start = None
    if checkpoint is not None:
        if network is not None:
            raise InvalidArgumentError("Give either network or checkpoint: both say the sizes.")
        start = read_checkpoint(checkpoint).network()
    config = start.config if start else network or chosen.network
    config = config or NetworkConfig(tile=tileset.tile)
    if config.tile != tileset.tile:
        kind = CheckpointError if start else InvalidArgumentError
        raise kind(
            f"The network takes tiles of {config.tile} px and the tileset has {tileset.tile} px.",
            "Build the tileset with the network's tile size.",
        )
    windows = window_positions(tileset, chosen.windows, config.layers)
    picked = balance(
        tileset, min_ink=chosen.min_ink, blank_ratio=chosen.blank_ratio, seed=chosen.seed
    )
    split = split_tiles(
        tileset,
        picked,
        fraction=chosen.validation,
        parts=chosen.validation_parts,
        seed=chosen.seed,
    )
    if len(split.train) < chosen.batch:
        raise InvalidArgumentError(
            f"{len(split.train)} tiles are left for training, less than one batch of "
            f"{chosen.batch}.",
            "Label more, or choose a smaller batch.",
        )
    precision = resolve_precision(chosen.precision, where)
    return _Job(tileset, folder, chosen, config, split, windows, where, precision, start)


def _check_packages(settings: TrainSettings) -> None:
    """Tell what is not installed."""
    from importlib.util import find_spec

    needed = {"lightning": "lightning", "torchmetrics": "torchmetrics"}
    loggers = {"tensorboard": "tensorboard", "wandb": "wandb"}
    needed |= {module: name for name, module in loggers.items() if name in settings.loggers}
    missing = [module for module in needed if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"Training needs {', '.join(missing)}, which is not installed.",
            'Run pip install "s5engine[train]"'
            + (" wandb." if "wandb" in missing else ", or leave out that logger."),
        )


def _told(job: _Job, checkpoint: str | Path | None) -> dict[str, Any]:
    """Return what the result depends on, as JSON values."""
    from s5engine.model.checkpoint import file_sha256

    tiles = np.concatenate([job.split.train, [-1], job.split.validation])
    return as_json(
        {
            **job.settings.flat(),
            "network": job.config.to_hyper_parameters(),
            "tileset": job.tileset.record,
            "tiles": [len(job.split.train), len(job.split.validation), int(np.sum(tiles))],
            "from": checkpoint and file_sha256(local_file(checkpoint, "checkpoint")),
            "device": job.device.type,
        }
    )


def _finished(folder: Path) -> Path | None:
    """Return the best checkpoint of a finished training; None if it is gone."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    best = folder / "checkpoints" / str(record.get("best"))
    return best if best.is_file() else None


def _clear(folder: Path) -> None:
    """Remove what an earlier attempt without a finished epoch may have left."""
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)


def _fit(job: _Job, told: dict[str, Any], journal: Journal, progress: bool) -> Path:
    """Run the epochs that the journal lacks."""
    import lightning
    import torch

    from s5engine.model.unetr_segformer import UnetrSegformer
    from s5engine.training.callbacks import Checkpoints, Figures, Pictures, Progress
    from s5engine.training.loaders import Loaders
    from s5engine.training.module import InkModule

    s = job.settings
    torch.manual_seed(s.seed)
    network = job.start or UnetrSegformer(job.config)
    loaders = Loaders(job.tileset, job.split, job.windows, s)
    module = InkModule(network, s, steps=loaders.steps * s.epochs)
    keeper = Checkpoints(job.folder / "checkpoints", s.keep_best, journal)
    if progress:
        say(
            f"train: {len(job.split.train)} tiles, {len(job.split.validation)} to validate, on "
            f"{job.device}, {job.precision}; results in {job.folder}"
        )
    done = len(journal) * loaders.steps
    with (
        show_progress("train", s.epochs * loaders.steps, "steps", done=done, enabled=progress) as m,
        _quiet(),
    ):
        csv_path = job.folder / "metrics.csv" if "csv" in s.loggers else None
        trainer = lightning.Trainer(
            accelerator={"cuda": "gpu"}.get(job.device.type, job.device.type),
            devices=[job.device.index or 0] if job.device.type == "cuda" else 1,
            precision=_LIGHTNING_PRECISION[job.precision],
            max_epochs=s.epochs,
            gradient_clip_val=s.clip or None,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=job.folder,
            logger=_loggers(job),
            callbacks=[
                Progress(m),
                Figures(csv_path, progress),
                Pictures(job.folder / "pictures", loaders.shown()),
                keeper,
            ],
        )
        last = _readable(keeper.last) if journal.units else None
        trainer.fit(module, loaders, ckpt_path=last)
    best = Path(keeper.best_model_path)
    figures = {"best": best.name, "val_iou": float(keeper.best_model_score or 0)}
    write_json(job.folder / RECORD, figures | {"settings": told})
    return best


def _readable(last: Path) -> Path:
    """Return the file that a training goes on from, if it can be read.

    Raises
    ------
    CheckpointError
        If it is missing, empty, cut off or damaged.
    """
    from s5engine.model.torch_file import load_plain

    fix = afresh("Put it back, or start afresh", ": best-checkpoint-….ckpt are kept by name")
    if not last.is_file():
        raise CheckpointError(f"{last}, from which the training goes on, is missing.", fix)
    with reading(f"{last}, from which the training goes on,", fix, kind=CheckpointError):
        load_plain(last)
    return last


def _loggers(job: _Job) -> Any:
    """Return Lightning's loggers; ``metrics.csv`` is written by `Figures`."""
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    found: list[Any] = []
    if "tensorboard" in job.settings.loggers:
        found.append(TensorBoardLogger(job.folder, name="tensorboard", version=""))
    if "wandb" in job.settings.loggers:
        found.append(WandbLogger(project="s5engine", save_dir=job.folder))
    return found or False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice off the screen: this package says itself what a person needs."""
    names = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities")
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists.*")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
