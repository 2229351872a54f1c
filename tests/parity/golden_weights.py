"""The golden networks: their sizes, and weights that are a function of each tensor's name."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from s5engine.model import NetworkConfig, UnetrSegformer

GOLDEN = Path(__file__).parent / "golden"

CONFIGS = {
    "tiny": NetworkConfig(
        tile=64,
        unetr_embed_dim=48,
        unetr_heads=3,
        unetr_layers=4,
        unetr_mlp_dim=64,
        unetr_filters=(32, 16, 8),
        unetr_stem=(16, 32),
        unetr_out_channels=8,
        segformer_widths=(8, 16, 24, 32),
        segformer_depths=(1, 1, 1, 1),
        segformer_heads=(1, 2, 3, 4),
        segformer_decoder_dim=32,
    ),
    "b3": NetworkConfig.preset("b3", mini_unetr=True),
    "full_unetr_b5": NetworkConfig.preset("b5", mini_unetr=False),
}


@cache
def golden_keys(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the checkpoint's tensors in order: name → (shape, dtype)."""
    with gzip.open(GOLDEN / f"keys_{name}.json.gz", "rt") as file:
        return {key: (tuple(shape), dtype) for key, (shape, dtype) in json.load(file).items()}


def golden_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the weights of one tensor: normal noise seeded by the name's CRC-32, then scaled.

    By the last part of the name: counters are 0; variances 1 + 0.2 |n|; means and biases 0.1 n;
    position embeddings 0.2 n; the scales of norms 1 + 0.1 n; all else 1.4 n / √(inputs per output).
    """
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if leaf == "running_var":
        values = 1 + 0.2 * np.abs(noise)
    elif leaf in ("running_mean", "bias"):
        values = 0.1 * noise
    elif leaf == "position_embeddings":
        values = 0.2 * noise
    elif len(shape) == 1:
        values = 1 + 0.1 * noise
    else:
        values = 1.4 * noise / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def golden_state_dict(name: str) -> dict[str, torch.Tensor]:
    """Return all weights of a golden network."""
    return {key: golden_tensor(key, shape) for key, (shape, _) in golden_keys(name).items()}


def golden_network(name: str) -> UnetrSegformer:
    """Return a golden network in eval mode."""
    with torch.device("meta"):
        network = UnetrSegformer(CONFIGS[name])
    network.load_state_dict(golden_state_dict(name), assign=True)
    return network.eval()


def golden_tile(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(1, 16, P, P)`` in [0, 1] and the ``(1, P/4, P/4)`` logits that belong to it."""
    with np.load(GOLDEN / f"model_{name}.npz") as arrays:
        tile, logits = arrays["tile"], arrays["logits"]
    return torch.from_numpy(tile).float()[None] / 255, torch.from_numpy(logits)[None]
