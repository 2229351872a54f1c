"""UNETR-SF: 16 layers of papyrus in, an ink map at a quarter of the size out."""
# ruff: noqa: D102  (what `forward` does is what its class says it does)

from __future__ import annotations

import torch
from torch import Tensor, nn

from s5engine.model.config import NetworkConfig
from s5engine.model.segformer import SegFormer
from s5engine.model.unetr import UNETR

#: Share of the 3D part's channels that are dropped in training.
CHANNEL_DROPOUT = 0.2


class UnetrSegformer(nn.Module):
    """A 3D UNETR, the maximum over depth, and a 2D SegFormer.

    Parameters
    ----------
    config : NetworkConfig
        All sizes.

    Notes
    -----
    `forward` takes float32 ``(B, 1, layers, P, P)`` in [0, 1] and returns logits
    ``(B, P / 4, P / 4)``; their sigmoid is the ink.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = UNETR(config)
        self.dropout = nn.Dropout2d(CHANNEL_DROPOUT)
        self.encoder_2d = SegFormer(config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)  # (B, 1, D, P, P) → (B, C, D, P, P)
        x = torch.amax(x, dim=2)  # (B, C, P, P): where the ink lies in depth does not matter
        x = self.dropout(x)  # (B, C, P, P)
        x = self.encoder_2d(x)  # (B, 1, P/4, P/4)
        return x.squeeze(1)  # (B, P/4, P/4)
