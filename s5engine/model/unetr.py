"""UNETR: a transformer over 3D patches and a convolutional decoder (Hatamizadeh et al. 2021).

The names of the modules are the names of the tensors in the checkpoints of 2025, hence
``block.0.block``. Shapes in the comments: B tiles, E the token width, (d, h, w) the grid of
tokens, (D, H, W) = 16 · (d, h, w) the voxels; f1, f2, f3 and s0, s1 the decoder's channels.
"""
# ruff: noqa: D102  (what `forward` does is what its class says it does)

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s5engine.model.attention import attend, split_heads
from s5engine.model.config import PATCH, NetworkConfig

#: Dropout of tokens, attention weights and the MLP's hidden layer, in training.
DROPOUT = 0.1


class PatchEmbedding(nn.Module):
    """Cut the volume into 16 × 16 × 16 patches, one token each, and add where it lies."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        count = config.tokens[0] * config.tokens[1] * config.tokens[2]
        self.position_embeddings = nn.Parameter(torch.zeros(1, count, config.unetr_embed_dim))
        self.patch_embeddings = nn.Conv3d(1, config.unetr_embed_dim, PATCH, stride=PATCH)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embeddings(x)  # (B, 1, D, H, W) → (B, E, d, h, w)
        x = x.flatten(2).transpose(1, 2)  # (B, d·h·w, E)
        x = x + self.position_embeddings  # (B, d·h·w, E)
        x = self.dropout(x)  # (B, d·h·w, E)
        return x


class MLP(nn.Module):
    """Two linear layers with a ReLU between them, on each token alone."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.w_1(x))  # (B, N, hidden)
        x = self.w_2(self.dropout(x))  # (B, N, E)
        return x


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.attn_dropout = nn.Dropout(DROPOUT)
        self.proj_dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        query = split_heads(self.query(x), self.heads)  # (B, heads, N, E / heads)
        key = split_heads(self.key(x), self.heads)  # (B, heads, N, E / heads)
        value = split_heads(self.value(x), self.heads)  # (B, heads, N, E / heads)
        x = attend(query, key, value, self.attn_dropout)  # (B, N, E)
        x = self.proj_dropout(self.out(x))  # (B, N, E)
        return x


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then MLP, each added to what came in."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.unetr_embed_dim
        self.attention_norm = nn.LayerNorm(width, eps=config.epsilon)
        self.mlp_norm = nn.LayerNorm(width, eps=config.epsilon)
        self.mlp = MLP(width, config.unetr_mlp_dim)
        self.attn = Attention(width, config.unetr_heads)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attention_norm(x))  # (B, N, E)
        x = x + self.mlp(self.mlp_norm(x))  # (B, N, E)
        return x


class Transformer(nn.Module):
    """Tokens, blocks, and four outputs on the way, as feature maps."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.grid = config.tokens
        self.output_layers = config.output_layers
        self.embeddings = PatchEmbedding(config)
        self.layer = nn.ModuleList(TransformerBlock(config) for _ in range(config.unetr_layers))
        # In every checkpoint, and used by nothing: the 2025 network never called it.
        self.encoder_norm = nn.LayerNorm(config.unetr_embed_dim, eps=config.epsilon)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.embeddings(x)  # (B, 1, D, H, W) → (B, N, E)
        features = []
        for number, block in enumerate(self.layer, start=1):
            x = block(x)  # (B, N, E)
            # One block may serve several outputs when there are few of them.
            for _ in range(self.output_layers.count(number)):
                features.append(x.transpose(1, 2).reshape(*x.shape[::2], *self.grid))
        return features  # each (B, E, d, h, w)


class Conv(nn.Module):
    """A bare Conv3d that keeps the size."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.block = nn.Conv3d(channels_in, channels_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        return x


class Deconv(nn.Module):
    """A bare ConvTranspose3d that doubles the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.block = nn.ConvTranspose3d(channels_in, channels_out, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        return x


class ConvBlock(nn.Module):
    """Conv3d, BatchNorm3d, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Conv(channels_in, channels_out),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        return x


class DeconvBlock(nn.Module):
    """ConvTranspose3d, directly followed by Conv3d, BatchNorm3d, ReLU: doubles the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Deconv(channels_in, channels_out),
            Conv(channels_out, channels_out),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        return x


class UNETR(nn.Module):
    """The 3D part: ``(B, 1, D, H, W)`` → ``(B, unetr_out_channels, D, H, W)``."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        e, (f1, f2, f3), (s0, s1) = (
            config.unetr_embed_dim,
            config.unetr_filters,
            config.unetr_stem,
        )
        self.transformer = Transformer(config)
        # What comes in from the side, deeper features through more doublings…
        self.decoder0 = nn.Sequential(ConvBlock(1, s0), ConvBlock(s0, s1))
        self.decoder3 = nn.Sequential(DeconvBlock(e, f1), DeconvBlock(f1, f2), DeconvBlock(f2, f3))
        self.decoder6 = nn.Sequential(DeconvBlock(e, f1), DeconvBlock(f1, f2))
        self.decoder9 = DeconvBlock(e, f1)
        # …and what comes up from below, twice as large after each step.
        self.decoder12_upsampler = Deconv(e, f1)
        self.decoder9_upsampler = nn.Sequential(
            ConvBlock(2 * f1, f1), ConvBlock(f1, f1), ConvBlock(f1, f1), Deconv(f1, f2)
        )
        self.decoder6_upsampler = nn.Sequential(
            ConvBlock(2 * f2, f2), ConvBlock(f2, f2), Deconv(f2, f3)
        )
        self.decoder3_upsampler = nn.Sequential(
            ConvBlock(2 * f3, f3), ConvBlock(f3, f3), Deconv(f3, s1)
        )
        self.decoder0_header = nn.Sequential(
            ConvBlock(2 * s1, s1), ConvBlock(s1, s1), Conv(s1, config.unetr_out_channels, kernel=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        z3, z6, z9, z12 = self.transformer(x)  # each (B, E, d, h, w)
        u = self.decoder12_upsampler(z12)  # (B, f1, 2d, 2h, 2w)
        side = self.decoder9(z9)  # (B, f1, 2d, 2h, 2w)
        u = self.decoder9_upsampler(torch.cat([side, u], dim=1))  # (B, f2, 4d, 4h, 4w)
        side = self.decoder6(z6)  # (B, f2, 4d, 4h, 4w)
        u = self.decoder6_upsampler(torch.cat([side, u], dim=1))  # (B, f3, 8d, 8h, 8w)
        side = self.decoder3(z3)  # (B, f3, 8d, 8h, 8w)
        u = self.decoder3_upsampler(torch.cat([side, u], dim=1))  # (B, s1, D, H, W)
        side = self.decoder0(x)  # (B, s1, D, H, W)
        x = self.decoder0_header(torch.cat([side, u], dim=1))  # (B, C, D, H, W)
        return x
