"""Each exact rewrite against the plain layers that it stands for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from parity.golden_weights import golden_network, golden_tile
from s5engine.model import onednn
from s5engine.model.fused import DepthMaximum, FusedDecodeHead, Join, rewrite_for_inference
from s5engine.model.rewrite import fold_batch_norm, fuse_upsampling, split_input
from s5engine.model.unetr import ConvBlock, Deconv, DeconvBlock

sizes = st.integers(1, 5)
channels = st.integers(1, 6)
seeds = st.integers(0, 2**31)


def randomise(module: nn.Module) -> nn.Module:
    """Give every tensor values that no default would hide."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            low, high = (0.3, 2.0) if "running_var" in name else (-1.0, 1.0)
            tensor.data.uniform_(low, high)
    return module.eval().double()


def close(got: Tensor, expected: Tensor, tolerance: float = 2e-5) -> bool:
    scale = max(1.0, float(expected.abs().max()))
    return got.shape == expected.shape and bool((got - expected).abs().max() <= tolerance * scale)


@settings(max_examples=60, deadline=None)
@given(d=sizes, h=sizes, w=sizes, a=channels, b=channels, c=channels, seed=seeds)
def test_fused_upsampling_equals_deconv_then_conv_with_its_borders(
    d: int, h: int, w: int, a: int, b: int, c: int, seed: int
) -> None:
    torch.manual_seed(seed)
    deconv = nn.ConvTranspose3d(a, b, kernel_size=2, stride=2)
    conv = nn.Conv3d(b, c, kernel_size=3, padding=1)
    with torch.no_grad():
        deconv.bias.uniform_(2, 3)  # large, so that a wrong border shows
    x = torch.randn(2, a, d, h, w)
    with torch.inference_mode():
        fused = fuse_upsampling(deconv, conv)
        first = fused(x)
        expected = conv.double()(deconv.double()(x.double()))
        assert close(first, expected.float())
        assert torch.equal(fused(x), first)  # also with the cached border
        assert close(fused(x[:, :, :, :, :1]), conv(deconv(x[:, :, :, :, :1].double())).float())


@settings(max_examples=30, deadline=None)
@given(a=channels, b=channels, side=st.integers(1, 6), bias=st.booleans(), seed=seeds)
def test_a_batch_norm_folds_into_the_convolution_before_it(
    a: int, b: int, side: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(a, b, kernel_size=3, padding=1, bias=bias)
    norm = randomise(nn.BatchNorm2d(b)).float()
    x = torch.randn(2, a, side, side)
    with torch.inference_mode():
        assert close(fold_batch_norm(conv, norm)(x), norm(conv(x)))


@settings(max_examples=30, deadline=None)
@given(a=channels, b=channels, c=channels, bias=st.booleans(), seed=seeds)
def test_a_convolution_splits_by_its_input_channels(
    a: int, b: int, c: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv3d(a + b, c, kernel_size=3, padding=1, bias=bias)
    x, y = torch.randn(1, a, 3, 4, 5), torch.randn(1, b, 3, 4, 5)
    with torch.inference_mode():
        first, second = split_input(conv, a)
        assert close(first(x) + second(y), conv(torch.cat([x, y], dim=1)))


@settings(max_examples=20, deadline=None)
@given(c=channels, d=sizes, h=sizes, w=sizes, seed=seeds)
def test_a_join_equals_concatenation_and_convolution(
    c: int, d: int, h: int, w: int, seed: int
) -> None:
    torch.manual_seed(seed)
    deconv, block = randomise(Deconv(3, c)), randomise(ConvBlock(2 * c, c))
    skip = torch.randn(2, c, 2 * d, 2 * h, 2 * w)
    below = torch.randn(2, 3, d, h, w)
    with torch.inference_mode():
        expected = block(torch.cat([skip.double(), deconv(below.double())], dim=1))
        assert close(Join(deconv, block)(skip, below), expected.float())


def test_the_depth_maximum_equals_convolution_then_maximum() -> None:
    torch.manual_seed(1)
    conv = nn.Conv3d(5, 7, kernel_size=1)
    x = torch.randn(2, 5, 4, 6, 3)
    with torch.inference_mode():
        assert close(DepthMaximum(conv)(x), conv(x).amax(dim=2), 1e-6)


def test_the_decode_head_with_one_matrix_per_stage_equals_the_plain_one() -> None:
    torch.manual_seed(2)
    head = randomise(golden_network("tiny").encoder_2d.decode_head).float()
    maps = [torch.randn(2, c, 16 >> i, 16 >> i) for i, c in enumerate((8, 16, 24, 32))]
    with torch.inference_mode():
        assert close(FusedDecodeHead(head)(maps), head(maps))


def test_rewriting_leaves_the_plain_network_as_it_was() -> None:
    network = golden_network("tiny")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tile, _ = golden_tile("tiny")
    rewritten = rewrite_for_inference(network)
    with torch.inference_mode():
        rewritten(tile[:, None])
        network.encoder.decoder0_header[2].block.weight.zero_()
        assert rewritten(tile[:, None]).std() > 0.01  # shares no memory with it
    network.load_state_dict(before)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert network.training is False
    assert all(p.requires_grad for p in network.parameters())


def test_the_rewritten_network_does_less_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_BUILT_IN", False)  # the counter knows torch's operations alone
    from torch.utils.flop_counter import FlopCounterMode

    network = golden_network("tiny")
    tile, _ = golden_tile("tiny")
    counts = []
    for module in (network, rewrite_for_inference(network)):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            module(tile[:, None])
        counts.append(counter.get_total_flops())
    assert counts[1] < 0.85 * counts[0]


def test_a_rewritten_deconv_block_keeps_one_upsampling_of_the_work() -> None:
    torch.manual_seed(3)
    from s5engine.model.fused import _upsample

    block = randomise(DeconvBlock(4, 6))
    x = torch.randn(1, 4, 2, 3, 5)
    with torch.inference_mode():
        assert close(_upsample(block)(x), block(x.double()).float())
