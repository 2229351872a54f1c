"""Pictures as masks and as layers."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from s5engine.errors import InvalidArgumentError, SourceError, SourceNotFoundError
from s5engine.phantom.server import LayerServer
from s5engine.source import RetryPolicy, open_stack, read_mask
from s5engine.source.images import luma

QUICK = RetryPolicy(attempts=2, delay=0.001, timeout=5)


def soft_label(height=60, width=80):
    """A gray label with soft edges: every value, much of it 0, 254 and 255."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (height, width)).astype(np.uint8)
    values[:20], values[20:30], values[30:40] = 0, 254, 255
    return values


def as_mode(gray, mode):
    image = Image.fromarray(gray)
    if mode == "palette":  # the palette is shuffled, so that an index is not a value
        order = np.random.default_rng(2).permutation(256)
        image = Image.fromarray(np.argsort(order).astype(np.uint8)[gray], "L").convert("P")
        image.putpalette(np.repeat(order, 3).astype(np.uint8).tobytes())
        return image
    if mode == "RGBA":
        alpha = Image.fromarray(np.random.default_rng(3).integers(0, 256, gray.shape, np.uint8))
        return Image.merge("RGBA", (image, image, image, alpha))
    if mode == "LA":
        return Image.merge("LA", (image, image.point(lambda v: 255 - v)))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "palette", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("threshold", [255, 128, 1])
def test_every_mode_is_read_as_gray(tmp_path, mode, threshold):
    gray = soft_label()
    as_mode(gray, mode).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png", threshold=threshold)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, gray >= threshold)


def test_transparency_of_a_palette_is_ignored(tmp_path):
    gray = soft_label()
    as_mode(gray, "palette").save(tmp_path / "m.png", transparency=3)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), gray == 255)


def test_one_bit_and_sixteen_bits(tmp_path):
    gray = soft_label()
    Image.fromarray(gray >= 128).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bit.png"), gray >= 128)
    deep = np.array([[0, 65279, 65280, 65534, 65535]], np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    assert read_mask(tmp_path / "deep.png").tolist() == [[False] * 4 + [True]]
    rgb = np.repeat(deep[..., None], 3, axis=2)
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(rgb))
    assert read_mask(tmp_path / "rgb.png").tolist() == [[False] * 4 + [True]]


def test_luma_is_that_of_pillow():
    rgb = np.random.default_rng(4).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    np.testing.assert_array_equal(luma(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


def test_a_mask_larger_than_pictures_usually_are(tmp_path):
    """Beyond Pillow's limit of 89 Mpx, at which it warns of a decompression bomb."""
    big = np.zeros((9_500, 10_000), np.uint8)
    big[5_000, 7_000] = 255
    (tmp_path / "big.png").write_bytes(imagecodecs.png_encode(big, level=1))
    mask = read_mask(tmp_path / "big.png")
    assert mask.shape == big.shape
    assert np.argwhere(mask).tolist() == [[5_000, 7_000]]


def test_what_is_no_mask_is_refused(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"m\.png does not exist"):
        read_mask(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes(b"II*\0 nonsense")
    with pytest.raises(SourceError, match="is not a PNG"):
        read_mask(tmp_path / "m.png")
    data = imagecodecs.png_encode(soft_label())
    (tmp_path / "m.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"m\.png: the picture is damaged"):
        read_mask(tmp_path / "m.png")
    with pytest.raises(InvalidArgumentError, match="threshold 0"):
        read_mask(tmp_path / "m.png", threshold=0)


def write_layers(folder, pictures, suffix):
    for i, data in enumerate(pictures):
        (folder / f"{i}.{suffix}").write_bytes(data)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_layers_are_read_in_bands_as_gray(tmp_path, dtype, samples):
    rng = np.random.default_rng(6)
    shape = (2, 90, 120) if samples == 1 else (2, 90, 120, samples)
    volume = rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    gray = np.stack([luma(layer) for layer in volume])
    folder = write_layers(tmp_path, map(imagecodecs.png_encode, volume), "png")
    with open_stack(folder) as stack:
        assert (stack.shape, stack.dtype, stack.row_step) == ((90, 120), dtype, 1)
        bands = list(stack.iter_bands([(0, 33), (40, 90)], 11, 100))
        np.testing.assert_array_equal(stack.read(), gray)
        assert stack.overhead_bytes([(0, 33)], 0, 120) > gray[0].nbytes
    np.testing.assert_array_equal(bands[0][1], gray[:, :33, 11:100])
    np.testing.assert_array_equal(bands[1][1], gray[:, 40:, 11:100])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_layers_are_read(tmp_path, mode):
    gray = np.add.outer(np.arange(60), np.arange(100)).astype(np.uint8)
    sink = io.BytesIO()
    exif = Image.Exif()
    exif[270] = "a comment of some length " * 400  # so that the frame header is not at the start
    Image.fromarray(gray).convert(mode).save(sink, "JPEG", quality=95, exif=exif)
    expected = luma(imagecodecs.jpeg8_decode(sink.getvalue()))
    with open_stack(write_layers(tmp_path, [sink.getvalue()] * 2, "jpg")) as stack:
        np.testing.assert_array_equal(stack.read((5, 50, 3, 99))[1], expected[5:50, 3:99])
    assert np.abs(expected.astype(int) - gray).max() <= 4


def test_a_picture_layer_is_fetched_once(tmp_path):
    data = imagecodecs.png_encode(soft_label())
    with LayerServer({"s/layers/0.png": data}) as server:
        with open_stack(server.url("s/"), retry=QUICK) as stack:
            for y in range(0, 60, 20):
                stack.read((y, y + 20, 0, 80))
            assert stack.bytes_for(None) == len(data)
        assert server.bytes_sent("s/layers/0.png") <= 1024 + len(data)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_picture_layer_is_named(tmp_path, suffix):
    whole = imagecodecs.png_encode(soft_label())
    broken = whole[: len(whole) // 2] if suffix == "png" else b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9"
    folder = write_layers(tmp_path, [broken], suffix)
    with pytest.raises(SourceError, match=rf"0\.{suffix}"), open_stack(folder) as stack:
        stack.read()
