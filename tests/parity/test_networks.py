"""The networks against what the 2025 code and the public SegFormer return."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from parity.golden_weights import CONFIGS, golden_keys, golden_network, golden_tile
from s5engine.model import UnetrSegformer, rewrite_for_inference
from s5engine.model.segformer import SegFormer
from s5engine.model.tensor_names import network_tensors


@pytest.mark.parametrize("name", CONFIGS)
def test_tensors_have_the_names_shapes_dtypes_and_order_of_2025(name: str) -> None:
    with torch.device("meta"):
        network = UnetrSegformer(CONFIGS[name])
    ours = {
        key: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in network.state_dict().items()
    }
    assert ours == golden_keys(name)
    # The order matters to optimizer states, which are numbered, not named.
    assert list(ours) == list(golden_keys(name))


@pytest.mark.parametrize("name", ["tiny", pytest.param("b3", marks=pytest.mark.slow)])
def test_plain_and_rewritten_networks_return_the_golden_logits(name: str) -> None:
    tile, golden = golden_tile(name)
    network = golden_network(name)
    with torch.inference_mode():
        plain = network(tile[:, None])
        rewritten = rewrite_for_inference(network)(tile[:, None])
    assert plain.dtype == rewritten.dtype == torch.float32
    assert (plain - golden).abs().max() < 2e-5
    assert (rewritten - golden).abs().max() < 1e-4


def test_golden_logits_would_notice_another_epsilon_or_order() -> None:
    """The tolerances above are far below what a plausible mistake would change."""
    tile, golden = golden_tile("tiny")
    network = golden_network("tiny")
    for module in network.encoder_2d.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3
    with torch.inference_mode():
        assert (network(tile[:, None]) - golden).abs().max() > 1e-4


def _public_segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = CONFIGS["tiny"]
    torch.manual_seed(5)
    network = SegformerForSemanticSegmentation(
        SegformerConfig(
            num_channels=config.unetr_out_channels,
            hidden_sizes=list(config.segformer_widths),
            depths=[2, 1, 2, 1],
            num_attention_heads=list(config.segformer_heads),
            decoder_hidden_size=config.segformer_decoder_dim,
            num_labels=1,
        )
    ).eval()
    with torch.no_grad():  # the defaults of biases, norms and statistics would hide mistakes
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() > 1:
                tensor.normal_(std=0.2)
    return network


def test_segformer_equals_the_public_implementation() -> None:
    from dataclasses import replace

    public = _public_segformer()
    config = replace(CONFIGS["tiny"], segformer_depths=(2, 1, 2, 1))
    ours = SegFormer(config).eval()
    ours.load_state_dict(network_tensors(public.state_dict()), strict=True)
    image = torch.rand(2, config.unetr_out_channels, 96, 64)
    with torch.inference_mode():
        expected = public(image).logits
        got = ours(image)
    assert expected.shape == got.shape == (2, 1, 24, 16)
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert expected.std() > 0.01  # not a constant
