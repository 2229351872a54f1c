"""TIFFs that say too little or too much are read as libtiff does, or refused with a reason."""

from __future__ import annotations

import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import s5engine as s5
from support import noise

WIDTH, HEIGHT, ROWS, OFFSETS, SIZES, PREDICTOR = 256, 257, 278, 273, 279, 317


def bare_tiff(pixels: np.ndarray, order: str = "<", **changed: Any) -> bytes:
    """Return an uncompressed TIFF, one strip unless ``rows`` says otherwise; tags may be changed.

    ``tag_<n>`` replaces the values of a tag by a list, or takes it away with None.
    """
    height, width = pixels.shape
    rows = changed.get("rows", height)
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    pitch = width * pixels.itemsize
    starts = range(0, height, rows)
    tags: dict[int, list[int] | None] = {
        WIDTH: [width],
        HEIGHT: [height],
        258: [8 * pixels.itemsize],
        259: [1],
        262: [1],
        OFFSETS: [8 + y * pitch for y in starts],
        277: [1],
        ROWS: [rows],
        SIZES: [(min(y + rows, height) - y) * pitch for y in starts],
    }
    tags |= {int(k.removeprefix("tag_")): v for k, v in changed.items() if k.startswith("tag_")}
    kept = {tag: values for tag, values in sorted(tags.items()) if values is not None}
    place = 8 + len(data)
    extra, table = b"", b""
    start_of_extra = place + 2 + 12 * len(kept) + 4
    for tag, values in kept.items():
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) == 1:
            field = packed
        else:
            field = struct.pack(order + "I", start_of_extra + len(extra))
            extra += packed
        table += struct.pack(order + "HHI", tag, 4, len(values)) + field
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, place)
    return head + data + struct.pack(order + "H", len(kept)) + table + b"\0\0\0\0" + extra


def read(data: bytes) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "00.tif").write_bytes(data)
        values: np.ndarray = s5.open_volume(folder)[0].values
    return values


def by_libtiff(data: bytes) -> np.ndarray | None:
    """Return what libtiff (through Pillow) reads; None if it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00.tif"
        path.write_bytes(data)
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
                return np.array(picture)
        except (OSError, SyntaxError, ValueError, TypeError, struct.error):
            return None


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 30),
    order=st.sampled_from("<>"),
    deep=st.booleans(),
    change=st.sampled_from(
        ["no sizes", "zero", "short", "long", "predictor", "rows", "rows 2^32-1"]
    ),
    by=st.integers(1, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_one_bare_strip_is_read_whatever_is_said_of_its_size(
    height: int, width: int, order: str, deep: bool, change: str, by: int
) -> None:
    pixels = noise((1, height, width), dtype=np.uint16 if deep else np.uint8)[0]
    size = pixels.nbytes
    changes: dict[str, Any] = {
        "no sizes": {"tag_279": None},
        "zero": {"tag_279": [0]},
        "short": {"tag_279": [max(1, size - by)]},
        "long": {"tag_279": [size + by]},
        "predictor": {"tag_317": [2]},
        "rows": {"tag_278": [65_536 + by]},
        "rows 2^32-1": {"tag_278": [2**32 - 1]},
    }[change]
    np.testing.assert_array_equal(read(bare_tiff(pixels, order, **changes)), pixels)


@given(
    height=st.integers(2, 30),
    rows=st.integers(1, 9),
    which=st.integers(0, 29),
    change=st.sampled_from(["zero", "long", "short", "no place", "both zero", "no sizes"]),
)
@settings(max_examples=100, deadline=None)
def test_of_several_strips_a_size_is_taken_where_it_is_certain(
    height: int, rows: int, which: int, change: str
) -> None:
    pixels = noise((1, height, 11))[0] | 1
    count = -(-height // rows)
    which %= count
    pitch = 11
    places = [8 + y * pitch for y in range(0, height, rows)]
    sizes: list[int] | None = [(min(y + rows, height) - y) * pitch for y in range(0, height, rows)]
    assert sizes is not None
    changed = list(sizes)
    changed[which] = {"zero": 0, "long": changed[which] + 7, "both zero": 0}.get(
        change, changed[which] - 1 if change == "short" else changed[which]
    )
    if change in ("no place", "both zero"):
        places[which] = 0
    told = None if change == "no sizes" else changed
    data = bare_tiff(pixels, rows=rows, tag_273=places, tag_279=told)
    one = count == 1
    if change in ("zero", "long", "no sizes") or (change == "short" and one):
        np.testing.assert_array_equal(read(data), pixels)
    elif change == "both zero":  # left out by the writer: it is empty
        wanted = pixels.copy()
        wanted[which * rows : (which + 1) * rows] = 0
        np.testing.assert_array_equal(read(data), wanted)
    else:
        with pytest.raises(s5.S5Error, match=r"00\.tif.*strip") as caught:
            read(data)
        assert len(str(caught.value)) < 500


@given(st.sampled_from(["<", ">"]), st.integers(65_537, 70_000))
@settings(max_examples=6, deadline=None)
def test_rows_that_were_kept_in_sixteen_bits(order: str, height: int) -> None:
    pixels = noise((1, height, 3))[0]
    data = bare_tiff(pixels, order, tag_278=[height - 65_536])
    np.testing.assert_array_equal(read(data), pixels)


@given(
    tag=st.sampled_from([WIDTH, HEIGHT, 258, 259, 262, OFFSETS, 277, ROWS, SIZES, PREDICTOR]),
    values=st.one_of(
        st.none(),
        st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)), min_size=1, max_size=3),
    ),
    cut=st.integers(0, 300),
)
@settings(max_examples=150, deadline=None)
def test_any_change_of_a_tag_is_refused_or_read_as_libtiff_does(
    tag: int, values: list[int] | None, cut: int
) -> None:
    pixels = noise((1, 12, 10))[0]
    data = bare_tiff(pixels, **{f"tag_{tag}": values})
    data = data[: len(data) - cut] if cut > 150 else data
    try:
        got = read(data)
    except s5.S5Error as error:
        said = str(error)
        if len(said) > 600 or "00.tif" not in said:
            pytest.fail(said)
        return
    theirs = by_libtiff(data)
    if tag == 262:  # Pillow takes gray without a photometric interpretation for a negative
        np.testing.assert_array_equal(got, pixels)
    elif theirs is not None and theirs.shape == got.shape and theirs.dtype == got.dtype:
        np.testing.assert_array_equal(got, theirs)
