"""Boxes, parts and windows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError
from s5engine.geometry import Box, TileAxis, as_box, part_columns, window_layers


def test_the_parts_of_the_two_title_segments() -> None:
    first, second = part_columns(289_380), part_columns(429_360)
    assert (len(first), first[2], first[29]) == (29, (10_000, 20_000), (280_000, 289_380))
    assert (len(second), second[43]) == (43, (420_000, 429_360))


def test_a_first_offset_narrows_the_first_part() -> None:
    assert part_columns(25_000, 10_000, 4_000) == {
        1: (0, 6_000),
        2: (6_000, 16_000),
        3: (16_000, 25_000),
    }
    assert part_columns(5_000, 10_000, 4_000) == {1: (0, 5_000)}


@given(st.integers(1, 10**6), st.integers(1, 50_000), st.integers(0, 49_999))
def test_parts_follow_each_other_without_gap(width: int, part: int, offset: int) -> None:
    spans = list(part_columns(width, part, offset % part).values())
    assert spans[0][0] == 0
    assert spans[-1][1] == width
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(spans))
    assert all(x1 - x0 <= part for x0, x1 in spans)


@pytest.mark.parametrize("arguments", [(0, 0), (100, 100), (100, -1), (300.0, 0)])
def test_parts_that_cannot_be_cut_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be cut"):
        part_columns(1000, *arguments)


@pytest.mark.parametrize("box", [(0, 11, 0, 5), (3, 3, 0, 5), (-1, 4, 0, 5), (5, 4, 0, 5)])
def test_a_box_outside_or_empty_is_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"y 0:10, x 0:20"):
        as_box(box, 10, 20)


@pytest.mark.parametrize("value", [(1, 2, 3), "abcd", 7])
def test_what_is_no_box_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="four whole numbers"):
        as_box(value, 10, 20)  # type: ignore[arg-type]


def test_a_box_knows_its_size() -> None:
    assert as_box(None, 10, 20) == Box(0, 10, 0, 20)
    assert Box(2, 5, 1, 9).shape == (3, 8)
    assert list(window_layers(3)) == list(range(3, 19))


@pytest.mark.parametrize("stride", [0, 24, 65, 128])
def test_a_stride_that_does_not_divide_is_refused(stride: int) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"does not divide.*Choose one of \[8, 16, 32, 64"
    ):
        TileAxis(200, 64, stride)


def test_an_axis_shorter_than_a_tile_has_one_tile_or_none() -> None:
    axis = TileAxis(40, 64, 16)
    assert (axis.origins.tolist(), axis.blocks(128).pixels) == ([0], (40,))
    with pytest.raises(InvalidArgumentError, match="smaller than one tile"):
        TileAxis(40, 64, 16, "drop")
