"""What a new user meets on the first day: short reprs, bare pixels, paths, versions, notebooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ImageFont

import s5engine as s5
from s5engine.errors import CheckpointNotFoundError, InvalidArgumentError, PartNotFoundError
from s5engine.foreign import as_attributes, structured
from s5engine.infer.run import Run
from s5engine.source.listing import LayerFile, LayerIndex
from s5engine.store.levels import find_base, remove_levels
from s5engine.view.histogram import drawable
from support import counting_model, noise, volume_of
from unit.store.segments import pixels, write_layers

WORDS = st.text(max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x>', "&lt;"]
)


def s5_verb(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from s5engine.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@given(WORDS, WORDS, st.lists(st.integers(0, 200), max_size=120), st.booleans())
@example("<script>alert(1)</script>", "<b>", [3], True)
@settings(max_examples=60, deadline=None)
def test_runs_and_indices_are_short_and_text(segment, folder, windows, completed) -> None:
    record = {
        "completed": completed,
        "settings": {
            "segment": segment,
            "written_windows": windows,
            "written_box": [0, 30, 5, 45],
            "fingerprint": {str(n): {"url": folder * 9} for n in range(99)},
        },
    }
    run = Run(Path("runs") / folder.replace("\x00", ""), record)
    numbers = windows or [0]
    files = {n: LayerFile(n, f"/x/{n}.tif", f"{n}.tif") for n in numbers}
    index = LayerIndex(files, f"/data/{folder}", segment=segment)
    for shown in (run, index):
        lines = repr(shown).splitlines()
        assert len(repr(shown)) < 600 + 8 * len(segment + folder)
        assert lines
        html = shown._repr_html_()
        assert html.startswith("<pre>")
        assert "<" not in html.removeprefix("<pre>").removesuffix("</pre>")
    assert ("unfinished" in repr(run)) != completed
    assert "30 × 40 px" in repr(run)


def test_a_plan_is_a_line_and_a_table() -> None:
    model, _ = counting_model()
    plan = s5.plan(volume_of(noise((16, 96, 96)), contrast=[[0, 0]]), model, windows=[0])
    assert repr(plan).startswith("<Plan: ")
    assert len(repr(plan).splitlines()) == 1
    assert "to read" in plan._repr_html_()


@given(st.integers(-3, 40), st.integers(1, 35_000), st.integers(900, 12_000))
@settings(max_examples=50, deadline=None)
def test_a_part_is_there_or_named_as_missing(number: int, width: int, wide: int) -> None:
    volume = volume_of(np.zeros((1, 1, width), np.uint8), chunks=(1, 1, width))
    parts = s5.parts(volume, width=wide)
    if number in parts:
        assert parts[number].attrs["part"] == number
        return
    assert parts.get(number) is None
    with pytest.raises(PartNotFoundError, match="has the parts 1…") as caught:
        parts[number]
    assert isinstance(caught.value, KeyError)
    assert f"no part {number}:" in str(caught.value)


@given(st.sampled_from([np.uint8, np.uint16]), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_bare_pixels_are_contrasted_as_a_volume_is(dtype, layers: int, side: int) -> None:
    pixels = noise((layers, side, side), dtype=dtype)
    wanted = s5.contrast(volume_of(pixels, chunks=(1, side, side))).values
    bare = s5.contrast(pixels)
    assert isinstance(bare, np.ndarray)
    np.testing.assert_array_equal(bare, wanted)
    np.testing.assert_array_equal(s5.contrast(pixels[0]), wanted[0])


@pytest.mark.parametrize("verb", [s5.to_uint8, s5.papyrus_mask, s5.parts])
def test_what_needs_a_volume_says_how_pixels_become_one(verb) -> None:
    for wrong in (np.zeros((2, 3, 4), np.uint16), "a.zarr", None):
        with pytest.raises(InvalidArgumentError, match=r"xr\.DataArray"):
            verb(wrong)


def test_a_model_is_named_by_its_path_and_a_bare_network_told_how(tmp_path: Path) -> None:
    volume = volume_of(noise((16, 96, 96)))
    with pytest.raises(CheckpointNotFoundError, match=r"none\.ckpt"):
        s5.predict_ink(volume, tmp_path / "none.ckpt", windows=[0])
    for call in (s5.predict_ink, s5.plan):
        with pytest.raises(InvalidArgumentError, match="wrap_model"):
            call(volume, torch.nn.Conv2d(1, 1, 1), windows=[0])


def test_a_composite_is_made_of_ink_a_run_or_its_folder(tmp_path: Path) -> None:
    model, _ = counting_model()
    ink = s5.predict_ink(volume_of(noise((16, 96, 96))), model, windows=[0])
    run = s5.write_run(ink, tmp_path / "run", formats=("zarr",), progress=False)
    wanted = s5.composite(ink.compute())
    for given_ink in (run, run.directory, str(run.directory)):
        np.testing.assert_array_equal(s5.composite(given_ink), wanted)
    with pytest.raises(InvalidArgumentError, match="a run"):
        s5.composite(3)


@given(st.text(max_size=30))
@example("of means of 4 × 4 px")
@settings(max_examples=60, deadline=None)
def test_captions_are_in_letters_that_the_font_has(caption: str) -> None:
    font = ImageFont.load_default(size=15)
    box = bytes(font.getmask("\u0378"))
    shown = drawable(caption)
    assert len(shown) == len(caption)
    assert all(bytes(font.getmask(letter)) != box for letter in shown if letter.isprintable())
    assert drawable("4 × 4 px") == "4 x 4 px"


@pytest.mark.parametrize("words", [["--version"], ["-h"], ["infer", "-h"], ["plan", "fetch", "-h"]])
def test_version_and_help_are_said(words) -> None:
    done = s5_verb(*words)
    assert done.returncode == 0, done.stderr
    assert (s5.__version__ if words == ["--version"] else "Usage") in done.stdout


def test_a_shell_completes() -> None:
    assert "--show-completion" in s5_verb("-h").stdout


def test_a_mask_has_parts_as_its_volume_has() -> None:
    mask = s5.papyrus_mask(volume_of(noise((11, 9, 30))))
    assert {number: part.shape for number, part in s5.parts(mask, width=20).items()} == {
        1: (9, 20),
        2: (9, 10),
    }


@given(
    st.dictionaries(
        st.text("abcxyz", min_size=1, max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_attributes_are_what_netcdf_can_hold(values) -> None:
    held = as_attributes(values)
    assert set(held) == {name for name, value in values.items() if value is not None}
    for name, value in held.items():
        numbers = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
        assert numbers or isinstance(value, str | int | float)
        if isinstance(values[name], dict):
            assert structured(value) == values[name]


@pytest.mark.parametrize("contrasted", [False, True])
def test_a_volume_and_its_ink_are_written_to_netcdf(tmp_path: Path, contrasted: bool) -> None:
    (tmp_path / "seg").mkdir()
    s5.ingest(write_layers(tmp_path / "seg", pixels()), tmp_path / "a.zarr", progress=False)
    for opened in (s5.open_volume(tmp_path / "a.zarr"), s5.open_volume(tmp_path / "seg")):
        volume = s5.contrast(opened) if contrasted else opened
        # The oldest netCDF, which scipy writes, has no unsigned bytes.
        volume.astype(np.float32).to_netcdf(tmp_path / "v.nc")
    model, _ = counting_model()
    ink = s5.predict_ink(volume_of(noise((16, 96, 96)), contrast=[[0, 0]]), model, windows=[0])
    ink.to_netcdf(tmp_path / "i.nc")
    run = s5.write_run(ink, tmp_path / "run", formats=("zarr",), progress=False)
    run.ink.to_netcdf(tmp_path / "r.nc")


def test_xarray_opens_what_a_run_wrote_without_a_warning(tmp_path: Path) -> None:
    volume = volume_of(noise((17, 96, 1100)), (17, 96, 550))
    ink = s5.predict_ink(volume, counting_model()[0], windows=[0], stride=64, tta=0, mask=None)
    s5.write_run(ink, tmp_path / "run", progress=False)
    s5.write_pyramid(tmp_path / "run", resume=False, progress=False)
    store = tmp_path / "run" / "ink.zarr"
    np.testing.assert_array_equal(xr.open_zarr(store).ink, ink)
    assert xr.open_zarr(tmp_path / "run" / "tiles.zarr").tiles.ndim == 5
    # What it takes for the members' metadata is what these are.
    copies, own = (
        {
            name: member.metadata.to_dict()
            for name, member in group.members(max_depth=None)
            if isinstance(member, zarr.Array)
        }
        for group in (zarr.open_group(store, mode="r", use_consolidated=c) for c in (True, False))
    )
    assert [copies[name] for name in own] == [*own.values()]
    assert "pyramid/1" in own
    # A later change leaves no copy that is no longer true.
    remove_levels(find_base(store))
    assert not (store / "pyramid").exists()
    assert zarr.open_group(store, mode="r").metadata.consolidated_metadata is None
