"""Files of true size are valid TIFFs, hold what is expected, and take little memory."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import tifffile

from s5engine.errors import InvalidArgumentError
from s5engine.phantom import Phantom, layers_path, serve_phantom, true_scale_segment
from s5engine.phantom.layouts import LAYOUTS
from s5engine.phantom.true_scale import _pick, _prime


class Opened(io.RawIOBase):
    """A virtual file as tifffile wants it."""

    def __init__(self, file):
        self.file, self.at = file, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.file.size)[whence]
        return self.at

    def readinto(self, buffer):
        data = self.file.read(self.at, self.at + len(buffer))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


KNOBS = [(name, {}) for name in LAYOUTS] + [
    ("tiles-wide", {"compression": "packbits", "bigtiff": False}),
    ("rows-lzw", {"dtype": "uint16", "byteorder": ">"}),
    ("tiles-wide", {"dtype": "uint16"}),
    ("tiles-128", {"dtype": "uint16", "compression": "zstd"}),
    ("rows-lzw", {"rows": 5, "ifd": "start"}),
]


@pytest.mark.parametrize(("name", "knobs"), KNOBS)
def test_every_pixel_of_a_small_one_is_as_expected(name, knobs):
    segment = true_scale_segment(330, 1500, 23, layout=name, distinct=13, **knobs)
    assert segment.shape == (23, 330, 1500)
    assert list(segment.files)[:2] == ["00.tif", "01.tif"]
    expected = segment.expected()
    for number, file in enumerate(segment.files.values()):
        found = tifffile.imread(io.BytesIO(file.read()))
        assert found.dtype == expected.dtype == np.dtype(knobs.get("dtype", "uint8"))
        np.testing.assert_array_equal(found, expected[number])
    cut = segment.expected([5, 2], (17, 291, 333, 1207))
    np.testing.assert_array_equal(cut, expected[[5, 2], 17:291, 333:1207])


@pytest.mark.parametrize("name", ["rows-lzw", "tiles-wide", "one-strip"])
def test_neighbouring_rows_and_different_layers_differ_everywhere(name):
    segment = true_scale_segment(640, 3000, 21, layout=name)
    volume = segment.expected()
    assert volume.any(axis=2).all()
    step = 16 if name == "tiles-wide" else 1
    assert (volume[:, step:] != volume[:, :-step]).any(axis=2).all()
    for number in range(1, 21):
        differ = volume[number:] != volume[:-number]
        assert differ.any(axis=2).all()


def test_tiles_differ_from_their_neighbours_or_are_empty_in_all_layers():
    segment = true_scale_segment(128 * 20, 128 * 20, 3, layout="tiles-128")
    tiles = segment.expected().reshape(3, 20, 128, 20, 128).transpose(0, 1, 3, 2, 4)
    empty = ~tiles.any(axis=(3, 4))
    assert 0.02 < empty.mean() < 0.6
    assert (empty == empty[0]).all()
    full = ~empty[0]
    for a, b, where in (
        (tiles[0, 1:], tiles[0, :-1], full[1:] & full[:-1]),
        (tiles[0, :, 1:], tiles[0, :, :-1], full[:, 1:] & full[:, :-1]),
        (tiles[0], tiles[1], full),
    ):
        assert (a != b).any(axis=(2, 3))[where].all()


def test_the_pattern_does_not_repeat_with_the_library():
    rows = np.arange(2000)
    picked = _pick(3, rows, 0, 23)
    assert (picked[:23] != picked[23:46]).any()
    assert (np.diff(picked) != 0).all()
    assert set(picked.tolist()) == set(range(23))


def test_primes():
    assert [_prime(n) for n in (2, 13, 14, 24, 128, 500)] == [2, 13, 17, 29, 131, 503]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_true_size_reads_back_at_random_places(name):
    segment = true_scale_segment(layout=name)
    file = segment.files["07.tif"]
    assert 2e9 < file.size < 2**32
    with tifffile.TiffFile(Opened(file)) as tif:
        page = tif.pages[0]
        assert page.shape == (13_780, 289_380)
        raw_size = 13_780 * 289_380 / file.size
        assert 1.3 < raw_size < 1.8 or name == "one-strip"
        rng = np.random.default_rng(1)
        if name == "one-strip":
            for y in rng.integers(0, 13_780, 20).tolist():
                at = page.dataoffsets[0] + y * 289_380
                row = np.frombuffer(file.read(at, at + 289_380), np.uint8)
                np.testing.assert_array_equal(
                    row, segment.expected([7], (y, y + 1, 0, 289_380))[0, 0]
                )
            return
        for k in rng.integers(0, len(page.dataoffsets), 20).tolist():
            at, size = page.dataoffsets[k], page.databytecounts[k]
            data, where, shape = page.decode(file.read(at, at + size), k)
            y, x = where[2], where[3]
            h, w = min(shape[1], 13_780 - y), min(shape[2], 289_380 - x)
            want = segment.expected([7], (y, y + h, x, x + w))[0]
            np.testing.assert_array_equal(data[0, :h, :w, 0], want)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_true_size_takes_little_memory():
    # VmHWM, not ru_maxrss: that one is inherited from the process that starts this one.
    code = (
        "import re, pathlib\n"
        "from s5engine.phantom import true_scale_segment, LayerServer\n"
        "segment = true_scale_segment(layout='tiles-wide')\n"
        "LayerServer(segment.files).close()\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', status)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 400e6


def test_wider_than_4_gib_becomes_bigtiff_or_is_refused():
    wide = {"layout": "one-strip", "distinct": 13}
    segment = true_scale_segment(13_440, 429_360, 1, **wide)
    file = segment.files["00.tif"]
    assert file.size > 2**32
    with tifffile.TiffFile(Opened(file)) as tif:
        assert tif.is_bigtiff
        page = tif.pages[0]
        at = page.dataoffsets[0] + 13_439 * 429_360
        last = np.frombuffer(file.read(at, at + 429_360), np.uint8)
        want = segment.expected([0], (13_439, 13_440, 0, 429_360))[0, 0]
        np.testing.assert_array_equal(last, want)
    with pytest.raises(InvalidArgumentError, match="4 GiB"):
        true_scale_segment(13_440, 429_360, 1, bigtiff=False, **wide)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "one-strip", "compression": "lzw"}, "compressed single strip"),
        ({"layout": "tiles-128", "sparse": True}, "sparse"),
        ({"rows": 7}, "divides the height"),
    ],
)
def test_what_cannot_repeat_is_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        true_scale_segment(300, 500, 2, **arguments)


def test_expected_refuses_what_is_outside():
    segment = true_scale_segment(300, 500, 2, distinct=13)
    with pytest.raises(InvalidArgumentError, match="layers 0 to 1"):
        segment.expected([2])
    with pytest.raises(InvalidArgumentError, match="not inside"):
        segment.expected([0], (0, 301, 0, 5))


# --- serving ----------------------------------------------------------------------------------


def fetch(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_a_phantom_is_served_as_the_data_server_does():
    phantom = Phantom(90, 200, layers=3, dtype="uint16")
    with serve_phantom(phantom, layout="tiles-wide", segment="03192025", listing="nginx") as server:
        page = fetch(server.url("scrolls/s5/autogens/03192025/layers/")).decode()
        names = re.findall(r'href="(\d+\.tif)"', page)
        assert names == ["00.tif", "01.tif", "02.tif"]
        for number, name in enumerate(names):
            found = tifffile.imread(io.BytesIO(fetch(server.url(layers_path("03192025") + name))))
            np.testing.assert_array_equal(found, phantom.read(layers=[number])[0])


def test_names_knobs_and_parts_are_passed_on():
    phantom = Phantom(90, 200, layers=2)
    with serve_phantom(phantom, pad=1, knobs={"compression": "zstd"}) as server:
        data = fetch(server.url(layers_path() + "1.tif"))
        with tifffile.TiffFile(io.BytesIO(data)) as tif:
            assert tif.pages[0].compression == 50000
    with serve_phantom(phantom, layout="tiles-wide", parts=2) as server:
        assert "00.part1.tif" in fetch(server.url(layers_path())).decode()


def test_a_true_scale_segment_is_served_by_ranges():
    segment = true_scale_segment(300, 500, 2, layout="one-strip", distinct=13)
    with serve_phantom(segment, segment="big") as server:
        found = tifffile.imread(io.BytesIO(fetch(server.url(layers_path("big") + "01.tif"))))
        np.testing.assert_array_equal(found, segment.expected([1])[0])
    with pytest.raises(InvalidArgumentError, match="exist already"):
        serve_phantom(segment, layout="tiles-128")


def test_a_phantom_that_cannot_be_encoded_whole_is_refused_at_once():
    with pytest.raises(InvalidArgumentError, match="true_scale_segment"):
        serve_phantom(Phantom(13_780, 289_380))
