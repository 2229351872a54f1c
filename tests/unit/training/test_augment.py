"""Augmentation moves pixels, label and keep together, by the seed alone."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError, MissingExtraError
from s5engine.training.augment import Augmentation, AugmentSettings
from s5engine.training.tileset import Example

TILE = 64
LIBRARY = (
    "shift_scale_rotate",
    "perspective",
    "grid_distortion",
    "crop",
    "blur",
    "noise",
    "gamma",
    "brightness_contrast",
)
MOVING, COLOURING = LIBRARY[:4], LIBRARY[4:]


def example(layers: int = 16) -> Example:
    """Return a tile whose label is just where it is bright."""
    label = np.zeros((TILE // 4, TILE // 4), bool)
    label[3:9, 5:13] = True
    pixels = np.where(label.repeat(4, 0).repeat(4, 1), 200, 60).astype(np.uint8)
    stack = np.broadcast_to(pixels, (layers, TILE, TILE)).copy()
    return Example(stack, label, np.ones_like(label))


def only(**on: float) -> AugmentSettings:
    return replace(AugmentSettings.none(), **on)


def same(a: Example, b: Example) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_none_leaves_the_tile_as_it_is() -> None:
    tile = example()
    assert same(Augmentation(AugmentSettings.none(), TILE)(tile, 3), tile)


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.sampled_from([16, 21]))
def test_everything_at_once_keeps_shapes_types_and_seeds(seed: int, layers: int) -> None:
    every = AugmentSettings(**dict.fromkeys(LIBRARY, 1.0))
    augment, tile = Augmentation(every, TILE), example(layers)
    done = augment(tile, seed)
    augment(tile, seed + 1)
    assert same(done, augment(tile, seed))
    assert same(done, pickle.loads(pickle.dumps(augment))(tile, seed))
    assert [a.shape for a in done] == [a.shape for a in tile]
    assert [a.dtype for a in done] == [a.dtype for a in tile]
    assert not (done.label & ~done.keep).any()


def test_another_seed_is_another_augmentation() -> None:
    augment = Augmentation(AugmentSettings(), TILE)
    assert len({augment(example(), seed).layers.tobytes() for seed in range(8)}) > 4


@pytest.mark.parametrize("kind", ["flip_x", "flip_y", "turn", *MOVING])
def test_labels_move_with_the_pixels(kind: str) -> None:
    augment = Augmentation(only(**{kind: 1.0}), TILE)
    moved = 0
    for seed in range(6):
        done = augment(example(), seed)
        bright = done.layers[0].reshape(TILE // 4, 4, TILE // 4, 4).mean((1, 3)) > 130
        union = (bright | done.label).sum()
        assert (bright & done.label).sum() >= 0.75 * union, seed
        assert done.label.any()
        moved += not same(done, example())
    assert moved


@pytest.mark.parametrize("kind", COLOURING)
def test_grey_values_change_and_labels_do_not(kind: str) -> None:
    augment, tile = Augmentation(only(**{kind: 1.0}), TILE), example()
    changed = 0
    for seed in range(6):
        done = augment(tile, seed)
        np.testing.assert_array_equal(done.label, tile.label)
        np.testing.assert_array_equal(done.keep, tile.keep)
        changed += not np.array_equal(done.layers, tile.layers)
    assert changed


def test_what_comes_from_outside_is_not_kept() -> None:
    augment = Augmentation(only(shift_scale_rotate=1.0), TILE)
    tile = Example(np.full((16, TILE, TILE), 90, np.uint8), *example()[1:])
    outside = 0
    for seed in range(8):
        done = augment(tile, seed)
        empty = done.layers[0][2::4, 2::4] == 0
        assert not (done.keep & empty).any()
        outside += int(empty.sum())
    assert outside


@given(st.integers(0, 2**31 - 1))
def test_flips_and_turns_lose_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tile = Example(
        rng.integers(0, 256, (5, TILE, TILE), np.uint8)[::-1],  # a view, as slices of a store are
        rng.random((16, 16)) < 0.4,
        rng.random((16, 16)) < 0.7,
    )
    done = Augmentation(AugmentSettings.flips_only(), TILE)(tile, seed)
    symmetries = [
        [np.rot90(a[..., ::-1] if flip else a, turns, (-2, -1)) for a in tile]
        for flip in (False, True)
        for turns in range(4)
    ]
    assert any(same(done, Example(*arrays)) for arrays in symmetries)


def test_wrong_settings_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        {"blur": 1.5},
        {"rotate": -3},
        {"blur_size": 4},
        {"noise": "much"},
        {"crop_area": 0},
    ):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            AugmentSettings(**wrong)
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(MissingExtraError, match=r"s5engine\[train\]"):
        Augmentation(AugmentSettings(), TILE)
    Augmentation(AugmentSettings.flips_only(), TILE)
