"""oneDNN's fused operations against torch's plain ones."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from parity.golden_weights import golden_network, golden_tile
from s5engine.model import onednn
from s5engine.model.fused import rewrite_for_inference

#: Channels and size whose result is more than the C library keeps: 33.6 MB.
LARGE = (2, 8, 2, 512, 513)


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def plain_conv_relu(x: Tensor, conv: nn.Conv3d) -> Tensor:
    return torch.relu(conv(x))


@pytest.mark.parametrize("shape", [(2, 8, 3, 5, 7), (1, 1, 2, 4, 4), LARGE])
@pytest.mark.parametrize("room", [None, "a"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_with_its_relu(shape: tuple[int, ...], room: str | None, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(shape[1], 8, 3, padding=1, bias=bias)
    x = last(torch.randn(shape))
    with torch.inference_mode():
        assert onednn.usable(x)
        expected = plain_conv_relu(x, conv)
        for _ in range(2):  # what an earlier call has left in the room does not matter
            got = onednn.conv_relu(x, conv, room)
            assert torch.allclose(got, expected, atol=1e-5)


def test_a_room_is_used_again_by_one_thread_and_shared_with_no_other() -> None:
    conv = nn.Conv3d(8, 8, 3, padding=1)
    x = last(torch.randn(LARGE))
    places: list[int] = []

    def run() -> None:
        with torch.inference_mode():
            places.extend(onednn.conv_relu(x, conv, "a").data_ptr() for _ in range(2))

    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert places[0] == places[1] != places[2] == places[3]


def test_a_room_made_in_inference_mode_serves_without_it() -> None:
    conv = nn.Conv3d(8, 8, 3, padding=1)
    x = last(torch.randn(LARGE))
    for mode in (torch.inference_mode, torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.allclose(onednn.conv_relu(x, conv, "b"), conv(x).relu(), atol=1e-5)


def test_a_convolution_added_in_place_with_its_relu() -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(4, 6, 3, padding=1)
    x, into = last(torch.randn(2, 4, 3, 6, 5)), last(torch.randn(2, 6, 3, 6, 5))
    with torch.inference_mode():
        expected = torch.relu(into + conv(x))
        for target in (into.clone(), into.contiguous()):  # also one that is not channels last
            got = onednn.add_conv_relu_(target, x, conv)
            assert got.data_ptr() == target.data_ptr()
            assert torch.allclose(got, expected, atol=1e-5)


def test_linear_layers_keep_their_weights_and_answers() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(7, 5), nn.GELU(), nn.Linear(5, 3, bias=False))
    x = torch.randn(2, 4, 7)
    expected, names = plain(x), [*plain.state_dict()]
    onednn.use_for_linear(plain)
    assert [*plain.state_dict()] == names
    assert torch.equal(plain(x), expected)  # gradients are on: torch's own product
    with torch.inference_mode():
        assert torch.allclose(plain(x), expected, atol=1e-6)
        assert torch.allclose(plain(x.transpose(0, 1)).transpose(0, 1), expected, atol=1e-6)


def test_what_is_not_plain_float32_in_inference_takes_torchs_way() -> None:
    x = torch.randn(2, 3)
    with torch.inference_mode():
        assert onednn.usable(x)
        assert not onednn.usable(x.double())
        assert not onednn.usable(x[:0])
        assert not onednn.usable(nn.Parameter(x))
        assert not onednn.usable(torch.empty(2, 3, device="meta"))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not onednn.usable(x)
        torch.backends.mkldnn.enabled = False
        try:
            assert not onednn.usable(x)
        finally:
            torch.backends.mkldnn.enabled = True
    assert not onednn.usable(x)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
def test_the_whole_network_is_the_same_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = rewrite_for_inference(golden_network("tiny"))
    tile, _ = golden_tile("tiny")
    with torch.inference_mode():
        got = network(tile[:, None])
        monkeypatch.setattr(onednn, "_BUILT_IN", False)
        plain = network(tile[:, None])
        traced = torch.jit.trace(network, tile[:, None], check_trace=False)(tile[:, None])
    assert (got.sigmoid() - plain.sigmoid()).abs().max() <= 1e-6
    assert torch.equal(traced, plain)
