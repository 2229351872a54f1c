"""oneDNN's fused operations, for networks on a CPU: the same values with fewer passes of memory.

torch calls oneDNN for its convolutions, but leaves three things to `torch.compile`:

- an addition or a ReLU after a convolution can be done while its result is still in registers;
- a result can go where memory is already. What is larger than 32 MiB the C library otherwise maps
  anew each time, and the system fills its pages with zeros: a fifth of a large convolution's time;
- matrix products can go to oneDNN instead of the BLAS that torch was built with.

The operations are those that `torch.compile` itself puts into its code. Whatever is not plain
float32 in inference on a CPU (another device, autocast, tracing, shapes without values) takes
torch's usual operations, which are the twins in the tests.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

#: From here on the C library gives memory back to the system at once (glibc's largest threshold).
MAPPED = 32 * 2**20
_OPERATIONS = ("_convolution_pointwise", "_convolution_pointwise_", "_linear_pointwise")

_rooms = threading.local()


def _untyped(module: Any) -> Any:
    """Return a part of torch whose functions have no types."""
    return module


def _is_built_in() -> bool:
    there: bool = _untyped(torch.backends.mkldnn).is_available()
    return there and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)


_BUILT_IN = _is_built_in()


def usable(x: Tensor) -> bool:
    """Return whether oneDNN's operations can take the place of torch's for ``x``."""
    return bool(
        _BUILT_IN
        and type(x) is Tensor  # neither a parameter nor a shape without values
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not _untyped(torch.jit).is_tracing()
        and not torch.compiler.is_compiling()
    )


def conv_relu(x: Tensor, conv: nn.Conv3d, room: str | None = None) -> Tensor:
    """Return relu(conv(x)).

    Parameters
    ----------
    x : Tensor, shape (B, in, D, H, W)
    conv : Conv3d
        Stride 1; keeps the size.
    room : str, optional
        A large result may go into memory of this name that is kept for it. It is overwritten by
        the next result of this name in this thread.

    Returns
    -------
    Tensor, shape (B, out, D, H, W)
    """
    if not usable(x):
        return torch.relu_(conv(x))
    shape = (x.shape[0], conv.out_channels, *x.shape[2:])
    if room is None or 4 * x[:, 0].numel() * conv.out_channels <= MAPPED:
        out: Tensor = _op("_convolution_pointwise").default(
            x, conv.weight, conv.bias, *_geometry(conv), "relu", [], ""
        )
        return out
    return _add(_room(room, shape).zero_(), x, conv)


def add_conv_relu_(into: Tensor, x: Tensor, conv: nn.Conv3d) -> Tensor:
    """Return relu(into + conv(x)), computed in the memory of ``into``."""
    if not usable(x) or not into.is_contiguous(memory_format=torch.channels_last_3d):
        into += conv(x)
        return torch.relu_(into)
    return _add(into, x, conv)


class Linear(nn.Linear):
    """`nn.Linear`, its product by oneDNN where that can be."""

    @classmethod
    def of(cls, plain: nn.Linear) -> Linear:
        """Return one with the weights of a plain one."""
        made = cls(plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        made.weight, made.bias = plain.weight, plain.bias
        return made.train(plain.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b."""
        if not usable(x):
            return super().forward(x)
        return _product(x, self.weight, self.bias)


def use_for_linear(module: nn.Module) -> None:
    """Make every plain `nn.Linear` in ``module`` a `Linear`, its weights untouched."""
    for parent in tuple(module.modules()):
        for name, child in tuple(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Linear.of(child))


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = _op("_linear_pointwise").default(x, weight, bias, "none", [], "")
    return out


def _add(into: Tensor, x: Tensor, conv: nn.Conv3d) -> Tensor:
    out: Tensor = _op("_convolution_pointwise_").binary(
        into, x, conv.weight, conv.bias, *_geometry(conv), "add", 1.0, "relu", [], ""
    )
    return out


def _op(name: str) -> Any:
    return getattr(torch.ops.mkldnn, name)


def _geometry(conv: nn.Conv3d) -> tuple[list[int], list[int], list[int], int]:
    return [*conv.padding], [*conv.stride], [*conv.dilation], conv.groups


def _room(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return this thread's memory of a name, channels last; another shape replaces it."""
    held: dict[str, Tensor] = _rooms.__dict__
    if name not in held or held[name].shape != shape:
        held.pop(name, None)  # before its successor is made
        with torch.inference_mode(False):  # or nobody outside of it could write into it
            held[name] = torch.empty(shape, memory_format=torch.channels_last_3d)
    return held[name]
