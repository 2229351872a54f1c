"""Scaled dot-product attention with its scores in float32, for both transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return ``(B, N, C)`` tokens as ``(B, heads, N, C / heads)``."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: nn.Module | None = None) -> Tensor:
    """Return softmax(q kᵀ / √d) v (Vaswani et al. 2017, equation 1).

    Parameters
    ----------
    query : Tensor, shape (B, heads, N, d)
    key, value : Tensor, shape (B, heads, M, d)
    dropout : Module, optional
        Applied to the attention weights.

    Returns
    -------
    Tensor, shape (B, N, heads * d), dtype of ``value``
    """
    # Sums of products leave float16's range long before the softmax can bring them back.
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ key.float().transpose(-1, -2)  # (B, heads, N, M)
        weights = torch.softmax(scores * query.shape[-1] ** -0.5, dim=-1)  # (B, heads, N, M)
    if dropout is not None:
        weights = dropout(weights)
    mixed = weights.to(value.dtype) @ value  # (B, heads, N, d)
    return mixed.transpose(1, 2).flatten(2)  # (B, N, heads * d)
