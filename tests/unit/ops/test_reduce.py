"""Means of cells: however a picture is cut into blocks, and of what there is at its borders."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from s5engine.ops.reduce import block_mean, cell_sums


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 40)),
    factor=st.integers(1, 17),
    cuts=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kind=st.sampled_from([np.uint8, np.uint16, np.float32]),
)
def test_blocks_add_up_to_the_means_of_plain_cells(shape, factor, cuts, kind) -> None:
    picture = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    height, width = (-(-side // factor) for side in shape[1:])
    sums, counts = np.zeros((shape[0], height, width)), np.zeros((height, width))
    for y in range(0, shape[1], cuts[0]):
        for x in range(0, shape[2], cuts[1]):
            found = cell_sums(picture[:, y : y + cuts[0], x : x + cuts[1]], factor, first=(y, x))
            sums[:, found.rows, found.columns] += found.sums
            counts[found.rows, found.columns] += found.counts
    plain = np.array(
        [
            [
                [
                    layer[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].mean()
                    for x in range(width)
                ]
                for y in range(height)
            ]
            for layer in picture.astype(np.float64)
        ]
    )
    np.testing.assert_allclose(sums / counts, plain, rtol=1e-12)
    assert counts.sum() == shape[1] * shape[2]
    means = block_mean(picture, factor)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, plain, rtol=1e-6)
