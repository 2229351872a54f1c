"""The plain networks in training: dropouts where SegFormer and UNETR have them, and they learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from parity.golden_weights import CONFIGS
from s5engine.model import NetworkConfig, UnetrSegformer
from s5engine.model.attention import attend
from s5engine.model.segformer import DropPath

#: Small enough for a backward pass on a CPU.
SMALL = replace(CONFIGS["tiny"], tile=32, unetr_filters=(8, 8, 4), unetr_stem=(4, 4))


def test_training_reduces_the_loss_and_evaluation_is_repeatable() -> None:
    torch.manual_seed(0)
    network = UnetrSegformer(SMALL).train()
    tiles = torch.rand(2, 1, 16, 32, 32)
    ink = (torch.rand(2, 8, 8) > 0.5).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = nn.functional.binary_cross_entropy_with_logits(network(tiles), ink)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(tiles), network(tiles))


def test_every_weight_but_the_unused_norm_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = UnetrSegformer(SMALL).train()
    network(torch.rand(2, 1, 16, 32, 32)).square().sum().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == {
        "encoder.transformer.encoder_norm.weight",
        "encoder.transformer.encoder_norm.bias",
    }


def test_dropouts_are_those_of_the_originals() -> None:
    with torch.device("meta"):
        network = UnetrSegformer(NetworkConfig())
    assert network.dropout.p == 0.2
    assert network.encoder_2d.decode_head.dropout.p == 0.1
    rates = [m.probability for m in network.modules() if isinstance(m, DropPath)]
    assert len(rates) == sum((3, 4, 18, 3))
    assert rates == pytest.approx([0.1 * i / 27 for i in range(28)])


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.25).train()
    x = torch.ones(4000, 3, 2)
    y = layer(x)
    per_sample = y.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample[:, 0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(x), x)


def test_channel_dropout_drops_whole_maps() -> None:
    torch.manual_seed(0)
    network = UnetrSegformer(SMALL).train()
    maps = network.dropout(torch.ones(50, 8, 4, 4)).flatten(2)
    assert (maps == maps[..., :1]).all()
    assert 0.1 < (maps[..., 0] == 0).float().mean() < 0.3


def test_attention_scores_stay_in_float32_under_autocast() -> None:
    """Scores of 300 and 301 are one number in bfloat16, and far apart after a softmax."""
    query = torch.tensor([[[[300.0, 1.0]]]])
    key = torch.tensor([[[[1.0, 0.0], [1.0, 2.0]]]])
    value = torch.tensor([[[[0.0], [1.0]]]])
    expected = torch.sigmoid(torch.tensor(2.0) / 2**0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = attend(query, key, value)
    assert got.item() == pytest.approx(expected.item(), abs=0.01)
