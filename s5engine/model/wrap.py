"""Bring your own network: any callable on tiles becomes an `InkModel`."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from s5engine.errors import InvalidArgumentError
from s5engine.model.code_hash import code_hash
from s5engine.model.ink_model import InkModel, TileFunction


def wrap_model(
    callable: TileFunction, *, tile: int, layers: int = 16, reduction: int = 4
) -> InkModel:
    """Return an `InkModel` that asks ``callable`` for its logits.

    Parameters
    ----------
    callable : callable
        Takes float32 tiles ``(n, layers, tile, tile)`` in 0 … 1, returns float32 logits
        ``(n, tile / reduction, tile / reduction)``. A torch module runs on the device that its
        parameters are on and has to be in eval mode; anything else gets tensors on the CPU.
    tile : int
        Side of a tile, px.
    layers : int
        Layers that it reads.
    reduction : int
        Input pixels per ink pixel along one side; divides ``tile``.

    Raises
    ------
    InvalidArgumentError
        If the sizes do not fit, or it is not callable, or a module in training mode.
    """
    for name, value in (("tile", tile), ("layers", layers), ("reduction", reduction)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidArgumentError(f"{name} is a positive whole number, not {value!r}.")
    if tile % reduction:
        raise InvalidArgumentError(
            f"A tile of {tile} px cannot be reduced {reduction}-fold: it does not divide."
        )
    if not builtins.callable(callable):
        raise InvalidArgumentError(f"wrap_model needs a callable, not {callable!r}.")
    if isinstance(callable, nn.Module) and callable.training:
        raise InvalidArgumentError(
            f"{type(callable).__name__} is in training mode, where predictions are random.",
            "Call .eval() on it first.",
        )
    return WrappedModel(callable, tile=tile, layers=layers, reduction=reduction)


class WrappedModel(InkModel):
    """An `InkModel` around a callable; pickling it pickles the callable."""

    def __init__(self, function: TileFunction, *, tile: int, layers: int, reduction: int) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        super().__init__(
            tile=tile,
            layers=layers,
            reduction=reduction,
            device=_device_of(function),
            precision="float32",
            name=name,
            run=_checked(function, name, tile // reduction),
            plain=lambda: function,
        )
        self._function = function

    def _known(self) -> str | None:
        return code_hash(self._function)

    def with_precision(self, precision: str) -> InkModel:
        """Return this model; its precision is its own affair.

        Raises
        ------
        InvalidArgumentError
            If another one is asked for.
        """
        if precision not in ("auto", "float32"):
            raise InvalidArgumentError(
                f"The precision {precision!r} cannot be set for a wrapped callable.",
                "Use torch.autocast inside it.",
            )
        return self

    def __reduce__(self) -> tuple[Callable[..., InkModel], tuple[Any, ...]]:
        build = functools.partial(
            wrap_model, tile=self.tile, layers=self.layers, reduction=self.reduction
        )
        return build, (self._function,)


def _checked(function: TileFunction, name: str, side: int) -> TileFunction:
    """Return ``function`` with a check of what it returns."""

    def run(tiles: Tensor) -> Tensor:
        out: object = function(tiles)
        wanted = (len(tiles), side, side)
        if not isinstance(out, Tensor):
            raise InvalidArgumentError(
                f"The wrapped {name} returned a {type(out).__name__}, not a torch.Tensor."
            )
        if tuple(out.shape) != wanted or out.dtype != torch.float32:
            raise InvalidArgumentError(
                f"The wrapped {name} returned {tuple(out.shape)} of {out.dtype}, "
                f"not {wanted} of torch.float32.",
                "It takes float32 tiles (n, layers, tile, tile) and returns logits "
                "(n, tile / reduction, tile / reduction).",
            )
        return out

    return run


def _device_of(function: object) -> torch.device:
    if isinstance(function, nn.Module):
        for tensor in (*function.parameters(), *function.buffers()):
            return tensor.device
    return torch.device("cpu")
