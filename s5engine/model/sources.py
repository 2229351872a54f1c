"""Where a model's weights come from: what an `InkModel` needs to be built again elsewhere.

A source is small and pickles (but for a network held in memory); the model itself never travels.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from s5engine.errors import CheckpointError, WayOut
from s5engine.model.checkpoint import read_checkpoint
from s5engine.model.code_hash import code_hash
from s5engine.model.config import NetworkConfig
from s5engine.model.unetr_segformer import UnetrSegformer


class Source(Protocol):
    """Builds the plain network of ``config``, on the CPU, in eval mode."""

    @property
    def config(self) -> NetworkConfig:
        """The network's sizes."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def sha256(self) -> str | None:
        """Of the checkpoint file, if there is one."""

    @property
    def identity(self) -> str | None:
        """The same for the same weights, wherever they lie; None if that is not known."""

    def network(self) -> UnetrSegformer:
        """Build the network."""


@dataclass(frozen=True)
class FromCheckpoint:
    """A checkpoint file, and what it was when it was first read."""

    path: Path
    sha256: str
    config: NetworkConfig
    trust: bool = False

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.name.removesuffix(".ckpt")

    @property
    def identity(self) -> str:
        """The file's SHA-256."""
        return self.sha256

    def network(self) -> UnetrSegformer:
        """Read the file again.

        Raises
        ------
        CheckpointError
            If it is not the file any more that it was.
        """
        checkpoint = read_checkpoint(self.path, trust=self.trust)
        if checkpoint.sha256 != self.sha256:
            raise CheckpointError(
                f"The checkpoint {str(self.path)!r} was replaced: its SHA-256 was "
                f"{self.sha256[:12]}… and is {checkpoint.sha256[:12]}… now.",
                WayOut(
                    "Load it again with s5.load_checkpoint, or put the first file back.",
                    "Put the first file back, or run the same command again.",
                ),
            )
        return checkpoint.network()


@dataclass(frozen=True)
class FromSeed:
    """An untrained network: the same weights for the same seed and version of torch."""

    config: NetworkConfig
    seed: int
    sha256: None = None

    @property
    def name(self) -> str:
        """Says that nothing was learned."""
        return f"untrained-{self.config.model_type}-seed-{self.seed}"

    @property
    def identity(self) -> str:
        """All that the weights are drawn from."""
        return f"seed {self.seed} of torch {torch.__version__} for {self.config}"

    def network(self) -> UnetrSegformer:
        """Draw the weights, on the CPU, leaving torch's global generator as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return UnetrSegformer(self.config).eval()


@dataclass(frozen=True)
class FromNetwork:
    """A network held in memory; pickling it pickles its weights."""

    plain: UnetrSegformer = field(repr=False, compare=False)
    name: str
    sha256: None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def config(self) -> NetworkConfig:
        """The network's sizes."""
        return self.plain.config

    @property
    def identity(self) -> str | None:
        """A hash of the weights and of the code."""
        return code_hash(self.plain)

    def network(self) -> UnetrSegformer:
        """Return it as it is."""
        return self.plain
