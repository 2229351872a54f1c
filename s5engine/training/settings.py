"""How a network is trained: every number of it, checked, from TOML or from keywords."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from s5engine.errors import InvalidArgumentError
from s5engine.model.config import NetworkConfig
from s5engine.settings_file import read_toml
from s5engine.training.augment import AugmentSettings

LOGGERS = ("csv", "tensorboard", "wandb")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of a training; the defaults are those of 2025.

    Parameters
    ----------
    epochs, batch : int
        Passes over the training tiles; tiles per step.
    lr, min_lr : float
        Learning rate of AdamW at the start and at the end of the cosine.
    warmup_steps : int
        Steps in which the learning rate rises linearly first.
    weight_decay : float
    clip : float
        Largest norm of the gradient.
    smoothing, bce_weight, dice_weight : float
        As `masked_dice_bce` takes them.
    min_ink : int
        Least ink of a tile that counts as one with ink, percent.
    blank_ratio : float
        Tiles without ink for each tile with ink.
    validation : float
        Share of the tiles that validate, drawn at random. Neighbouring tiles overlap: the honest
        measure are whole parts.
    validation_parts : tuple of str
        Parts ``<segment>_<NN>`` whose tiles validate, instead of a random share.
    windows : tuple of int
        First layers of the layer windows that tiles are taken from, one at random at each draw;
        the middle one validates. Empty: the tileset has just the network's layers.
    dropout : float or None
        Of all dropout modules; None leaves the network's own.
    precision : {"auto", "float32", "float16", "bfloat16"}
        ``"auto"`` is mixed float16 on CUDA and float32 elsewhere.
    workers : int
        Processes that read tiles; 0 reads in this one.
    keep_best : int
        How many checkpoints are kept, by validation IoU.
    pictures : int
        Validation tiles that are shown after each epoch.
    seed : int
        Of weights, order, windows, augmentation and dropout.
    loggers : tuple of {"csv", "tensorboard", "wandb"}
    augment : AugmentSettings
    network : NetworkConfig or None
        Sizes of a new network; None for those of 2025.

    Raises
    ------
    InvalidArgumentError
        If a value is out of its range; the message names it.
    """

    epochs: int = 50
    batch: int = 32
    lr: float = 2e-4
    min_lr: float = 1e-6
    warmup_steps: int = 0
    weight_decay: float = 1e-3
    clip: float = 1.0
    smoothing: float = 0.1
    bce_weight: float = 0.5
    dice_weight: float = 0.5
    min_ink: int = 5
    blank_ratio: float = 0.75
    validation: float = 0.05
    validation_parts: tuple[str, ...] = ()
    windows: tuple[int, ...] = ()
    dropout: float | None = None
    precision: str = "auto"
    workers: int = 0
    keep_best: int = 3
    pictures: int = 8
    seed: int = 0
    loggers: tuple[str, ...] = ("csv", "tensorboard")
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    network: NetworkConfig | None = None

    def __post_init__(self) -> None:
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            fits = isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
            if not fits and not (name == "dropout" and value is None):
                what = "a whole number" if kind is int else "a number"
                raise InvalidArgumentError(f"{name} is {what} in [{low}, {high}], not {value!r}.")
        if self.min_lr > self.lr:
            raise InvalidArgumentError(f"min_lr {self.min_lr} is above lr {self.lr}.")
        if self.precision not in PRECISIONS:
            raise InvalidArgumentError(f"precision is one of {PRECISIONS}, not {self.precision!r}.")
        if not set(self.loggers) <= set(LOGGERS):
            raise InvalidArgumentError(f"loggers are some of {LOGGERS}, not {self.loggers!r}.")

    def flat(self) -> dict[str, Any]:
        """Return the settings as one flat dict of plain values, for a checkpoint."""
        values = asdict(self)
        values.pop("network")
        augment = {f"augment_{key}": value for key, value in values.pop("augment").items()}
        lists = {k: list(v) if isinstance(v, tuple) else v for k, v in (values | augment).items()}
        return lists


_BIG = 10**9
#: Type and range of each number.
_RANGES: dict[str, tuple[Any, float, float]] = {
    "epochs": (int, 1, _BIG),
    "batch": (int, 2, _BIG),
    "lr": (int | float, 0, 10),
    "min_lr": (int | float, 0, 10),
    "warmup_steps": (int, 0, _BIG),
    "weight_decay": (int | float, 0, 10),
    "clip": (int | float, 0, _BIG),
    "smoothing": (int | float, 0, 1),
    "bce_weight": (int | float, 0, _BIG),
    "dice_weight": (int | float, 0, _BIG),
    "min_ink": (int, 1, 100),
    "blank_ratio": (int | float, 0, _BIG),
    "validation": (int | float, 0, 1),
    "dropout": (int | float, 0, 0.999),
    "workers": (int, 0, 1024),
    "keep_best": (int, 1, 1000),
    "pictures": (int, 0, 64),
    "seed": (int, 0, 2**32 - 1),
}


def read_train_settings(path: str | Path) -> TrainSettings:
    """Read the settings of a training from a TOML file; every key is checked.

    Parameters
    ----------
    path : str or Path
        Keys are the fields of `TrainSettings`; ``[augment]`` and ``[network]`` are tables with the
        fields of `AugmentSettings` and `NetworkConfig`.

    Raises
    ------
    InvalidArgumentError
        If the file is missing or not TOML, or a key is unknown or out of its range.
    """
    where, values = read_toml(path)
    tables: dict[str, Any] = {"augment": AugmentSettings, "network": NetworkConfig}
    for name in tables.keys() & values.keys():
        values[name] = _made(tables[name], values[name], f"{where}: [{name}]")
    settings: TrainSettings = _made(TrainSettings, values, str(where))
    return settings


def make_settings(base: TrainSettings | None, options: Mapping[str, Any]) -> TrainSettings:
    """Return settings with some fields replaced.

    Raises
    ------
    InvalidArgumentError
        If a field is unknown or its value out of range.
    """
    given = TrainSettings() if base is None else base
    kept = {f.name: getattr(given, f.name) for f in fields(given)}
    made: TrainSettings = _made(TrainSettings, kept | dict(options), "train")
    return made


def _made(kind: Any, values: Any, where: str) -> Any:
    """Build a dataclass from plain values; lists become tuples."""
    known = sorted(f.name for f in fields(kind))
    unknown = sorted(set(values) - set(known)) if isinstance(values, Mapping) else [values]
    if unknown:
        raise InvalidArgumentError(f"{where}: unknown keys {unknown}.", f"The keys are {known}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
