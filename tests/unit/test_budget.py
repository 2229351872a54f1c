"""Memory as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.budget import (
    current_rss,
    format_bytes,
    parse_bytes,
    peak_rss,
    resolve_budget,
    usable_memory,
)
from s5engine.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8 GiB", 8 * 2**30),
        ("8GiB", 8 * 2**30),
        ("1.5 gib", 3 * 2**29),
        ("500 MB", 500_000_000),
        ("2g", 2**31),
        ("1024", 1024),
        (4096, 4096),
        (1e9, 10**9),
    ],
)
def test_sizes_are_read(text: str | float, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "4 XiB", "-3 GiB", 0, -1, "0", float("nan")])
def test_what_is_no_size_is_refused(text: str | float) -> None:
    with pytest.raises(InvalidArgumentError, match="not an amount of memory"):
        parse_bytes(text)


@given(st.integers(1, 2**45))
def test_a_printed_size_reads_back_within_a_percent(size: int) -> None:
    assert abs(parse_bytes(format_bytes(size)) - size) <= 0.01 * size + 1


def test_the_default_is_a_share_of_what_may_be_used() -> None:
    assert resolve_budget(None) == int(usable_memory() * 0.6)
    assert 0 < current_rss() < usable_memory()
    assert 0 < peak_rss() < usable_memory()
