"""Masks in bands of rows are those of `read_mask`, for every kind of PNG."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

import s5engine as s5
from s5engine.errors import InvalidArgumentError, SourceError, SourceNotFoundError
from s5engine.source.mask_rows import mask_rows, read_header

SHAPE = (61, 83)


def gray(seed=0, shape=SHAPE):
    """Soft edges and flat areas: every value, much of it 0 and 255."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, shape).astype(np.uint8)
    values[5:20], values[25:40] = 0, 255
    return values


def png(path, mode):
    """Write a picture of this kind."""
    values, rng = gray(), np.random.default_rng(1)
    if mode.startswith("P"):
        colours = int(mode[1:])
        image = Image.fromarray((values.astype(int) % colours).astype(np.uint8)).convert("P")
        palette = rng.integers(0, 256, (colours, 3), np.uint8)
        palette[::2] = 255 * (rng.random((len(palette[::2]), 1)) > 0.5)
        image.putpalette(palette.tobytes())
        image.save(path, bits=max(1, (colours - 1).bit_length()), transparency=1)
    elif mode == "1":
        Image.fromarray(values > 99).save(path)
    elif mode.endswith("16"):
        samples = {"L16": 1, "RGB16": 3, "RGBA16": 4}[mode]
        deep = rng.integers(0, 2**16, (*SHAPE, samples)).astype(np.uint16)
        deep[gray() == 255] = 65535
        path.write_bytes(imagecodecs.png_encode(deep[..., 0] if samples == 1 else deep))
    else:
        samples = len(mode)
        noise = rng.integers(0, 256, (*SHAPE, samples)).astype(np.uint8)
        noise[..., : 1 if samples < 3 else 3] = values[..., None]
        noise[40:] = rng.integers(0, 256, noise[40:].shape)
        Image.fromarray(noise[..., 0] if samples == 1 else noise, mode).save(path)


MODES = ["L", "LA", "RGB", "RGBA", "1", "P2", "P4", "P16", "P256", "L16", "RGB16", "RGBA16"]


@pytest.mark.filterwarnings("ignore:.*mode.*parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("mode", MODES)
def test_every_kind_in_every_band(tmp_path, mode):
    path = tmp_path / "m.png"
    png(path, mode)
    assert read_header(path).shape == SHAPE
    for threshold in (255, 128, 1):
        whole = s5.read_mask(path, threshold=threshold)
        for rows in (1, 7, 61, 100):
            bands = list(mask_rows(path, rows, threshold=threshold))
            assert [y for y, _ in bands] == list(range(0, SHAPE[0], rows))
            joined = np.concatenate([band for _, band in bands])
            assert joined.dtype == np.bool_
            np.testing.assert_array_equal(joined, whole)


def filtered(values, kind):
    """Filter rows of bytes as the PNG standard says (section 9), one pixel at a time."""
    rows, width = values.shape
    old = np.zeros((rows + 1, width + 1), int)
    old[1:, 1:] = values
    out = b""
    for y in range(1, rows + 1):
        line = bytearray([kind])
        for x in range(1, width + 1):
            left, up, corner = old[y, x - 1], old[y - 1, x], old[y - 1, x - 1]
            estimate = left + up - corner
            nearest = min((left, up, corner), key=lambda v, e=estimate: abs(e - v))
            guess = (0, left, up, (left + up) // 2, nearest)[kind]
            line.append((old[y, x] - guess) % 256)
        out += line
    return out


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("piece", [10, 100_000])
def test_every_filter_crosses_bands_and_chunks(tmp_path, kind, piece):
    values = gray(3, (41, 30))
    stream = zlib.compress(filtered(values, kind))
    bodies = [stream[i : i + piece] for i in range(0, len(stream), piece)]
    header = struct.pack(">IIBBBBB", 30, 41, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [(b"IHDR", header), *((b"IDAT", b) for b in bodies), (b"IEND", b"")]:
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "m.png").write_bytes(data)
    for rows in (1, 6, 41):
        joined = np.concatenate([band for _, band in mask_rows(tmp_path / "m.png", rows)])
        np.testing.assert_array_equal(joined, values == 255)


def interlaced(path, values):
    """Write a gray picture in the seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    stream = b""
    for y, x, dy, dx in [*passes, (1, 0, 2, 1)]:
        for row in values[y::dy, x::dx]:
            stream += b"\0" + row.tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(stream)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(data)


def test_an_interlaced_file(tmp_path):
    interlaced(tmp_path / "m.png", gray())
    joined = np.concatenate([band for _, band in mask_rows(tmp_path / "m.png", 9)])
    np.testing.assert_array_equal(joined, gray() == 255)


def test_memory_is_that_of_bands(tmp_path):
    """RGBA of 4,000 × 3,000 is 48 MB decoded; bands of 64 rows are 0.8 MB."""
    values = np.zeros((4000, 3000, 4), np.uint8)
    values[1000:1010] = 255
    (tmp_path / "m.png").write_bytes(imagecodecs.png_encode(values, level=1))
    del values
    tracemalloc.start()
    try:
        count = sum(int(band.sum()) for _, band in mask_rows(tmp_path / "m.png", 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 16e6


@pytest.mark.parametrize("spoil", ["cut", "flipped", "short", "checksum"])
def test_a_damaged_file_is_one_clear_error(tmp_path, spoil):
    path = tmp_path / "m.png"
    data = bytearray(imagecodecs.png_encode(gray()))
    if spoil == "cut":
        data = data[: len(data) // 2]
    elif spoil == "flipped":
        data[len(data) // 2] ^= 0x10
    elif spoil == "checksum":
        data[-17] ^= 1  # of IDAT, before IEND
    else:  # the header promises more rows
        data[20:24] = struct.pack(">I", 900)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"m\.png: the picture is damaged"):
        list(mask_rows(path, 10))


def test_what_is_no_png_is_refused(tmp_path):
    path = tmp_path / "m.png"
    with pytest.raises(SourceNotFoundError, match=r"m\.png does not exist"):
        next(mask_rows(path, 10))
    path.write_bytes(b"II*\0 nonsense")
    with pytest.raises(SourceError, match="is not a PNG file"):
        read_header(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(SourceError, match="it has no header"):
        read_header(path)
    Image.fromarray(gray()).save(path)
    with pytest.raises(InvalidArgumentError, match="threshold 300"):
        next(mask_rows(path, 10, threshold=300))
