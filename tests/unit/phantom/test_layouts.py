"""Every layout reads back with an independent reader, and has the structure it claims."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.errors import InvalidArgumentError
from s5engine.phantom import encode_layer, encode_layers
from s5engine.phantom.layouts import LAYOUTS, Layout, make_layout


def picture(height, width, dtype, seed=0):
    """Smooth and rough, with empty places."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    image = rng.integers(0, top // 3, (height, width)) + np.linspace(0, top // 2, width)
    image[: height // 3, : width // 2] = 0
    return image.astype(dtype)


def read_back(data):
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        return tif.pages[0].asarray(), tif


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", ["none", "lzw", "packbits", "deflate", "zstd"])
def test_every_combination_reads_back(compression, byteorder, bigtiff, dtype):
    image = picture(37, 151, dtype)
    shapes = [{"rows": 1}, {"rows": 5}, {"rows": None}, {"tile": (16, None)}, {"tile": (32, 64)}]
    predictors = [1, 2] if compression in ("lzw", "deflate", "zstd") else [1]
    for shape, predictor, ifd, sparse in itertools.product(
        shapes, predictors, ["start", "end"], [False, True]
    ):
        layout = Layout(
            **shape,
            compression=compression,
            predictor=predictor,
            byteorder=byteorder,
            bigtiff=bigtiff,
            ifd=ifd,
            sparse=sparse,
        )
        found, tif = read_back(encode_layer(image, layout))
        assert found.dtype.itemsize == image.dtype.itemsize
        np.testing.assert_array_equal(found, image)
        assert (tif.byteorder, tif.is_bigtiff) == (byteorder, bigtiff)
        page = tif.pages[0]
        assert (page.offset < page.dataoffsets[-1]) == (ifd == "start")
        assert page.predictor == predictor
        assert page.is_tiled == ("tile" in shape)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 300),
    name=st.sampled_from(list(LAYOUTS)),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
def test_named_layouts_read_back_at_any_size(height, width, name, dtype):
    image = picture(height, width, dtype, seed=height)
    np.testing.assert_array_equal(read_back(encode_layer(image, name))[0], image)


def test_named_layouts_have_the_structure_of_the_files_in_the_wild():
    image = picture(300, 1000, "uint8")
    pages = {name: read_back(encode_layer(image, name))[1] for name in LAYOUTS}
    rows, tiles, wide, one = (pages[n].pages[0] for n in LAYOUTS)
    assert not pages["rows-lzw"].is_bigtiff
    assert (rows.rowsperstrip, rows.compression, rows.predictor) == (1, 5, 2)
    assert rows.offset > max(rows.dataoffsets)
    assert pages["tiles-128"].is_bigtiff
    assert (tiles.tilelength, tiles.tilewidth, tiles.compression, tiles.predictor) == (
        128,
        128,
        5,
        2,
    )
    assert (wide.tilelength, wide.tilewidth) == (16, 1008)
    assert len(one.dataoffsets) == 1
    assert one.compression == 1
    assert one.is_contiguous


def test_other_readers_agree(tmp_path):
    cv2 = pytest.importorskip("cv2")
    from PIL import Image

    for number, (dtype, name) in enumerate(itertools.product(["uint8", "uint16"], LAYOUTS)):
        image = picture(70, 200, dtype)
        path = tmp_path / f"{number}.tif"
        path.write_bytes(encode_layer(image, name, bigtiff=False))
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), image)
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.asarray(opened), image)


def test_sparse_leaves_empty_segments_out():
    image = np.zeros((64, 64), np.uint8)
    image[:32, :32] = 7
    found, tif = read_back(encode_layer(image, Layout(tile=(32, 32), sparse=True)))
    page = tif.pages[0]
    assert [count > 0 for count in page.databytecounts] == [True, False, False, False]
    assert page.dataoffsets[1:] == (0, 0, 0)
    np.testing.assert_array_equal(found, image)


def test_layers_are_named_and_padded():
    volume = np.stack([picture(20, 30, "uint8", seed) for seed in range(3)])
    assert list(encode_layers(volume)) == ["00.tif", "01.tif", "02.tif"]
    assert list(encode_layers(volume, pad=1)) == ["0.tif", "1.tif", "2.tif"]
    for number, data in enumerate(encode_layers(volume, "tiles-128").values()):
        np.testing.assert_array_equal(read_back(data)[0], volume[number])


@pytest.mark.parametrize("layout", ["tiles-wide", "tiles-128", "rows-lzw"])
def test_part_files_together_are_the_layer(layout):
    image = picture(300, 200, "uint8")
    files = encode_layers(image[None], layout, parts=3)
    assert list(files) == ["00.part0.tif", "00.part1.tif", "00.part2.tif"]
    pieces = [read_back(data)[0] for data in files.values()]
    assert all(piece.shape == image.shape for piece in pieces)
    assert sum((piece > 0).astype(int) for piece in pieces).max() == 1
    np.testing.assert_array_equal(sum(pieces), image)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"compression": "jpeg"}, "no compression 'jpeg'"),
        ({"compression": "none", "predictor": 2}, "predictor 2 does not go"),
        ({"predictor": 3}, "predictor must be"),
        ({"byteorder": "="}, "byte order"),
        ({"ifd": "middle"}, "ifd"),
        ({"tile": (10, 16)}, "multiples of 16"),
        ({"rows": 0}, "at least 1"),
        ({"colour": 1}, "has no"),
    ],
)
def test_impossible_layouts_are_refused(knobs, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make_layout("rows-lzw", **knobs)


def test_impossible_images_and_names_are_refused():
    with pytest.raises(InvalidArgumentError, match="no layout"):
        encode_layer(np.zeros((2, 2), np.uint8), "tiles")
    with pytest.raises(InvalidArgumentError, match="float32"):
        encode_layer(np.zeros((2, 2), np.float32))
