"""Whatever the layout and the box: hardly more bytes are sent than its strips or tiles have."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.phantom import LAYOUTS, LayerServer, encode_layers
from s5engine.source.stack import open_stack

LAYERS, HEIGHT, WIDTH = 3, 330, 700
#: Besides the four layouts: a predictor with two bytes, big-endian, a directory in front.
KNOBS: dict[str, dict[str, Any]] = {
    **{name: {"layout": name} for name in LAYOUTS},
    "rows-lzw-start": {"layout": "rows-lzw", "ifd": "start", "byteorder": ">"},
    "seven-rows-deflate": {"layout": "rows-lzw", "rows": 7, "compression": "deflate"},
    "tiles-wide-packbits": {"layout": "tiles-wide", "compression": "packbits", "bigtiff": False},
    "tiles-128-zstd": {"layout": "tiles-128", "compression": "zstd"},
    "tiles-128-none": {"layout": "tiles-128", "compression": "none"},
}
#: The first bytes of a file, where the place of its directory is, and what the first look at a
#: directory of unknown length brings twice.
HEAD = 1024 + 512


class Served:
    """A small segment on a server, and where tifffile finds its strips or tiles."""

    def __init__(self, server: LayerServer, pixels: np.ndarray, files: dict[str, bytes]) -> None:
        self.server, self.pixels, self.files = server, pixels, files

    def bytes_of(self, box: tuple[int, int, int, int]) -> int:
        """Return the bytes of what a box touches, by tifffile: of an uncompressed strip, rows."""
        y0, y1, x0, x1 = box
        total = 0
        for data in self.files.values():
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                page = file.pages.first
                if page.rowsperstrip == HEIGHT and not page.is_tiled:
                    total += (y1 - y0) * WIDTH * self.pixels.itemsize
                    continue
                height = page.tilelength if page.is_tiled else page.rowsperstrip
                width = page.tilewidth if page.is_tiled else WIDTH
                columns = -(-WIDTH // width)
                total += sum(
                    page.databytecounts[row * columns + column]
                    for row in range(y0 // height, -(-y1 // height))
                    for column in range(x0 // width, -(-x1 // width))
                )
        return total

    def directory_bytes(self) -> int:
        """Return the bytes of all files that are not pixels, and of the heads."""
        total = 0
        for data in self.files.values():
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                total += HEAD + len(data) - sum(file.pages.first.databytecounts)
        return total


@pytest.fixture(
    scope="module", params=[(n, d) for n in KNOBS for d in ("uint8", "uint16")], ids=str
)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    name, dtype = request.param
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 60, (LAYERS, HEIGHT, WIDTH)).astype(dtype) * (
        1 if dtype == "uint8" else 257
    )
    files = encode_layers(pixels, **KNOBS[name])
    with LayerServer({f"seg/layers/{n}": data for n, data in files.items()}) as server:
        yield Served(server, pixels, files)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    y0, x0 = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return (
        y0,
        draw(st.integers(y0 + 1, HEIGHT)),
        x0,
        draw(st.integers(x0 + 1, WIDTH)),
    )


@settings(max_examples=12, deadline=None)
@given(box=boxes())
def test_hardly_more_is_sent_than_the_box_has(
    served: Served, box: tuple[int, int, int, int]
) -> None:
    served.server.reset_log()
    with open_stack(served.server.url("seg/layers/")) as stack:
        pixels = stack.read(box)
        announced, directories = stack.bytes_for(box), stack.directory_bytes
    sent = served.server.bytes_sent("seg/layers/0")
    y0, y1, x0, x1 = box
    np.testing.assert_array_equal(pixels, served.pixels[:, y0:y1, x0:x1])
    assert announced <= served.bytes_of(box)
    assert sent <= 1.05 * announced + directories
    assert directories <= served.directory_bytes()
