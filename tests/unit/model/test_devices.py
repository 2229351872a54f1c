"""Which device is taken, with accelerators that this machine may not have."""

from __future__ import annotations

import pytest
import torch

from s5engine.errors import InvalidArgumentError
from s5engine.model.devices import resolve_device, resolve_precision, running_on


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def set_up(cuda: int, mps: bool, current: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_up


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(2, True, "cuda:0"), (1, False, "cuda:0"), (0, True, "mps:0"), (0, False, "cpu")],
)
def test_cuda_then_mps_then_cpu(machine, cuda: int, mps: bool, chosen: str) -> None:
    machine(cuda, mps)
    assert str(resolve_device()) == chosen
    assert str(resolve_device("cpu")) == "cpu"


def test_a_kind_means_its_current_device(machine) -> None:
    machine(3, False, current=2)
    assert str(resolve_device("cuda")) == str(resolve_device()) == "cuda:2"
    assert str(resolve_device("cuda:1")) == "cuda:1"
    assert str(resolve_device(torch.device("cpu", 0))) == "cpu"


@pytest.mark.parametrize("absent", ["cuda", "cuda:0", "mps", "xpu", "meta"])
def test_what_is_not_there_is_refused(machine, absent: str) -> None:
    machine(0, False)
    with pytest.raises(InvalidArgumentError, match=r"not available.*\['cpu'\]"):
        resolve_device(absent)


def test_a_number_too_high_is_refused(machine) -> None:
    machine(2, False)
    with pytest.raises(InvalidArgumentError, match="cuda:2"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("precision", "device", "resolved"),
    [
        ("auto", "cuda", "float16"),
        ("auto", "cpu", "float32"),
        ("auto", "mps", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
        ("float32", "cuda", "float32"),
    ],
)
def test_auto_precision_follows_the_device(precision: str, device: str, resolved: str) -> None:
    assert resolve_precision(precision, torch.device(device)) == resolved


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    for precision, device in (("float16", "cpu"), ("bfloat16", "mps"), ("double", "cuda")):
        with pytest.raises(InvalidArgumentError, match=precision):
            resolve_precision(precision, torch.device(device))


def test_an_error_inside_frees_the_device() -> None:
    device = torch.device("cpu")
    with pytest.raises(KeyError), running_on(device, "float32"):
        raise KeyError
    with running_on(device, "bfloat16"):
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_inference_mode_enabled()


def test_tf32_is_switched_off_and_back() -> None:
    from s5engine.model.devices import _true_float32

    before = torch.backends.cudnn.allow_tf32
    with _true_float32():
        assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.allow_tf32 is before
