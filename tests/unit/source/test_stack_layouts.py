"""Every layout and codec reads back exactly, whole, cropped and in bands."""

from __future__ import annotations

import numpy as np
import pytest

from s5engine.phantom.layouts import LAYOUTS, encode_layer
from s5engine.phantom.server import LayerServer
from s5engine.source import RetryPolicy, open_stack

QUICK = RetryPolicy(attempts=3, delay=0.001, timeout=5)
HEIGHT, WIDTH, DEPTH = 300, 2000, 3


@pytest.fixture(scope="module")
def volume():
    return np.random.default_rng(5).integers(0, 40, (DEPTH, HEIGHT, WIDTH)).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_in_the_wild_reads_back_over_http(volume, layout):
    files = {f"s5/0319/layers/{i:02d}.tif": encode_layer(volume[i], layout) for i in range(DEPTH)}
    box = (40, 180, 700, 1500)
    with LayerServer(files) as server, open_stack(server.url("s5/0319/"), retry=QUICK) as stack:
        assert (stack.layers, stack.shape) == ((0, 1, 2), (HEIGHT, WIDTH))
        np.testing.assert_array_equal(stack.read(), volume)
        server.reset_log()
        np.testing.assert_array_equal(stack.read(box), volume[:, 40:180, 700:1500])
        assert server.bytes_sent() <= 1.05 * stack.bytes_for(box)
        bands = [(0, 10), (50, 99), (99, 300)]
        for (y0, y1), pixels in stack.iter_bands(bands, 700, 1500):
            np.testing.assert_array_equal(pixels, volume[:, y0:y1, 700:1500])
