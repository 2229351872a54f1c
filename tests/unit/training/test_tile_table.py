"""The choice of tiles is that of the rule, written down plainly, tile by tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from s5engine.errors import InvalidArgumentError
from s5engine.training.tile_table import (
    TileRules,
    covered_cells,
    find_tiles,
    full_cells,
    reduce_map,
    window_sums,
)


def bands_of(mask, rows):
    return [(y, mask[y : y + rows]) for y in range(0, len(mask), rows)]


def blobs(rng, shape, share):
    """A random mask of rectangles: whole tiles of 1 and of 0, and edges."""
    mask = np.full(shape, share > 0.5)
    for _ in range(rng.integers(0, 6)):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] ^= True
    return mask


def plain_tiles(label, ignore, papyrus, rules):
    """The 2025 rule as the specification words it: padded, cut, reduced, counted."""
    size = rules.tile
    padding = [(0, -n % size) for n in label.shape]
    keep = np.pad(~ignore, padding)
    label, papyrus = np.pad(label & ~ignore, padding), np.pad(papyrus, padding)
    side, found = size // 4, []
    for y in range(0, label.shape[0] - size + 1, rules.stride):
        for x in range(0, label.shape[1] - size + 1, rules.stride):
            cut = (slice(y, y + size), slice(x, x + size))
            small = {"order": 0, "preserve_range": True, "anti_aliasing": False}
            ink, kept = (
                resize(m[cut].astype(np.uint8), (side, side), **small).sum() for m in (label, keep)
            )
            ink_percent, kept_percent = (int(100 * n // side**2) for n in (ink, kept))
            if papyrus[cut].all() and kept_percent >= rules.min_keep:
                found.append((y, x, ink_percent, 100 - kept_percent))
    return found


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.sampled_from([8, 16, 24]),
    stride=st.sampled_from([4, 8, 12, 16, 24, 40]),
    min_keep=st.sampled_from([0, 5, 60]),
)
def test_tiles_are_those_of_the_plain_rule(seed, shape, tile, stride, min_keep):
    rng = np.random.default_rng(seed)
    label, ignore, papyrus = (blobs(rng, shape, share) for share in (rng.random(), 0, 1))
    rules = TileRules(tile, stride, min_keep)
    rows = rules.cell * int(rng.integers(1, 5))
    keep = ~reduce_map(bands_of(ignore, rows), shape)
    ink = reduce_map(bands_of(label, rows), shape) & keep
    full = full_cells(bands_of(papyrus, rows), shape, rules.cell)
    table = find_tiles(ink, keep, full, shape, rules)
    columns = (table.y, table.x, table.ink_percent, table.ignore_percent)
    found = [tuple(int(v) for v in row) for row in zip(*columns, strict=True)]
    assert found == plain_tiles(label, ignore, papyrus, rules)
    assert len(found) <= table.on_papyrus <= table.on_grid

    covered = np.zeros(shape, bool)
    for y, x, *_ in found:
        covered[y : y + tile, x : x + tile] = True
    cells = covered_cells(table.y, table.x, shape, rules)
    pixels = np.repeat(np.repeat(cells, rules.cell, 0), rules.cell, 1)[: shape[0], : shape[1]]
    np.testing.assert_array_equal(pixels, covered)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 3), (0, 4)])
def test_window_sums_of_every_size(shape):
    values = np.random.default_rng(0).integers(0, 9, shape)
    for side, step in ((1, 1), (2, 3), (4, 1), (6, 2)):
        found = window_sums(values, side, step)
        expected = [
            [values[y : y + side, x : x + side].sum() for x in range(0, shape[1] - side + 1, step)]
            for y in range(0, shape[0] - side + 1, step)
        ]
        assert found.tolist() == expected or found.size == sum(map(len, expected)) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tile": 130}, "tile size of 130 px"),
        ({"stride": 0}, "stride of 0 px"),
        ({"stride": 66}, "stride of 66 px"),
        ({"min_keep": 101}, "not 101"),
    ],
)
def test_rules_that_do_not_fit(wrong, message):
    with pytest.raises(InvalidArgumentError, match=message):
        TileRules(**wrong)
