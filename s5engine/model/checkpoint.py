"""Reading and writing the checkpoints of 2025: PyTorch Lightning's ``.ckpt`` files.

Nothing here contacts a network.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s5engine.address import local_file
from s5engine.atomic import atomic_write
from s5engine.errors import CheckpointError, CheckpointNotFoundError, InvalidArgumentError, WayOut
from s5engine.foreign import brief, reading
from s5engine.model.config import NetworkConfig
from s5engine.model.tensor_names import network_tensors
from s5engine.model.torch_file import load_plain, load_trusted
from s5engine.model.unetr_segformer import UnetrSegformer
from s5engine.model.weights import check_tensors

#: The Lightning whose file layout is written (its releases read each other's).
_LIGHTNING_VERSION = "2.5.1"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds, checked.

    Attributes
    ----------
    config : NetworkConfig
        The network's sizes.
    tensors : dict of Tensor
        The network's weights by the names of 2025; on the CPU, mapped from the file.
    contents : dict
        Everything in the file: ``epoch``, ``hyper_parameters``, optimizer states, …; numbers of
        numpy's as Python's own, what is neither a tensor nor a plain value as a placeholder.
    path : Path
    sha256 : str
        Of the file.
    """

    config: NetworkConfig
    tensors: dict[str, Tensor] = field(repr=False)
    contents: dict[str, Any] = field(repr=False)
    path: Path
    sha256: str

    def network(self) -> UnetrSegformer:
        """Return the plain network with these weights, on the CPU, in eval mode."""
        with torch.device("meta"):  # no weights are drawn that would be overwritten
            network = UnetrSegformer(self.config)
        wanted = network.state_dict()
        # Cloned, because the file behind a mapped tensor may change.
        weights = {
            name: self.tensors[name].to(like.dtype, copy=True).contiguous()
            for name, like in wanted.items()
        }
        network.load_state_dict(weights, assign=True)
        return network.eval()


def read_checkpoint(path: str | os.PathLike[str], *, trust: bool = False) -> Checkpoint:
    """Read and check a ``.ckpt`` file.

    Parameters
    ----------
    path : path-like
        The file.
    trust : bool
        If true, objects of any class are unpickled. This **runs code** that is in the file: only
        for files whose origin you trust. By default only tensors and plain values are read
        (numbers, texts, containers of them, numpy's numbers and arrays, paths).

    Raises
    ------
    CheckpointNotFoundError
        If there is no such file.
    CheckpointError
        If it is not a checkpoint, is damaged or cut off, holds another architecture, needs
        ``trust``, or its tensors do not fit or are not finite. The message names the file.
    """
    file = local_file(path, "checkpoint")
    name = f"The checkpoint {str(file)!r}"
    with reading(name, "Copy or download it again.", kind=CheckpointError):
        if not file.exists():
            raise CheckpointNotFoundError(f"There is no checkpoint at {str(file)!r}.")
        try:
            return _read(file, trust)
        except CheckpointError as error:
            if str(file) in error.what:
                raise
            raise CheckpointError(f"{name}: {error.what}", error.way_out) from error


def _read(file: Path, trust: bool) -> Checkpoint:
    contents, foreign = load_plain(file)
    if foreign and not trust:
        raise CheckpointError(
            f"{str(file)!r} holds more than tensors and plain values: objects of "
            f"{brief(foreign, 300)}.",
            WayOut(
                "Unpickling them can run code. If you trust where the file comes from, load it "
                "with trust=True.",
                "Unpickling them can run code. If you trust its origin, add --trust.",
            ),
        )
    if foreign:
        contents = load_trusted(file)
    for key in ("state_dict", "hyper_parameters"):
        if not isinstance(contents, Mapping) or key not in contents:
            raise CheckpointError(
                f"{str(file)!r} is a PyTorch file, but not a Lightning checkpoint: it holds no "
                f"{key!r}.",
                WayOut(
                    "Wrap a network of your own with s5.wrap_model(network, tile=…).",
                    "A network of your own is wrapped and run from Python: see the README.",
                ),
            )
    if not isinstance(contents["state_dict"], Mapping):
        kind = type(contents["state_dict"]).__name__
        raise CheckpointError(f"The state_dict in {str(file)!r} is a {kind}, not a dict.")
    config = NetworkConfig.from_hyper_parameters(_flat(contents["hyper_parameters"]))
    tensors = network_tensors(contents["state_dict"])
    check_tensors(tensors, config, file, file.stat().st_size)
    return Checkpoint(config, tensors, dict(contents), file, file_sha256(file))


def save_checkpoint(
    path: str | os.PathLike[str], network: torch.nn.Module, config: NetworkConfig, **extra: Any
) -> Path:
    """Write a network as a 2025 checkpoint, under its final name only when complete.

    Parameters
    ----------
    path : path-like
        The file; an existing one is replaced.
    network : Module
        A `UnetrSegformer`, compiled or not.
    config : NetworkConfig
        Its sizes.
    **extra
        Further entries, such as ``epoch``, ``global_step``, ``optimizer_states``; tensors and
        plain values only. ``hyper_parameters`` is merged with the sizes.

    Returns
    -------
    Path
        Where it lies.

    Raises
    ------
    InvalidArgumentError
        If an entry is not made of tensors and plain values: such a file could only be read back
        with ``trust=True``.
    CheckpointError
        If the network's tensors do not fit ``config`` or are not finite.
    """
    file = local_file(path, "checkpoint")
    tensors = {k: v.detach().cpu() for k, v in network_tensors(network.state_dict()).items()}
    check_tensors(tensors, config, file)
    contents = {
        "epoch": 0,
        "global_step": 0,
        **extra,
        "pytorch-lightning_version": _LIGHTNING_VERSION,
        "state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()},
        "hyper_parameters": {
            **extra.get("hyper_parameters", {}),
            **config.to_hyper_parameters(),
        },
    }
    with atomic_write(file) as partial:
        with partial.open("wb") as stream:
            torch.save(contents, stream)
        if foreign := _foreign_classes(partial):
            raise InvalidArgumentError(
                f"A checkpoint holds tensors and plain values, not objects of {foreign}.",
                "Convert them first, for example with float(…) or str(…).",
            )
    return file


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _foreign_classes(file: Path) -> list[str]:
    """Return the classes that no safe load of PyTorch's own would take."""
    return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(file)))


def _flat(parameters: Any) -> Mapping[str, Any]:
    """Return hyper-parameters as a mapping, also when they were saved as a namespace."""
    if isinstance(parameters, Mapping):
        return parameters
    if hasattr(parameters, "__dict__") and not isinstance(parameters, Tensor):
        return dict(vars(parameters))
    raise CheckpointError(
        f"The checkpoint's hyper_parameters are of type {type(parameters).__name__}, not a dict."
    )
