"""`InkModel`: tiles in, ink logits out. What the rest of the engine knows of networks."""

from __future__ import annotations

import copy
import functools
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from s5engine.errors import InvalidArgumentError
from s5engine.model.checkpoint import read_checkpoint
from s5engine.model.config import NetworkConfig
from s5engine.model.device_thread import run_on
from s5engine.model.devices import resolve_device, resolve_precision, running_on
from s5engine.model.fused import rewrite_for_inference
from s5engine.model.sources import FromCheckpoint, FromNetwork, FromSeed, Source
from s5engine.model.unetr_segformer import UnetrSegformer

TileFunction = Callable[[Tensor], Tensor]


class InkModel:
    """A network that shows ink, on one device, ready to run.

    Made by `load_checkpoint`, `build_model` or `wrap_model`, not by hand. It can be pickled: what
    travels is the path and the settings, and each process loads the network once.

    Attributes
    ----------
    tile : int
        Side of a tile, px.
    layers : int
        Layers of a tile.
    reduction : int
        Input pixels per ink pixel along one side.
    device : torch.device
        Where it runs.
    precision : {"float32", "float16", "bfloat16"}
        What products are computed in. Sums, norms and attention scores are float32 always.
    name : str
        For records and messages.
    sha256 : str or None
        Of the checkpoint file.
    config : NetworkConfig or None
        The network's sizes; None for a wrapped callable.
    """

    def __init__(
        self,
        *,
        tile: int,
        layers: int,
        reduction: int,
        device: torch.device,
        precision: str,
        name: str,
        run: TileFunction,
        plain: Callable[[], Any],
        origin: tuple[Source, str | torch.device | None] | None = None,
        config: NetworkConfig | None = None,
        sha256: str | None = None,
        asked: str = "auto",
    ) -> None:
        self.tile, self.layers, self.reduction = tile, layers, reduction
        self.device, self.precision = device, precision
        self.name, self.config, self.sha256 = name, config, sha256
        self._run, self._plain = run, plain
        self._origin, self._asked = origin, asked

    @cached_property
    def identity(self) -> str:
        """What tells this network from others: the same for the same weights and code.

        A callable that cannot be told from others gets another one in each process: what was
        begun with it cannot be gone on with.
        """
        known = self._known()
        return known or f"{self.name}, which cannot be told from others ({uuid.uuid4().hex[:8]})"

    def _known(self) -> str | None:
        return None if self._origin is None else self._origin[0].identity

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        sizes = self.tile, self.layers, self.reduction
        return "s5engine-model", self.identity, sizes, self.precision, str(self.device)

    @property
    def network(self) -> Any:
        """The plain torch module (or the wrapped callable), for training or a closer look.

        `logits` runs a rewritten copy, so changing these weights does not change the predictions:
        hand a changed network to `from_network`. It is built, on the CPU, when first asked for.
        """
        return self._plain()

    def logits(self, tiles: Tensor) -> Tensor:
        """Return the ink logits of a batch of tiles.

        Parameters
        ----------
        tiles : Tensor, shape (n, layers, P, P), float32
            Contrasted layers, 0 … 1, on any device.

        Returns
        -------
        Tensor, shape (n, P / reduction, P / reduction), float32
            On the model's device. Ink is the sigmoid.

        Raises
        ------
        InvalidArgumentError
            If the shape or dtype is another one, or a wrapped callable returns something else.

        Notes
        -----
        What else is in the batch does not matter: on a CPU a tile's logits were the same to the
        bit whatever its companions, in batches of one size. Another batch size or number of
        threads makes torch choose other summation orders: up to 6e-6 on logits of up to 5.3
        (small UNETR with SegFormer b3). Batches of one fixed size therefore give results that do
        not depend on how the tiles are grouped. On a CPU a batch of one is slower per tile than
        two, because torch then takes its slow path for the smallest 3D convolutions.
        """
        self._check_input(tiles)
        if not len(tiles):
            side = self.tile // self.reduction
            return torch.zeros(0, side, side, device=self.device)

        def work() -> Tensor:
            with running_on(self.device, self.precision):
                out = self._run(tiles.to(self.device, non_blocking=True))
                return out.float()

        return run_on(str(self.device), work)

    def probabilities(self, tiles: Tensor) -> Tensor:
        """Return the ink, 0 … 1: the sigmoid of `logits`, of the same shape and dtype."""
        return run_on(str(self.device), lambda: torch.sigmoid(self.logits(tiles)))

    def with_precision(self, precision: str) -> InkModel:
        """Return this model, computing in another precision; the weights are shared.

        Parameters
        ----------
        precision : {"auto", "float32", "float16", "bfloat16"}
            ``"auto"`` is float16 on CUDA and float32 elsewhere.

        Raises
        ------
        InvalidArgumentError
            If the device does not compute in it.
        """
        return InkModel(
            tile=self.tile,
            layers=self.layers,
            reduction=self.reduction,
            device=self.device,
            precision=resolve_precision(precision, self.device),
            asked=precision,
            name=self.name,
            run=self._run,
            plain=self._plain,
            origin=self._origin,
            config=self.config,
            sha256=self.sha256,
        )

    def __reduce__(self) -> tuple[Callable[..., InkModel], tuple[Any, ...]]:
        if self._origin is None:
            raise TypeError(f"{self!r} does not say where it comes from, so it cannot be pickled.")
        return _restore, (*self._origin, self._asked)

    def __repr__(self) -> str:
        return (
            f"<InkModel {self.name}: {self.layers} × {self.tile} × {self.tile} px → "
            f"{self.tile // self.reduction} × {self.tile // self.reduction}, "
            f"{self.device}, {self.precision}>"
        )

    def _check_input(self, tiles: Tensor) -> None:
        wanted = (self.layers, self.tile, self.tile)
        if not isinstance(tiles, Tensor):
            raise InvalidArgumentError(
                f"Tiles are a torch.Tensor, not a {type(tiles).__name__}.",
                "Use torch.from_numpy(array).",
            )
        if tiles.dim() != 4 or tuple(tiles.shape[1:]) != wanted or tiles.dtype != torch.float32:
            raise InvalidArgumentError(
                f"{self.name} takes tiles (n, {', '.join(map(str, wanted))}) of float32 in 0 … 1, "
                f"not {tuple(tiles.shape)} of {tiles.dtype}."
            )


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    trust: bool = False,
) -> InkModel:
    """Load a UNETR-SF checkpoint of 2025 (or one of this package), ready for inference.

    Parameters
    ----------
    path : path-like
        A Lightning ``.ckpt`` file. Nothing is downloaded.
    device : str or torch.device, optional
        Where to run: by default the first of CUDA, MPS and CPU that is there.
    trust : bool
        Unpickle objects of any class, which can run code: only for files of known origin.

    Raises
    ------
    CheckpointNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a checkpoint of this architecture, or damaged, or needs ``trust``.
    InvalidArgumentError
        If the device is not available.
    """
    where = resolve_device(device)
    checkpoint = run_on(str(where), lambda: read_checkpoint(path, trust=trust))
    source = FromCheckpoint(checkpoint.path.absolute(), checkpoint.sha256, checkpoint.config, trust)
    return _cached(source, device, checkpoint.network)


def build_model(
    config: NetworkConfig, *, seed: int, device: str | torch.device | None = None
) -> InkModel:
    """Return an untrained model: the same weights for the same ``seed`` and version of torch."""
    source = FromSeed(config, seed)
    return _cached(source, device, source.network)


def from_network(
    network: UnetrSegformer,
    *,
    name: str = "network",
    device: str | torch.device | None = None,
) -> InkModel:
    """Return a model that predicts with the weights that ``network`` has now.

    ``network`` is neither changed nor kept in step: call it again after more training. Pickling
    this model pickles the weights; for other processes save a checkpoint and load that.
    """
    frozen = copy.deepcopy(network).cpu().eval()
    source = FromNetwork(frozen, name)
    return run_on(str(resolve_device(device)), lambda: _assemble(source, device, frozen))


#: The models that this process has loaded for unpickled copies, the latest last. Two: one for now
#: and one that is being replaced.
_CACHE_SIZE = 2
_cache: OrderedDict[tuple[Any, ...], InkModel] = OrderedDict()
_cache_lock = threading.Lock()


def _restore(source: Source, device: str | torch.device | None, precision: str) -> InkModel:
    """Rebuild a pickled model, or return the one that this process has already."""
    return _cached(source, device, source.network).with_precision(precision)


def _cached(
    source: Source, device: str | torch.device | None, build: Callable[[], UnetrSegformer]
) -> InkModel:
    key = (source, str(device))
    with _cache_lock:  # held while loading: threads that need the same model wait for it
        if key not in _cache:
            owner = str(resolve_device(device))
            _cache[key] = run_on(owner, lambda: _assemble(source, device, build()))
            while len(_cache) > _CACHE_SIZE:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]


def _assemble(source: Source, device: str | torch.device | None, plain: UnetrSegformer) -> InkModel:
    """Rewrite ``plain`` for inference and put it on its device."""
    where = resolve_device(device)
    config = source.config
    network = rewrite_for_inference(plain).to(where)

    def run(tiles: Tensor) -> Tensor:
        out: Tensor = network(tiles.unsqueeze(1))  # (n, 1, layers, P, P) → (n, P/4, P/4)
        return out

    return InkModel(
        tile=config.tile,
        layers=config.layers,
        reduction=config.reduction,
        device=where,
        precision=resolve_precision("auto", where),
        name=source.name,
        run=run,
        plain=functools.cache(source.network),
        origin=(source, device),
        config=config,
        sha256=source.sha256,
    )
