"""The network as it runs in inference: UNETR-SF with all exact rewrites applied.

It computes what `UnetrSegformer` does in eval mode, up to float32 rounding, with a fifth less
arithmetic. Nothing here is trained.
"""
# ruff: noqa: D102  (what `forward` does is what its class says it does)

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s5engine.model import onednn
from s5engine.model.rewrite import (
    FusedUpsample,
    fold_batch_norm,
    fuse_upsampling,
    split_input,
)
from s5engine.model.segformer import DecodeHead, StageProjection, to_map, to_tokens
from s5engine.model.unetr import UNETR, Conv, ConvBlock, Deconv, DeconvBlock
from s5engine.model.unetr_segformer import UnetrSegformer

M = TypeVar("M", bound=nn.Module)

#: Rows of the image whose depth is mixed at a time on a CPU.
_ROWS = 8


def rewrite_for_inference(network: UnetrSegformer) -> FusedUnetrSegformer:
    """Return a rewritten copy of ``network`` for inference; ``network`` stays as it is.

    Its `forward` takes and returns what the plain one does: float32 ``(B, 1, layers, P, P)`` in
    [0, 1] → logits ``(B, P / 4, P / 4)``.
    """
    with torch.no_grad():
        return FusedUnetrSegformer(network).eval().requires_grad_(False)


class FusedUnetrSegformer(nn.Module):
    """UNETR, maximum over depth and SegFormer, rewritten."""

    def __init__(self, network: UnetrSegformer) -> None:
        super().__init__()
        self.encoder = FusedUNETR(network.encoder)
        self.segformer = copy.deepcopy(network.encoder_2d.segformer)
        self.decode_head = FusedDecodeHead(network.encoder_2d.decode_head)
        onednn.use_for_linear(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)  # (B, 1, D, P, P) → (B, C, P, P)
        x = self.decode_head(self.segformer(x))  # (B, 1, P/4, P/4)
        return x.squeeze(1)  # (B, P/4, P/4)


class FusedUNETR(nn.Module):
    """The 3D part with the maximum over depth: ``(B, 1, D, H, W)`` → ``(B, C, H, W)``."""

    def __init__(self, unetr: UNETR) -> None:
        super().__init__()
        self.transformer = copy.deepcopy(unetr.transformer)
        self.stem = nn.Sequential(
            _conv(unetr.decoder0[0], "thin"), _conv(unetr.decoder0[1], "full")
        )
        self.side3 = nn.Sequential(*map(_upsample, unetr.decoder3))
        self.side6 = nn.Sequential(*map(_upsample, unetr.decoder6))
        self.side9 = _upsample(unetr.decoder9)
        up9, up6, up3, head = (
            unetr.decoder9_upsampler,
            unetr.decoder6_upsampler,
            unetr.decoder3_upsampler,
            unetr.decoder0_header,
        )
        # Each doubling from below is fused with the first convolution of the next level.
        self.join9 = Join(unetr.decoder12_upsampler, up9[0])
        self.level9 = nn.Sequential(_conv(up9[1]), _conv(up9[2]))
        self.join6 = Join(up9[3], up6[0])
        self.level6 = _conv(up6[1])
        self.join3 = Join(up6[2], up3[0])
        self.level3 = _conv(up3[1], "half")
        self.join0 = Join(up3[2], head[0])
        # When this is computed, the stem's result has been used.
        self.level0 = _conv(head[1], "full")
        self.last = DepthMaximum(_a(Conv, head[2]).block)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | FusedUpsample):
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last_3d
                )

    def forward(self, x: Tensor) -> Tensor:
        z3, z6, z9, z12 = (
            z.contiguous(memory_format=torch.channels_last_3d) for z in self.transformer(x)
        )  # each (B, E, d, h, w)
        u = self.level9(self.join9(self.side9(z9), z12))  # (B, f1, 2d, 2h, 2w)
        u = self.level6(self.join6(self.side6(z6), u))  # (B, f2, 4d, 4h, 4w)
        u = self.level3(self.join3(self.side3(z3), u))  # (B, f3, 8d, 8h, 8w)
        # One channel is "last in memory" by strides that torch does not set by itself; with the
        # others the convolutions would answer channels first.
        x = x.squeeze(1).unsqueeze(-1).permute(0, 4, 1, 2, 3)  # (B, 1, D, H, W)
        u = self.level0(self.join0(self.stem(x), u))  # (B, s1, D, H, W)
        x = self.last(u)  # (B, C, H, W)
        return x


class ConvReLU(nn.Module):
    """A convolution, BatchNorm folded in, and a ReLU; ``room``: see `onednn.conv_relu`."""

    def __init__(self, conv: nn.Conv3d, room: str | None = None) -> None:
        super().__init__()
        self.conv, self.room = conv, room

    def forward(self, x: Tensor) -> Tensor:
        return onednn.conv_relu(x, self.conv, self.room)


class UpsampleReLU(nn.Module):
    """A fused doubling and a ReLU in place."""

    def __init__(self, upsample: FusedUpsample) -> None:
        super().__init__()
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.upsample(x))


class Join(nn.Module):
    """conv([skip, deconv(below)]) with BatchNorm and ReLU, without the concatenation."""

    def __init__(self, deconv: nn.Module, block: nn.Module) -> None:
        super().__init__()
        conv = _folded(_a(ConvBlock, block))
        self.skip, upsampled = split_input(conv, conv.in_channels // 2)
        self.upsample = fuse_upsampling(_a(Deconv, deconv).block, upsampled)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        x = self.upsample(below)  # (B, C, 2d, 2h, 2w)
        return onednn.add_conv_relu_(x, skip, self.skip)  # (B, C, 2d, 2h, 2w)


class DepthMaximum(nn.Module):
    """The last 1 × 1 convolution and the maximum: ``(B, S, D, H, W)`` → ``(B, C, H, W)``."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.mix = nn.Linear(conv.in_channels, conv.out_channels, bias=False, device="meta")
        self.mix.weight = nn.Parameter(conv.weight.flatten(1).clone())
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 4, 1)  # (B, D, H, W, S): no copy, the channels lie last in memory
        # On a CPU a few rows at a time: their products then never leave its caches.
        rows = _ROWS if x.device.type == "cpu" else x.shape[2]
        strips = [
            torch.amax(self.mix(s), dim=1) for s in torch.split(x, rows, dim=2)
        ]  # (B, rows, W, C)
        x = torch.cat(strips, dim=1) if len(strips) > 1 else strips[0]  # (B, H, W, C)
        # The bias is the same at every depth: adding it after the maximum is D times cheaper.
        return (x + self.bias).permute(0, 3, 1, 2)  # (B, C, H, W)


class FusedDecodeHead(nn.Module):
    """SegFormer's decode head with one matrix per stage.

    Per stage the plain head projects, enlarges, and mixes with a 1 × 1 convolution. Enlarging is
    linear with weights that sum to one, hence changes places with everything linear per pixel: the
    two matrices become one, applied at the stage's own size.
    """

    def __init__(self, head: DecodeHead) -> None:
        super().__init__()
        fuse = fold_batch_norm(head.linear_fuse, head.batch_norm)
        matrix, bias = fuse.weight.double()[:, :, 0, 0], fuse.bias
        offset = torch.zeros_like(matrix[:, 0]) if bias is None else bias.double()
        width, stages = matrix.shape[0], len(head.linear_c)
        self.project = nn.ModuleList()
        for number, stage in enumerate(head.linear_c):
            place = (stages - 1 - number) * width  # the deepest stage comes first
            part = matrix[:, place : place + width]
            linear = _a(StageProjection, stage).proj
            offset = offset + part @ linear.bias.double()
            fused = nn.Linear(linear.in_features, width, bias=False, device="meta")
            fused.weight = nn.Parameter((part @ linear.weight.double()).float())
            self.project.append(fused)
        self.bias = nn.Parameter(offset.float())
        self.classifier = copy.deepcopy(head.classifier)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x: Tensor
        size = (maps[0].shape[2], maps[0].shape[3])
        tokens = self.project[0](to_tokens(maps[0])) + self.bias  # (B, N, K)
        x = to_map(tokens, size)  # (B, K, h, w)
        for project, stage in zip(self.project[1:], maps[1:], strict=True):
            small = to_map(project(to_tokens(stage)), (stage.shape[2], stage.shape[3]))
            x = x + F.interpolate(small, size=size, mode="bilinear", align_corners=False)
        x = self.classifier(torch.relu_(x))  # (B, 1, h, w)
        return x


def _conv(block: nn.Module, room: str | None = None) -> ConvReLU:
    return ConvReLU(_folded(_a(ConvBlock, block)), room)


def _upsample(block: nn.Module) -> UpsampleReLU:
    deconv, conv, norm, _ = _a(DeconvBlock, block).block
    folded = fold_batch_norm(_a(Conv, conv).block, _a(nn.BatchNorm3d, norm))
    return UpsampleReLU(fuse_upsampling(_a(Deconv, deconv).block, folded))


def _folded(block: ConvBlock) -> nn.Conv3d:
    conv, norm, _ = block.block
    return fold_batch_norm(_a(Conv, conv).block, _a(nn.BatchNorm3d, norm))


def _a(kind: type[M], module: nn.Module) -> M:
    """Return ``module`` as what it has to be: torch's containers know only `Module`."""
    if not isinstance(module, kind):
        raise TypeError(f"{type(module).__name__} stands where {kind.__name__} belongs.")
    return module
