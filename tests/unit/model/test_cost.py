"""What a network costs, told from its sizes, against the network itself."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from s5engine.model import onednn
from s5engine.model.config import NetworkConfig
from s5engine.model.cost import network_cost
from s5engine.model.fused import rewrite_for_inference
from s5engine.model.unetr_segformer import UnetrSegformer

SMALL = NetworkConfig(
    tile=64,
    unetr_embed_dim=48,
    unetr_heads=3,
    unetr_layers=4,
    unetr_mlp_dim=64,
    unetr_filters=(16, 8, 8),
    unetr_stem=(2, 4),
    unetr_out_channels=4,
    model_type="b0",
    segformer_widths=(16, 32, 40, 48),
    segformer_depths=(1, 1, 1, 1),
    segformer_heads=(1, 2, 4, 4),
    segformer_decoder_dim=48,
)


def test_flops_and_weights_are_those_of_the_real_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_BUILT_IN", False)  # the counter knows torch's operations alone
    network = rewrite_for_inference(UnetrSegformer(SMALL).eval())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.rand(2, 1, 16, 64, 64))
    cost = network_cost(SMALL, 2)
    # A CPU's attention kernel is one operation that the counter does not know on some versions.
    assert 0.98 * cost.flops <= counter.get_total_flops() / 2 <= cost.flops
    kept = [*network.parameters(), *network.buffers()]
    assert cost.weight_bytes == sum(t.numel() * t.element_size() for t in kept)


def test_a_larger_batch_keeps_more_alive_in_proportion() -> None:
    two, eight = network_cost(SMALL, 2), network_cost(SMALL, 8)
    assert two.flops == eight.flops
    assert two.working_bytes < eight.working_bytes <= 4 * two.working_bytes


def test_the_submission_of_2025() -> None:
    cost = network_cost(NetworkConfig.preset("b3"), 2)
    assert 90e9 < cost.flops < 105e9  # 125.4 of the plain network, less the fused upsampling
    assert 180 < cost.working_bytes / 2**20 < 280  # measured: 220 MiB more than at rest
