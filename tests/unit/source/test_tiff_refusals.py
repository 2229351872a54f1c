"""What is no layer is refused when the directory is read, with the reason and the file."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile

from s5engine.errors import InvalidArgumentError, SourceError, SourceNotFoundError
from s5engine.phantom.layouts import Layout, encode_layer
from s5engine.source import open_stack


def tiff(array, **options):
    sink = io.BytesIO()
    tifffile.imwrite(sink, array, **options)
    return sink.getvalue()


GRAY = np.arange(60, dtype=np.uint8).reshape(6, 10)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"II*\0", "not a TIFF"),
        (b"nothing of the kind", "not a TIFF file: it begins with b'nothing "),
        (b"\n<!DOCTYPE html><html>", "HTML or XML page"),
        (b"II*\0" + struct.pack("<I", 10**6), "cut off: its directory should be at byte 1000000"),
        (b"II*\0" + struct.pack("<IH", 8, 0), "has 0 entries"),
        (b"II*\0" + struct.pack("<IH", 8, 900), "has 900 entries"),
        (tiff(np.zeros((6, 10, 3), np.uint8), photometric="rgb"), "3 samples per pixel"),
        (tiff(GRAY.astype(np.float32)), "32-bit floating-point"),
        (tiff(GRAY.astype(np.int16)), "16-bit signed"),
        (tiff(GRAY.astype(np.uint32)), "32-bit unsigned"),
        (tiff(GRAY, photometric="miniswhite"), "photometric interpretation 0"),
        (tiff(np.zeros((16, 16), np.uint8), compression="jpeg"), "method 7"),
        (tiff(GRAY.astype(np.uint16), compression="lzw", predictor=3 - 1)[:-20], "cut off"),
        (encode_layer(GRAY, Layout(ifd="start"))[:-5], r"strip 5 \(rows 5–5\) ends at byte"),
        (encode_layer(GRAY, Layout(ifd="end"))[:-5], "cut off"),
        (encode_layer(GRAY, Layout(compression="none", ifd="start"))[:-5], "cut off"),
    ],
)
def test_what_is_no_layer_is_refused(tmp_path, data, said):
    (tmp_path / "07.tif").write_bytes(data)
    with pytest.raises(SourceError, match=rf"07\.tif.*{said}"):
        open_stack(tmp_path)


def with_tag(data, tag, value):
    """Change the value of one inline tag of a little-endian classic TIFF."""
    data = bytearray(data)
    at = struct.unpack_from("<I", data, 4)[0]
    for i in range(struct.unpack_from("<H", data, at)[0]):
        entry = at + 2 + 12 * i
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<I", data, entry + 8, value)
            return bytes(data)
    raise AssertionError(tag)


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [(257, 0, "0 × 10 px"), (278, 4, "need as many offsets"), (317, 3, "predictor 3")],
)
def test_a_damaged_directory_is_refused(tmp_path, tag, value, said):
    (tmp_path / "0.tif").write_bytes(with_tag(encode_layer(GRAY, Layout()), tag, value))
    with pytest.raises(SourceError, match=said):
        open_stack(tmp_path)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "deflate", "zstd"])
@pytest.mark.parametrize("large", [False, True])
def test_damaged_strips_are_named(tmp_path, monkeypatch, compression, large):
    if large:
        monkeypatch.setattr("s5engine.source.opening.BIG_SEGMENT", 10)
    image = np.random.default_rng(0).integers(0, 255, (40, 3000)).astype(np.uint8)
    data = bytearray(encode_layer(image, Layout(rows=10, compression=compression)))
    with open_stack_of(tmp_path / "good", data) as stack:
        grid = stack._opened[0].grid
        np.testing.assert_array_equal(stack.read()[0], image)
    start, size = int(grid.offsets[2]), int(grid.sizes[2])
    data[start : start + size] = b"\x01" * size if compression == "packbits" else b"\xff" * size
    if compression == "packbits":
        data[start + size - 1] = 0x7F  # a literal that the strip has no bytes for
    with open_stack_of(tmp_path / "bad", data) as stack:
        np.testing.assert_array_equal(stack.read((0, 20, 0, 3000))[0], image[:20])
        with pytest.raises(SourceError, match=r"0\.tif: strip 2 \(rows 20–29\).* damaged"):
            stack.read()
        with pytest.raises(SourceError, match=r"strip 2"):
            list(stack.iter_bands([(0, 20), (25, 40)], 0, 3000))


def open_stack_of(folder, data):
    folder.mkdir()
    (folder / "0.tif").write_bytes(data)
    return open_stack(folder)


@pytest.mark.parametrize("large", [False, True])
def test_old_style_lzw_is_refused(tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr("s5engine.source.opening.BIG_SEGMENT", 10)
    data = bytearray(encode_layer(GRAY, Layout(rows=6)))
    with open_stack_of(tmp_path / "a", data) as stack:
        start = int(stack._opened[0].grid.offsets[0])
    data[start : start + 2] = b"\x00\x01"
    with (
        open_stack_of(tmp_path / "b", data) as stack,
        pytest.raises(SourceError, match=r"strip 0 \(rows 0–5\).*old style"),
    ):
        stack.read()


def test_layers_that_differ_are_refused_in_one_error(tmp_path):
    shapes = {0: (20, 30), 1: (20, 30), 2: (20, 31)}
    for i, shape in shapes.items():
        (tmp_path / f"{i}.tif").write_bytes(encode_layer(np.zeros(shape, np.uint8), Layout()))
    (tmp_path / "3.tif").write_bytes(encode_layer(np.zeros((20, 30), np.uint16), Layout()))
    with pytest.raises(SourceError) as caught:
        open_stack(tmp_path)
    said = str(caught.value)
    assert "20 × 30 px uint8: 0.tif, 1.tif; 20 × 31 px uint8: 2.tif" in said
    assert "20 × 30 px uint16: 3.tif" in said
    with open_stack(tmp_path, layers=[0, 1]) as stack:
        assert stack.layers == (0, 1)


def test_arguments_that_do_not_fit_are_refused_before_work(tmp_path):
    with pytest.raises(SourceNotFoundError):
        open_stack(tmp_path / "nowhere")
    (tmp_path / "0.tif").write_bytes(encode_layer(GRAY, Layout()))
    with pytest.raises(InvalidArgumentError, match=r"Layers \[3\]"):
        open_stack(tmp_path, layers=[3])
    with open_stack(tmp_path) as stack:
        for bands in ([(0, 7)], [(3, 3)], [(2, 4), (3, 5)], [(4, 6), (0, 2)], []):
            with pytest.raises(InvalidArgumentError):
                stack.iter_bands(bands, 0, 10)
        with pytest.raises(InvalidArgumentError, match="ahead=-1"):
            stack.iter_bands([(0, 2)], 0, 10, ahead=-1)
        with pytest.raises(InvalidArgumentError, match="crop"):
            stack.read((0, 6, 5, 11))
        with pytest.raises(InvalidArgumentError, match="each once"):
            stack.read(layers=[0, 0])
    with pytest.raises(SourceError, match="were closed"):
        stack.read()
