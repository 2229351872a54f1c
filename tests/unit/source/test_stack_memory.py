"""What reading holds in memory stays below what it says."""

from __future__ import annotations

import tracemalloc
import weakref

import imagecodecs
import numpy as np
import pytest

from s5engine.phantom.layouts import Layout, encode_layer
from s5engine.phantom.server import LayerServer
from s5engine.source import RetryPolicy, open_stack
from s5engine.source import stack as stack_module

QUICK = RetryPolicy(attempts=2, delay=0.001, timeout=10)
HEIGHT, WIDTH, DEPTH = 1024, 4000, 3

CASES = {
    "rows": Layout(rows=1),
    "strips": Layout(rows=200),
    "tiles": Layout(tile=(128, 128)),
    "wide": Layout(tile=(16, None)),
    "one-strip": Layout(rows=None, compression="none"),
    "zstd": Layout(rows=64, compression="zstd"),
    "deflate": Layout(rows=64, compression="deflate"),
}


@pytest.fixture(scope="module")
def layer():
    return np.random.default_rng(3).integers(0, 60, (HEIGHT, WIDTH)).astype(np.uint8)


def peak_of_reading(stack, bands, in_flight, ahead):
    """The largest sum of live allocations while bands are read, less what was there before."""
    list(stack.iter_bands(bands[:1], 0, 8))  # whatever is made once is made now
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        reading = stack.iter_bands(bands, 0, WIDTH, ahead=ahead, in_flight=in_flight, threads=2)
        for _, pixels in reading:
            del pixels
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ahead", [0, 1])
def test_the_peak_is_below_the_projection(tmp_path, monkeypatch, layer, case, ahead):
    """The fixed allowances are taken out, so that the bound is a tight one."""
    monkeypatch.setattr(stack_module, "_CONNECTION_BYTES", 2**15)
    monkeypatch.setattr(stack_module, "MERGE_SIZE", 2**18)
    monkeypatch.setattr("s5engine.source.read_plan.MERGE_SIZE", 2**18)
    data = encode_layer(layer, CASES[case])
    for i in range(DEPTH):
        (tmp_path / f"{i}.tif").write_bytes(data)
    bands = [(y, y + 100) for y in range(0, 1000, 100)]
    with open_stack(tmp_path) as stack:
        peak = peak_of_reading(stack, bands, "512 KiB", ahead)
        promised = stack.overhead_bytes(bands, 0, WIDTH, in_flight="512 KiB", threads=2)
    assert peak <= promised + (1 + ahead) * DEPTH * 100 * WIDTH
    assert peak < DEPTH * layer.nbytes


def test_a_band_that_was_given_away_is_not_kept(tmp_path, layer):
    """Or a consumer that drops it, and then writes for a while, would still pay for it."""
    for i in range(DEPTH):
        (tmp_path / f"{i}.tif").write_bytes(encode_layer(layer, CASES["rows"]))
    with open_stack(tmp_path) as stack:
        reading = stack.iter_bands([(0, 100), (100, 200), (200, 300)], 0, WIDTH)
        for _ in range(3):
            _, pixels = next(reading)
            there = weakref.ref(pixels)
            del pixels
            assert there() is None
        reading.close()


def test_over_http_the_peak_is_below_the_projection(layer):
    data = encode_layer(layer, CASES["rows"])
    files = {f"s/layers/{i}.tif": data for i in range(DEPTH)}
    bands = [(y, y + 100) for y in range(0, 1000, 100)]
    with LayerServer(files) as server, open_stack(server.url("s/"), retry=QUICK) as stack:
        peak = peak_of_reading(stack, bands, "1 MiB", 1)
        promised = stack.overhead_bytes(bands, 0, WIDTH, in_flight="1 MiB", threads=2)
    assert peak <= promised + 2 * DEPTH * 100 * WIDTH


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits"])
def test_a_large_strip_is_streamed_in_little_memory(tmp_path, monkeypatch, compression):
    layer = np.random.default_rng(3).integers(0, 60, (3000, 20_000)).astype(np.uint8)
    layer[500:2500] = 0  # expands to a thousand times its bytes
    layer[600:2400, ::50] = 1
    (tmp_path / "0.tif").write_bytes(
        encode_layer(layer, Layout(rows=None, compression=compression))
    )
    with open_stack(tmp_path) as stack:
        assert stack._opened[0].spool is not None
        peak = peak_of_reading(stack, [(2900, 2910)], "1 MiB", 0)
        promised = stack._opened[0].spool.overhead
        assert peak <= promised + 2 * 10 * 20_000
        np.testing.assert_array_equal(
            stack.read((2900, 2910, 5, 19_000))[0], layer[2900:2910, 5:19_000]
        )
    assert promised < 0.9 * layer.nbytes


def test_a_picture_is_decoded_within_its_projection(tmp_path, layer):
    for i in range(DEPTH):
        (tmp_path / f"{i}.png").write_bytes(imagecodecs.png_encode(layer))
    with open_stack(tmp_path) as stack:
        promised = stack.overhead_bytes([(0, 100)], 0, WIDTH)
        tracemalloc.start()
        try:
            stack.read((0, 100, 0, WIDTH))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak <= promised + DEPTH * 100 * WIDTH
