"""Claims are bounded before anything of their size is made: small files take little memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from property.test_odd_tiffs import bare_tiff
from s5engine.source.images import check_claim
from support import noise

#: Memory that opening and reading a file of a few bytes may take above what Python has, bytes.
MOST = 300 * 2**20
SIDES = st.sampled_from([1, 2**14, 2**16, 2**20, 2**22, 2**22 + 1, 2**31, 2**32 - 1])


def png(width: int, height: int, bits: int, colour: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(999))), (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), kind, body]
        parts.append(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
    return b"".join(parts)


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height & 0xFFFF, width & 0xFFFF, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


@st.composite
def claims(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a small file that claims to be a large picture."""
    height, width = draw(SIDES), draw(SIDES)
    kind = draw(st.sampled_from(["sparse", "tile", "strips", "offsets", "png", "jpeg", "code"]))
    bare = noise((1, 8, 8))[0]
    if kind == "png":
        return "00.png", png(width, height, draw(st.sampled_from([1, 8, 16])), 0)
    if kind == "jpeg":
        return "00.jpg", jpeg(width, height)
    if kind == "sparse":
        changed = {
            "tag_256": [width],
            "tag_257": [height],
            "tag_278": [height],
            "tag_273": [0],
            "tag_279": [0],
        }
    elif kind == "tile":
        changed = {
            "tag_322": [width],
            "tag_323": [height],
            "tag_324": [8],
            "tag_325": [64],
            "tag_273": None,
            "tag_279": None,
            "tag_278": None,
            "tag_259": [draw(st.sampled_from([1, 5, 8]))],
        }
    elif kind == "strips":
        changed = {"tag_256": [width], "tag_257": [height], "tag_278": [1]}
    elif kind == "code":
        changed = {
            "tag_256": [width],
            "tag_257": [height],
            "tag_278": [height],
            "tag_259": [draw(st.sampled_from([5, 8, 32773, 50000]))],
        }
    else:
        changed = {"tag_273": [8] * draw(st.integers(2, 9)), "tag_278": [1]}
    return "00.tif", bare_tiff(bare, **changed)


READ = """
import json, resource, sys
import s5engine as s5
import imagecodecs, torch, zarr, cv2  # what the rest of the package brings along
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
s5.open_volume(sys.argv[1])[0, :9, :9].values
before, told = peak(), []
for folder in json.load(sys.stdin):
    try:
        volume = s5.open_volume(folder)
        told.append(str(volume[0, :9, :9].values.shape))
    except s5.S5Error as error:
        told.append(f"{type(error).__name__}: {error}")
    if peak() - before > int(sys.argv[2]):
        told.append("TOO MUCH"); break
print(json.dumps([told, peak() - before]))
"""


def test_no_small_file_takes_much_memory(tmp_path: Path) -> None:
    (tmp_path / "fine").mkdir()
    (tmp_path / "fine" / "00.tif").write_bytes(bare_tiff(noise((1, 20, 20))[0]))
    folders: list[str] = []

    @given(claims())
    @settings(max_examples=100, deadline=None, database=None)
    def draw(claim: tuple[str, bytes]) -> None:
        folder = tmp_path / str(len(folders))
        folder.mkdir()
        (folder / claim[0]).write_bytes(claim[1])
        folders.append(str(folder))

    draw()
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "fine"), str(MOST)],
        input=json.dumps(folders),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told, grown = json.loads(done.stdout)
    assert len(told) == len(folders), told[-2:]
    assert grown < MOST
    assert all(len(line) < 600 for line in told)
    assert sum("Error" in line for line in told) > len(told) / 3


def test_half_a_billion_offsets_are_refused_unread(tmp_path: Path) -> None:
    """The file is long enough for them: a hole in it takes no disk."""
    count = 500_000_000
    tags = {256: 8, 257: count, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
    entries = [(tag, 1, value) for tag, value in tags.items()]
    entries += [(273, count, 4096), (279, count, 4096 + 4 * count)]
    table = b"".join(struct.pack("<HHII", t, 4, n, v) for t, n, v in sorted(entries))
    path = tmp_path / "00.tif"
    with path.open("wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + table)
        file.truncate(4096 + 8 * count)
    with pytest.raises(s5.S5Error, match="500,000,000"):
        s5.open_volume(tmp_path)


@given(
    size=st.integers(1, 10**6),
    height=st.integers(1, 2**31),
    width=st.integers(1, 2**31),
    bits=st.sampled_from([1, 2, 4, 8, 16]),
    is_png=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_a_picture_that_is_let_in_is_no_longer_than_its_code_can_be(
    size: int, height: int, width: int, bits: int, is_png: bool
) -> None:
    try:
        check_claim((height, width), bits, size, is_png, "x.png")
    except s5.S5Error as error:
        if "cannot hold" not in str(error):
            pytest.fail(str(error))
        return
    assert height * width * (bits / 8 if is_png else 1) <= size * (1032 if is_png else 512)


@pytest.mark.parametrize("value", [0, 255])
def test_the_plainest_pictures_are_let_in(value: int) -> None:
    from imagecodecs import jpeg8_encode, png_encode

    plain = np.full((3000, 4000), value, np.uint8)
    for name, data in (("00.png", png_encode(plain, level=9)), ("00.jpg", jpeg8_encode(plain))):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            assert (s5.open_volume(folder)[0, ::100, ::100].values == value).all()


def test_masks_are_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(png(2**31 - 1, 2**31 - 1, 8, 6))
    with pytest.raises(s5.S5Error, match="cannot hold"):
        s5.read_mask(tmp_path / "mask.png")
