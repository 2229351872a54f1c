"""The contrast tables against those of the 2025 code, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from parity.golden_weights import GOLDEN
from s5engine import lookup_table

OTHER = ((0, 0), (100, 40), (200, 220), (255, 255))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lut8", ()),
        ("lut16", (((0, 0), (128, 64), (255, 255)), np.uint16)),
        ("lut8_other", (OTHER,)),
    ],
)
def test_table_is_the_golden_one(name: str, arguments: tuple[object, ...]) -> None:
    golden = np.load(GOLDEN / "contrast.npz")[name]
    table = lookup_table(*arguments)
    assert table.dtype == golden.dtype
    np.testing.assert_array_equal(table, golden)
