"""Balance and split: drawn by the seed, nothing twice, nothing lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError
from s5engine.training.sampling import balance, split_tiles


def tileset(ink: list[int], parts: int = 3) -> Any:
    """Return what sampling looks at: the index of a tileset."""
    values = np.array(ink, np.uint8)

    class Index(SimpleNamespace):
        def __len__(self) -> int:
            return len(values)

    names = tuple(f"s_{k:02d}" for k in range(1, parts + 1))
    part = (np.arange(len(values)) % parts).astype(np.uint16)
    return Index(ink_percent=values, part=part, part_names=names)


inks = st.lists(st.sampled_from([0, 0, 0, 2, 5, 40]), min_size=1, max_size=200).filter(
    lambda ink: max(ink) >= 5
)


@given(inks, st.floats(0, 3), st.integers(0, 2**31))
def test_all_the_ink_and_its_share_of_blanks(ink: list[int], ratio: float, seed: int) -> None:
    tiles = tileset(ink)
    chosen = balance(tiles, blank_ratio=ratio, seed=seed)
    percent = tiles.ink_percent[chosen]
    inked = sum(value >= 5 for value in ink)
    assert (percent >= 5).sum() == inked
    assert (percent == 0).sum() == min(ink.count(0), int(ratio * inked))
    assert not ((percent > 0) & (percent < 5)).any()
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, balance(tiles, blank_ratio=ratio, seed=seed))


@given(inks.filter(lambda ink: len(ink) > 9), st.floats(0.01, 0.9), st.integers(0, 2**31))
def test_a_split_shares_nothing_and_loses_nothing(
    ink: list[int], fraction: float, seed: int
) -> None:
    tiles = tileset(ink)
    chosen = np.arange(len(ink))
    split = split_tiles(tiles, chosen, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([split.train, split.validation])), chosen)
    assert len(split.validation) == max(1, round(fraction * len(ink)))
    again = split_tiles(tiles, chosen, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(split.validation, again.validation)


def test_another_seed_draws_others() -> None:
    tiles = tileset([40] * 20 + [0] * 200)
    assert set(balance(tiles, seed=1)) != set(balance(tiles, seed=2))
    chosen = balance(tiles)
    assert set(split_tiles(tiles, chosen, seed=1).validation) != set(
        split_tiles(tiles, chosen, seed=2).validation
    )


def test_whole_parts_validate() -> None:
    tiles = tileset([40] * 30)
    split = split_tiles(tiles, balance(tiles), parts=["s_02"])
    assert set(tiles.part[split.validation]) == {1}
    assert set(tiles.part[split.train]) == {0, 2}


def test_wrong_input_is_said() -> None:
    tiles = tileset([0, 3, 3])
    with pytest.raises(InvalidArgumentError, match=r"None of the 3 tiles.*the most is 3 %"):
        balance(tiles)
    with pytest.raises(InvalidArgumentError, match="min_ink"):
        balance(tiles, min_ink=0)
    full = tileset([40] * 6, parts=2)
    chosen = balance(full)
    for options, words in [
        ({"parts": ["x"]}, "no parts"),
        ({"parts": ["s_01", "s_02"]}, "0 are left for training"),
        ({"fraction": 0.0}, "share"),
        ({"fraction": 0.99}, "0 are left for training"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words):
            split_tiles(full, chosen, **options)
