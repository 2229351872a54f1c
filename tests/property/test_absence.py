"""What is missing is told, not taken for 0: pieces of layers, masks in which nothing counts."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import s5engine as s5
from s5engine.source.mask_rows import mask_rows
from support import counting_model, noise, volume_of
from unit.store.segments import write_layers

CODES = [None, "lzw", "packbits", "deflate", "zstd"]
PIXELS = noise((1, 50, 60))[0] | 1  # nowhere 0


def damaged(data: bytearray, spans: list[tuple[int, int]], damage: str, which: int) -> bytes:
    """Return a TIFF one of whose pieces is damaged; ``spans`` are the pieces' bytes."""
    start, size = spans[which % len(spans)]
    if damage == "cut file":
        return bytes(data[: start + size // 2])
    if damage == "zeros":
        data[start : start + size] = bytes(size)
    elif damage == "short":
        data[start + size // 2 : start + size] = bytes(size - size // 2)
    else:
        data[start : start + size] = b"\xff" * size
    return bytes(data)


@given(
    code=st.sampled_from(CODES[1:]),
    tiled=st.booleans(),
    which=st.integers(0, 20),
    damage=st.sampled_from(["cut file", "zeros", "short", "ones"]),
)
@settings(max_examples=120, deadline=None)
def test_a_damaged_piece_is_never_read_as_nothing(
    code: str, tiled: bool, which: int, damage: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00.tif"
        shape = {"tile": (32, 32)} if tiled else {"rowsperstrip": 9}
        tifffile.imwrite(path, PIXELS, compression=code, **shape)
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        path.write_bytes(damaged(bytearray(path.read_bytes()), spans, damage, which))
        try:
            got = s5.open_volume(folder)[0].values
        except s5.S5Error as error:
            if "00.tif" not in str(error):
                pytest.fail(str(error))
            return
        # PackBits cannot tell: bytes of 0 are pixels of it. The others may hold other pixels where
        # the code has no checksum, but nothing that was not decoded.
        assert code == "packbits" or (got != 0).mean() > 0.9


@given(
    size=st.sampled_from([0, 1]),
    place=st.sampled_from([0, 1]),
    code=st.sampled_from(CODES),
    which=st.integers(0, 5),
)
@settings(max_examples=50, deadline=None)
def test_a_piece_is_empty_only_without_place_and_size(
    size: int, place: int, code: str | None, which: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00.tif"
        tifffile.imwrite(path, PIXELS, compression=code, rowsperstrip=9)
        with tifffile.TiffFile(path, mode="r+b") as file:
            tags = file.pages[0].tags
            for name, kept in (("StripOffsets", place), ("StripByteCounts", size)):
                values = list(tags[name].value)
                values[which] = values[which] if kept else 0
                tags[name].overwrite(values)
        if place and (size or code is None):
            np.testing.assert_array_equal(s5.open_volume(folder)[0].values, PIXELS)
        elif place == size == 0:
            wanted = PIXELS.copy()
            wanted[which * 9 : which * 9 + 9] = 0
            np.testing.assert_array_equal(s5.open_volume(folder)[0].values, wanted)
        else:
            with pytest.raises(s5.S5Error, match=rf"00\.tif is damaged: strip {which}"):
                s5.open_volume(folder)


# --- masks -----------------------------------------------------------------------------------


@given(
    highest=st.integers(0, 255),
    threshold=st.integers(1, 255),
    mode=st.sampled_from(["L", "RGB", "LA", "P", "1"]),
    spots=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_mask_whose_values_never_reach_the_threshold_is_told(
    highest: int, threshold: int, mode: str, spots: bool
) -> None:
    values = np.zeros((20, 30), np.uint8)
    values[5:9, :: 2 if spots else 1] = highest
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        picture = Image.fromarray(values)
        picture.convert(mode, dither=Image.Dither.NONE).save(path)
        with Image.open(path) as saved:
            grey = np.array(saved.convert("L"))
        if grey.max() and grey.max() < threshold:
            for reader in (s5.read_mask, lambda *a, **k: list(mask_rows(a[0], 7, **k))):
                with pytest.raises(s5.S5Error, match=f"largest value is {grey.max()}, below"):
                    reader(path, threshold=threshold)
            return
        whole = s5.read_mask(path, threshold=threshold)
        np.testing.assert_array_equal(whole, grey >= threshold)
        bands = [band for _, band in mask_rows(path, 7, threshold=threshold)]
        np.testing.assert_array_equal(np.concatenate(bands), whole)


VOLUME = volume_of(noise((18, 70, 80)))


def test_a_mask_without_papyrus_is_refused_and_a_full_one_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, counter = counting_model()
    with pytest.raises(s5.S5Error, match="holds no papyrus"):
        s5.predict_ink(VOLUME, model, windows=[0], mask=np.zeros((70, 80), bool))
    s5.predict_ink(VOLUME, model, windows=[0], mask=np.ones((70, 80), bool))
    assert "the papyrus mask leaves nothing out" in capsys.readouterr().err
    assert counter.tiles == 0


@given(papyrus=st.none() | st.tuples(st.integers(0, 6), st.integers(0, 7)), tta=st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_lazy_mask_without_papyrus_is_told_when_no_tile_was_left(
    papyrus: tuple[int, int] | None, tta: int
) -> None:
    mask = np.zeros((70, 80), bool)
    if papyrus is not None:
        mask[papyrus[0] * 10 :, papyrus[1] * 10 :] = True
    model, counter = counting_model()
    lazy = da.from_array(mask, chunks=40)
    ink = s5.predict_ink(VOLUME, model, windows=[0], tta=tta, mask=lazy)
    with tempfile.TemporaryDirectory() as folder:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            s5.write_run(ink, folder, formats=["zarr"], progress=False)
    assert ("holds no papyrus" in said.getvalue()) == (papyrus is None) == (counter.tiles == 0)


@pytest.mark.parametrize("windows", [[], (), range(0)])
def test_no_windows_are_refused(windows: object) -> None:
    model, _ = counting_model()
    with pytest.raises(s5.S5Error, match="No layer window"):
        s5.predict_ink(VOLUME, model, windows=windows)


def test_no_layers_are_refused_everywhere(tmp_path: Path) -> None:
    write_layers(tmp_path / "seg", noise((2, 20, 30)))
    for verb in (s5.ingest, s5.split):
        with pytest.raises(s5.S5Error, match=r"No layers|layers"):
            verb(tmp_path / "seg", tmp_path / "out", layers=[], progress=False)
    model, _ = counting_model()
    with pytest.raises(s5.S5Error):
        s5.predict_ink(VOLUME.isel(layer=slice(0, 0)), model, windows=[0])


def test_ink_of_nothing_is_no_score() -> None:
    ink = np.full((9, 9), 0.7, np.float32)
    for truth, within in (
        (np.zeros((9, 9), bool), None),
        (np.ones((9, 9), bool), np.zeros((9, 9), bool)),
    ):
        with pytest.raises(s5.S5Error, match="No pixel"):
            s5.score_ink(ink, truth, within)
