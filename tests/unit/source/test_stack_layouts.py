"""Every layout and codec reads back exactly, whole, cropped and in bands."""

from __future__ import annotations

import io
import itertools
import struct

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.phantom.layouts import LAYOUTS, Layout, encode_layer
from s5engine.phantom.server import LayerServer
from s5engine.source import RetryPolicy, open_stack

QUICK = RetryPolicy(attempts=3, delay=0.001, timeout=5)
HEIGHT, WIDTH, DEPTH = 300, 2000, 3


def make_volume(shape, dtype, top=40, seed=5):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def write_folder(folder, volume, encode):
    folder = folder / "layers"
    folder.mkdir(parents=True)
    for i, layer in enumerate(volume):
        (folder / f"{i:02d}.tif").write_bytes(encode(layer))
    return folder


@pytest.fixture(scope="module")
def volume():
    return make_volume((DEPTH, HEIGHT, WIDTH), np.uint8)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_in_the_wild_reads_back_over_http(volume, layout, ranges):
    files = {f"s5/0319/layers/{i:02d}.tif": encode_layer(volume[i], layout) for i in range(DEPTH)}
    box = (40, 180, 700, 1500)
    with (
        LayerServer(files, ranges=ranges) as server,
        open_stack(server.url("s5/0319/"), retry=QUICK) as stack,
    ):
        assert (stack.layers, stack.shape) == ((0, 1, 2), (HEIGHT, WIDTH))
        np.testing.assert_array_equal(stack.read(), volume)
        server.reset_log()
        np.testing.assert_array_equal(stack.read(box), volume[:, 40:180, 700:1500])
        if ranges:
            assert server.bytes_sent() <= 1.05 * stack.bytes_for(box)
        else:
            assert server.bytes_sent() == 0
        bands = [(0, 10), (50, 99), (99, 300)]
        for (y0, y1), pixels in stack.iter_bands(bands, 700, 1500):
            np.testing.assert_array_equal(pixels, volume[:, y0:y1, 700:1500])


COMPRESSIONS = ["none", "lzw", "packbits", "deflate", "zstd"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("shape", ["row", "rows-7", "tiles", "wide"])
def test_every_codec_type_order_and_shape_reads_back(
    tmp_path, compression, dtype, byteorder, shape
):
    kinds = {
        "row": {"rows": 1},
        "rows-7": {"rows": 7},
        "tiles": {"tile": (32, 48)},
        "wide": {"tile": (16, None)},
    }
    predictors = (1, 2) if compression in ("lzw", "deflate", "zstd") else (None,)
    volume = make_volume((2, 75, 131), dtype, np.iinfo(dtype).max)
    for predictor in predictors:
        for big, ifd in ((False, "end"), (True, "start")):
            layout = Layout(
                compression=compression,
                byteorder=byteorder,
                predictor=predictor,
                bigtiff=big,
                ifd=ifd,
                **kinds[shape],
            )
            folder = write_folder(
                tmp_path / f"{predictor}{big}", volume, lambda a, k=layout: encode_layer(a, k)
            )
            with open_stack(folder) as stack:
                assert stack.dtype == np.dtype(dtype)
                np.testing.assert_array_equal(stack.read(), volume)
                got = stack.read((10, 60, 33, 100), layers=[1])
                np.testing.assert_array_equal(got, volume[1:, 10:60, 33:100])


@pytest.mark.parametrize("codec", ["none", "lzw", "packbits", "zlib", "zstd", "old-deflate"])
def test_files_by_other_writers_read_back(tmp_path, codec):
    """By tifffile, and by OpenCV (libtiff), which wrote the layers of early 2025."""
    volume = make_volume((2, 61, 301), np.uint16, 3000)

    def encode(layer):
        sink = io.BytesIO()
        if codec == "lzw":
            options = [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 1]
            return cv2.imencode(".tif", layer, options)[1].tobytes()
        name = {"none": None, "old-deflate": 32946}.get(codec, codec)
        tifffile.imwrite(sink, layer, compression=name, rowsperstrip=5)
        return sink.getvalue()

    with open_stack(write_folder(tmp_path, volume, encode)) as stack:
        np.testing.assert_array_equal(stack.read(), volume)


def test_segments_left_out_because_they_are_empty_read_as_zero(tmp_path):
    volume = make_volume((2, 90, 200), np.uint8)
    volume[:, 32:64] = 0
    for compression in ("lzw", "none"):
        layout = Layout(tile=(16, 16), compression=compression, sparse=True)
        folder = write_folder(
            tmp_path / compression, volume, lambda a, k=layout: encode_layer(a, k)
        )
        with open_stack(folder) as stack:
            bands = list(stack.iter_bands([(0, 20), (20, 50), (50, 90)], 0, 200))
        np.testing.assert_array_equal(np.concatenate([b for _, b in bands], axis=1), volume)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd"])
@pytest.mark.parametrize(("dtype", "byteorder"), [(np.uint8, "<"), (np.uint16, ">")])
def test_a_large_compressed_strip_is_decoded_onto_disk(
    tmp_path, monkeypatch, compression, dtype, byteorder
):
    """The stream's plain twin is the whole strip decoded at once."""
    volume = make_volume((2, 400, 300), dtype, np.iinfo(dtype).max // 4)
    volume[:, 100:200] = 7
    for rows in (None, 150):
        layout = Layout(rows=rows, compression=compression, byteorder=byteorder)
        folder = write_folder(tmp_path / str(rows), volume, lambda a, k=layout: encode_layer(a, k))
        with open_stack(folder) as stack:
            plain = stack.read((30, 380, 40, 290))
        monkeypatch.setattr("s5engine.source.opening.BIG_SEGMENT", 1000)
        monkeypatch.setattr("s5engine.source.strip_spool.STEP", 3001)
        with open_stack(folder) as stack:
            assert all(layer.spool is not None for layer in stack._opened)
            bands = [(30, 120), (120, 121), (121, 380)]
            parts = [pixels for _, pixels in stack.iter_bands(bands, 40, 290)]
            np.testing.assert_array_equal(np.concatenate(parts, axis=1), plain)
            np.testing.assert_array_equal(stack.read(), volume)
        monkeypatch.undo()


def test_a_large_strip_is_read_no_further_than_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr("s5engine.source.opening.BIG_SEGMENT", 1000)
    monkeypatch.setattr("s5engine.source.strip_spool.STEP", 4096)
    volume = make_volume((1, 400, 1000), np.uint8)
    data = encode_layer(volume[0], Layout(rows=None, compression="lzw"))
    with LayerServer({"s/layers/0.tif": data}) as server:
        with open_stack(server.url("s/"), retry=QUICK) as stack:
            np.testing.assert_array_equal(stack.read((0, 40, 0, 1000)), volume[:, :40])
            first = server.bytes_sent("s/layers/0.tif")
            stack.read((0, 40, 0, 500))
            assert server.bytes_sent("s/layers/0.tif") == first
        assert first < 0.25 * len(data)


LAYOUTS_FOR_BANDS = [
    Layout(rows=1),
    Layout(rows=9),
    Layout(rows=9, compression="none"),
    Layout(rows=None, compression="none"),
    Layout(tile=(16, 32)),
    Layout(tile=(16, None)),
    Layout(tile=(16, 32), compression="none"),
    Layout(rows=40, compression="deflate"),
]


@pytest.fixture(scope="module")
def band_stacks(tmp_path_factory):
    volume = make_volume((2, 97, 140), np.uint8)
    stacks = []
    for i, layout in enumerate(LAYOUTS_FOR_BANDS):
        folder = tmp_path_factory.mktemp(f"bands{i}")
        stacks.append(
            open_stack(write_folder(folder, volume, lambda a, k=layout: encode_layer(a, k)))
        )
    yield volume, stacks
    for stack in stacks:
        stack.close()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(LAYOUTS_FOR_BANDS) - 1),
    st.sets(st.integers(0, 97), min_size=2, max_size=9),
    st.sets(st.integers(0, 140), min_size=2, max_size=2),
    st.sets(st.integers(0, 7)),
    st.integers(0, 3),
    st.sampled_from(["1 KiB", "64 MiB"]),
)
def test_bands_are_the_rows_whatever_the_cuts(
    band_stacks, which, cuts, columns, dropped, ahead, in_flight
):
    """Straddling segments, gaps between bands, columns, read-ahead: the twin is plain slicing."""
    volume, stacks = band_stacks
    edges, (x0, x1) = sorted(cuts), sorted(columns)
    bands = list(itertools.pairwise(edges))
    bands = [b for i, b in enumerate(bands) if i not in dropped or len(bands) == 1] or bands[:1]
    got = list(stacks[which].iter_bands(bands, x0, x1, ahead=ahead, in_flight=in_flight, threads=2))
    assert [band for band, _ in got] == bands
    for (y0, y1), pixels in got:
        np.testing.assert_array_equal(pixels, volume[:, y0:y1, x0:x1])


@pytest.mark.parametrize("layout", ["rows-lzw", "tiles-128", "tiles-wide", "one-strip"])
def test_no_byte_is_fetched_twice_in_one_iteration(volume, layout):
    files = {f"s/layers/{i}.tif": encode_layer(volume[i], layout) for i in range(DEPTH)}
    bands = [(3, 40), (40, 50), (50, 177), (190, 300)]
    with LayerServer(files) as server, open_stack(server.url("s/"), retry=QUICK) as stack:
        server.reset_log()
        list(stack.iter_bands(bands, 100, 1900))
        asked = sorted((r.path, r.start, r.stop) for r in server.requests)
        for (path, _, stop), (next_path, start, _) in itertools.pairwise(asked):
            assert path != next_path or start >= stop


def test_directories_cost_little_more_than_themselves():
    image = np.zeros((13_780, 40), np.uint8)
    for ifd in ("start", "end"):
        data = encode_layer(image, Layout(rows=1, ifd=ifd))
        with LayerServer({"s/layers/00.tif": data}) as server:
            with open_stack(server.url("s/layers/"), retry=QUICK) as stack:
                arrays = 13_780 * (4 + 2)  # offsets of 4 bytes, counts below 65,536
                assert arrays < stack.directory_bytes <= arrays + 4096
            assert sum(r.path.endswith(".tif") for r in server.requests) <= 4


def test_columns_of_uncompressed_rows_are_cut_by_ranges_where_that_saves():
    image = make_volume((40, 200_000), np.uint8)
    files = {"s/layers/0.tif": encode_layer(image, Layout(rows=None, compression="none"))}
    with LayerServer(files) as server, open_stack(server.url("s/"), retry=QUICK) as stack:
        server.reset_log()
        got = stack.read((5, 25, 70_000, 71_000))
        np.testing.assert_array_equal(got[0], image[5:25, 70_000:71_000])
        assert server.bytes_sent() == 20 * 1000


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd"])
def test_a_last_strip_that_was_filled_up_is_cut(tmp_path, compression):
    """Some writers fill the last strip up to the rows of the others: read a taller image's."""
    image = make_volume((20, 50), np.uint8)
    data = bytearray(encode_layer(image, Layout(rows=10, compression=compression)))
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == 257:
            struct.pack_into("<I", data, entry + 8, 17)
    (tmp_path / "0.tif").write_bytes(data)
    with open_stack(tmp_path) as stack:
        np.testing.assert_array_equal(stack.read()[0], image[:17])
