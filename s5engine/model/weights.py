"""Whether the tensors of a checkpoint are the weights of the network that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s5engine.errors import CheckpointError
from s5engine.model.config import NetworkConfig
from s5engine.model.unetr_segformer import UnetrSegformer

#: How many tensor names an error shows, and how long one may be.
_SHOWN, _LONGEST_NAME = 4, 120
#: What weights may be stored as.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Weights may take this much more than their file, for those that share a storage.
_SLACK = 16 * 2**20


def check_tensors(
    tensors: Mapping[str, Any], config: NetworkConfig, file: Path, length: int | None = None
) -> None:
    """Check that ``tensors`` are the weights of the network of ``config``, all of them finite.

    Nothing is made whose size only the configuration claims, or tensors that are more than a file
    of ``length`` bytes can hold.

    Raises
    ------
    CheckpointError
        If they are not; the message names tensors and ``file``.
    """
    blocks = config.unetr_layers + sum(config.segformer_depths)
    if blocks > len(tensors):
        raise CheckpointError(
            f"The tensors in {str(file)!r} do not fit the network that its hyper-parameters "
            f"describe: they are {len(tensors)}, and it has {blocks} blocks (unetr_layers "
            f"{config.unetr_layers}, segformer_depths {config.segformer_depths})."
        )
    with torch.device("meta"):
        wanted = UnetrSegformer(config).state_dict()
    problems = [
        _listed("missing", [name for name in wanted if name not in tensors]),
        _listed("unexpected", [name for name in tensors if name not in wanted]),
        _listed("of another kind or shape", _misfits(tensors, wanted)),
    ]
    if any(problems):
        raise CheckpointError(
            f"The tensors in {str(file)!r} do not fit the network that its hyper-parameters "
            f"describe: {'; '.join(filter(None, problems))}."
        )
    size = sum(tensor.nbytes for tensor in tensors.values())
    if length is not None and size > length + _SLACK:
        raise CheckpointError(
            f"The tensors in {str(file)!r} claim {size} bytes, and the file has {length}."
        )
    bad = [n for n, like in wanted.items() if not _finite(tensors[n], like.dtype)]
    if bad:
        raise CheckpointError(
            f"{_listed('tensors with NaN or infinite weights', bad)} in {str(file)!r}.",
            "The training that wrote them had diverged; take an earlier checkpoint.",
        )


def _finite(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Return whether all numbers are finite, also as ``dtype``."""
    return not dtype.is_floating_point or bool(torch.isfinite(tensor.to(dtype)).all())


def _misfits(tensors: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> list[str]:
    misfits = []
    for name in wanted.keys() & tensors.keys():
        given, like = tensors[name], wanted[name]
        if fault := _fault(given, like):
            misfits.append(f"{name} {fault}")
    return sorted(misfits)


def _fault(given: Any, like: Tensor) -> str:
    """Return what is the matter with one tensor of a file; nothing if it fits."""
    if not isinstance(given, Tensor):
        return f"(a {_kind(given)})"
    if given.layout != torch.strided or given.is_quantized or given.device.type == "meta":
        return f"(a tensor that is sparse, quantised or empty: {given.layout})"
    if given.shape != like.shape:
        return f"{tuple(given.shape)} instead of {tuple(like.shape)}"
    number = (
        given.dtype in _FLOATS
        if like.is_floating_point()
        else not (given.is_floating_point() or given.is_complex())
    )
    return "" if number else f"{given.dtype} instead of {like.dtype}"


def _kind(value: Any) -> str:
    """Return what stands in a tensor's place, in a few words."""
    name = str(getattr(value, "name", type(value).__name__))
    known = {"qtensor": "quantised tensor", "sparse": "sparse tensor", "meta": "meta tensor"}
    return next((words for part, words in known.items() if f"_rebuild_{part}" in name), name[:80])


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f", … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = ", ".join(name[:_LONGEST_NAME] for name in names[:_SHOWN])
    return f"{len(names)} {what}: {shown}{more}"
