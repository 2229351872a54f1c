"""Where and how precisely a network runs: device and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from s5engine.errors import InvalidArgumentError

#: What `resolve_precision` takes: "auto" is float16 on CUDA and float32 elsewhere.
PRECISIONS = ("auto", "float32", "float16", "bfloat16")

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_SUPPORTED = {"cuda": PRECISIONS, "cpu": ("auto", "float32", "bfloat16")}


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device to run on: the one asked for, or the first of CUDA, MPS, CPU.

    Raises
    ------
    InvalidArgumentError
        If the device that was asked for is not there. It is never replaced by another.
    """
    available = _available()
    if device is None:
        return torch.device(available[0])
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise InvalidArgumentError(
            f"{device!r} is not a device.", f"Here there are {available}."
        ) from None
    names = [torch.device(name) for name in available]
    same_kind = [name for name in names if name.type == wanted.type]
    if not same_kind or (
        wanted.index is not None and wanted.type != "cpu" and wanted not in same_kind
    ):
        raise InvalidArgumentError(
            f"The device {str(wanted)!r} is not available: this PyTorch ({torch.__version__}) "
            f"sees {available}.",
            "Leave device out to take the first of them, or name one.",
        )
    return same_kind[0] if wanted.index is None or wanted.type == "cpu" else wanted


def _available() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if cuda:  # the user's own choice of the current one comes first
        cuda.insert(0, cuda.pop(torch.cuda.current_device()))
    mps = ["mps:0"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return ``"float32"``, ``"float16"`` or ``"bfloat16"`` for ``device``.

    Raises
    ------
    InvalidArgumentError
        If the name is none of `PRECISIONS`, or the device does not compute in it.
    """
    supported = _SUPPORTED.get(device.type, ("auto", "float32"))
    if precision not in supported:
        known = "is not computed on" if precision in PRECISIONS else "is unknown on"
        raise InvalidArgumentError(
            f"The precision {precision!r} {known} {device.type}.", f"Choose one of {supported}."
        )
    if precision != "auto":
        return precision
    return "float16" if device.type == "cuda" else "float32"


@contextmanager
def running_on(device: torch.device, precision: str) -> Iterator[None]:
    """Compute on ``device``, in ``precision``; for the thread that owns it.

    Reduced precision is torch's autocast: products in 16 bits, sums and norms in float32.
    """
    with torch.inference_mode():
        if precision in _DTYPES:
            with torch.autocast(device.type, dtype=_DTYPES[precision]):
                yield
        else:
            with _true_float32() if device.type == "cuda" else nullcontext():
                yield


@contextmanager
def _true_float32() -> Iterator[None]:
    # cuDNN would otherwise round the inputs of float32 convolutions to 10 bits (TF32).
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
