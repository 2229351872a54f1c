"""`wrap_model`: any callable on tiles, checked on the way in and out."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from s5engine.errors import InvalidArgumentError
from s5engine.model import wrap_model


def brightness(tiles: Tensor) -> Tensor:
    return tiles.mean(dim=1)[:, ::4, ::4].contiguous()


class Pool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, tiles: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(tiles.mean(dim=1), 2) * self.scale


def test_a_function_becomes_a_model() -> None:
    model = wrap_model(brightness, tile=32)
    tiles = torch.rand(3, 16, 32, 32)
    assert torch.equal(model.logits(tiles), brightness(tiles))
    assert torch.equal(model.probabilities(tiles), torch.sigmoid(brightness(tiles)))
    assert (model.tile, model.layers, model.reduction) == (32, 16, 4)
    assert (model.name, model.sha256, model.config) == ("brightness", None, None)
    assert model.network is brightness


def test_a_module_becomes_a_model_without_gradients() -> None:
    module = Pool().eval()
    model = wrap_model(module, tile=30, layers=5, reduction=2)
    logits = model.logits(torch.ones(1, 5, 30, 30))
    assert logits.shape == (1, 15, 15)
    assert not logits.requires_grad
    assert model.name == "Pool"
    assert model.network is module


def test_a_wrapped_callable_pickles_with_its_sizes() -> None:
    model = pickle.loads(pickle.dumps(wrap_model(brightness, tile=16, layers=4)))
    assert (model.tile, model.layers, model.reduction) == (16, 4, 4)
    assert model.logits(torch.ones(2, 4, 16, 16)).eq(1).all()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda tiles: tiles.mean(dim=1), r"returned \(2, 32, 32\) of torch.float32"),
        (lambda tiles: brightness(tiles)[:1], r"returned \(1, 8, 8\)"),
        (lambda tiles: brightness(tiles).double(), "float64"),
        (lambda tiles: brightness(tiles).numpy(), "ndarray"),
    ],
)
def test_what_it_returns_is_checked(function: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        wrap_model(function, tile=32).logits(torch.rand(2, 16, 32, 32))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tile": 0}, "tile"),
        ({"tile": 32.0}, "tile"),
        ({"tile": 32, "layers": True}, "layers"),
        ({"tile": 30}, "30 px"),
        ({"tile": 32, "reduction": -1}, "reduction"),
    ],
)
def test_sizes_are_checked(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        wrap_model(brightness, **arguments)


def test_what_cannot_predict_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="callable"):
        wrap_model("model.ckpt", tile=32)
    with pytest.raises(InvalidArgumentError, match=r"training mode.*eval\(\)"):
        wrap_model(Pool(), tile=32)


def test_its_precision_is_its_own() -> None:
    model = wrap_model(brightness, tile=32)
    assert model.with_precision("auto") is model
    with pytest.raises(InvalidArgumentError, match="autocast"):
        model.with_precision("float16")
