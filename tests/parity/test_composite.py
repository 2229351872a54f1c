"""Composites against the 2025 overlay, and the reduction against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize

from parity.golden_weights import GOLDEN
from s5engine import S5Error, composite
from s5engine.view import composite as module

METHODS = {"average": "mean", "maximum": "max"}


def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "composite.npz"))


@pytest.mark.parametrize("name", [n for n in golden() if n not in ("ink", "over_one")])
@pytest.mark.parametrize("square", [16, 4096])
def test_composite_is_the_golden_one_in_squares_or_whole(
    name: str, square: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SQUARE", square)
    method, flip, boost, invert = name.split("_")
    picture = composite(
        golden()["ink"],
        method=METHODS[method],
        flip=flip == "1",
        boost=float(boost),
        invert=invert == "1",
    )
    np.testing.assert_allclose(picture, golden()[name], rtol=0, atol=1e-6)


def test_a_map_beyond_one_is_divided_by_its_maximum() -> None:
    ink = golden()["ink"]
    ink[0] *= 3
    np.testing.assert_allclose(composite(ink), golden()["over_one"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shape", "reduce"), [((97, 203), 3), ((64, 64), 1), ((40, 2000), 8)])
def test_reduction_is_that_of_scikit_image(shape: tuple[int, int], reduce: int) -> None:
    plane = np.random.default_rng(1).random((1, *shape), np.float32)
    small = (shape[0] // reduce, shape[1] // reduce)
    plain = resize(plane[0], small, anti_aliasing=True)
    np.testing.assert_allclose(composite(plane, reduce=reduce), plain, rtol=0, atol=2e-6)


@pytest.mark.parametrize("wrong", [{"reduce": 1.5}, {"reduce": 0}, {"boost": "2"}, {"boost": 0.5}])
def test_arguments_that_do_not_fit(wrong: dict[str, object]) -> None:
    with pytest.raises(S5Error, match="is between 1 and"):
        composite(np.zeros((1, 9, 9), np.float32), **wrong)
