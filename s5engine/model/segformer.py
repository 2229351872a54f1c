"""SegFormer: a hierarchical transformer and an all-MLP decode head (Xie et al. 2021).

Written from the paper (arXiv 2105.15203). The names of the modules are those of the
``transformers`` 4.x implementation, because the checkpoints of 2025 spell their tensors so.
Shapes in the comments: B images, C channels of a stage, h × w its size, N = h · w tokens.
"""
# ruff: noqa: D102  (what `forward` does is what its class says it does)

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s5engine.model.attention import attend, split_heads
from s5engine.model.config import NetworkConfig

#: Kernel and stride of the patch embedding of each stage.
KERNELS, STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)
#: By how much each stage shrinks its keys and values along one side.
REDUCTIONS = (8, 4, 2, 1)
#: Hidden width of the MLP, in multiples of the stage's width.
MLP_RATIO = 4
#: In training: largest probability that a residual branch is dropped (the last block's), and
#: dropout before the classifier.
DROP_PATH, HEAD_DROPOUT = 0.1, 0.1


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(B, h·w, C)`` tokens as a ``(B, C, h, w)`` map."""
    return tokens.transpose(1, 2).reshape(*tokens.shape[::2], *size)


def to_tokens(image: Tensor) -> Tensor:
    """Return a ``(B, C, h, w)`` map as ``(B, h·w, C)`` tokens."""
    return image.flatten(2).transpose(1, 2)


class PatchEmbedding(nn.Module):
    """Overlapping patches by a strided convolution: ``(B, C', H, W)`` → ``(B, C, h, w)``."""

    def __init__(self, channels_in: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels_in, width, kernel, stride=stride, padding=kernel // 2)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)  # (B, C, h, w)
        size = (x.shape[2], x.shape[3])
        return self.layer_norm(to_tokens(x)), size  # (B, N, C)


class ReducedAttention(nn.Module):
    """Self-attention whose keys and values are taken from a smaller map."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        query = split_heads(self.query(x), self.heads)  # (B, heads, N, C / heads)
        if self.reduction > 1:
            x = self.sr(to_map(x, size))  # (B, C, h / r, w / r)
            x = self.layer_norm(to_tokens(x))  # (B, N / r², C)
        key = split_heads(self.key(x), self.heads)  # (B, heads, N / r², C / heads)
        value = split_heads(self.value(x), self.heads)  # (B, heads, N / r², C / heads)
        return attend(query, key, value)  # (B, N, C)


class Projection(nn.Module):
    """The linear layer after attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense(x)
        return x


class Attention(nn.Module):
    """Attention and the linear layer after it."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        # The checkpoints call it "self"; `self.self` would trip every reader.
        self.add_module("self", ReducedAttention(width, heads, reduction))
        self.output = Projection(width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.get_submodule("self")(x, size)  # (B, N, C)
        x = self.output(x)
        return x


class DepthwiseConv(nn.Module):
    """A 3 × 3 convolution of each channel alone: it tells the tokens where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return to_tokens(self.dwconv(to_map(x, size)))  # (B, N, C)


class MixMLP(nn.Module):
    """Linear, depth-wise convolution, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, MLP_RATIO * width)
        self.dwconv = DepthwiseConv(MLP_RATIO * width)
        self.dense2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.dense1(x)  # (B, N, 4C)
        x = F.gelu(self.dwconv(x, size))  # (B, N, 4C)
        x = self.dense2(x)  # (B, N, C)
        return x


class DropPath(nn.Module):
    """In training, leave a residual branch out for a whole sample (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        kept = torch.empty(x.shape[0], 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * kept / keep  # the mean over many passes stays that of inference


class Block(nn.Module):
    """Pre-norm block: attention, then MLP, each added to what came in."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, reduction)
        self.drop_path = DropPath(drop_path)
        self.layer_norm_2 = nn.LayerNorm(width)
        self.mlp = MixMLP(width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self.drop_path(self.attention(self.layer_norm_1(x), size))  # (B, N, C)
        x = x + self.drop_path(self.mlp(self.layer_norm_2(x), size))  # (B, N, C)
        return x


class Encoder(nn.Module):
    """Four stages at 1/4, 1/8, 1/16 and 1/32 of the size."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, depths = config.segformer_widths, config.segformer_depths
        # From 0 for the first block to DROP_PATH for the last, over all stages.
        drops = iter(torch.linspace(0, DROP_PATH, sum(depths), device="cpu").tolist())
        inputs = (config.unetr_out_channels, *widths)
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(inputs[i], widths[i], KERNELS[i], STRIDES[i]) for i in range(4)
        )
        self.block = nn.ModuleList(
            nn.ModuleList(
                Block(widths[i], config.segformer_heads[i], REDUCTIONS[i], next(drops))
                for _ in range(depths[i])
            )
            for i in range(4)
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        stages = zip(self.patch_embeddings, self.block, self.layer_norm, strict=True)
        for embed, blocks, norm in stages:
            tokens, size = embed(x)  # (B, N, C)
            for block in cast(nn.ModuleList, blocks):
                tokens = block(tokens, size)  # (B, N, C)
            x = to_map(norm(tokens), size).contiguous()  # (B, C, h, w)
            maps.append(x)
        return maps


class StageProjection(nn.Module):
    """Bring one stage's channels to the decode head's width."""

    def __init__(self, width: int, decoder_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, decoder_dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.proj(to_tokens(x))  # (B, N, K)
        return to_map(tokens, (x.shape[2], x.shape[3]))  # (B, K, h, w)


class DecodeHead(nn.Module):
    """All stages at the size of the first, mixed pixel by pixel: maps → ``(B, 1, h, w)``."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.segformer_decoder_dim
        self.linear_c = nn.ModuleList(StageProjection(c, width) for c in config.segformer_widths)
        self.linear_fuse = nn.Conv2d(4 * width, width, kernel_size=1, bias=False)
        self.batch_norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        self.classifier = nn.Conv2d(width, 1, kernel_size=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor
        size = maps[0].shape[2:]
        projected = [
            F.interpolate(project(stage), size=size, mode="bilinear", align_corners=False)
            for project, stage in zip(self.linear_c, maps, strict=True)
        ]  # each (B, K, h, w)
        # The deepest stage comes first: so the public implementation stacks them.
        x = self.linear_fuse(torch.cat(projected[::-1], dim=1))  # (B, K, h, w)
        x = F.relu(self.batch_norm(x))  # (B, K, h, w)
        x = self.classifier(self.dropout(x))  # (B, 1, h, w)
        return x


class Backbone(nn.Module):
    """Holds the encoder under the name that the checkpoints give it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder(x)
        return maps


class SegFormer(nn.Module):
    """The 2D part: ``(B, unetr_out_channels, P, P)`` → ``(B, 1, P / 4, P / 4)`` logits."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.segformer = Backbone(config)
        self.decode_head = DecodeHead(config)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = self.decode_head(self.segformer(x))  # (B, 1, P/4, P/4)
        return x


def _initialise(module: nn.Module) -> None:
    """Draw weights as the public implementation does: normal, σ = 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
