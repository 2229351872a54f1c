"""Work goes on where its content is the same, whatever its places are called."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import ResumeError, SourceChangedError
from s5engine.model.code_hash import code_hash
from support import TILE, Counter, constant, counting_model, noise, texture, volume_of
from unit.store.segments import write_layers

PIXELS = noise((16, 64, 64))
ASK = {"windows": [0], "tta": 0, "stride": 64}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        write_layers(root / "seg", PIXELS)
        s5.ingest(root / "seg", root / "v.zarr", progress=False)
        yield root


# --- one source, many spellings; one store, many places ----------------------------------------


WAYS = [
    "{}/seg",
    "{}/seg/layers",
    "{}/seg/layers/",
    "{}/seg/../seg/layers",
    "{}/link",
    "{}/inner/layers",
    "file://{}/seg/layers",
    "seg",
    "seg/layers",
    "./seg/layers",
    "inner/../seg",
    "link/layers",
]


@given(first=st.sampled_from(WAYS), second=st.sampled_from(WAYS), box=st.booleans())
@settings(max_examples=50, deadline=None)
def test_an_ingest_goes_on_however_its_source_is_written(
    home: Path, first: str, second: str, box: bool
) -> None:
    for link, target in (("link", "seg"), ("inner/layers", "seg/layers")):
        (home / link).parent.mkdir(exist_ok=True)
        if not (home / link).is_symlink():
            (home / link).symlink_to(home / target)
    here = Path.cwd()
    os.chdir(home)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for way in (first, second):
                volume = s5.ingest(
                    way.format(home),
                    Path(folder) / "a.zarr",
                    progress=False,
                    pyramid=False,
                    box=(0, 32, 0, 64) if box else None,
                )
                assert volume.attrs["segment"] == "seg"
                assert volume.attrs["source"] == str(home / volume.attrs["source"])
    finally:
        os.chdir(here)


def test_another_source_is_refused_and_the_error_says_what_differs(home: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "seg"  # of the same name, size and form
        write_layers(other, PIXELS[::-1].copy())
        store = Path(folder) / "a.zarr"
        s5.ingest(home / "seg", store, progress=False, pyramid=False)
        with pytest.raises(SourceChangedError, match=r"has changed .*: 0 (mtime|sample)"):
            s5.ingest(other, store, progress=False, pyramid=False)


def test_a_run_goes_on_with_a_moved_volume_and_a_copied_checkpoint(home: Path) -> None:
    demo = Path(s5.__file__).parents[1] / "checkpoints" / "demo.ckpt"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(home / "v.zarr", root / "moved.zarr")
        shutil.copy(demo, root / "copy.ckpt")
        pixels = []
        for store, checkpoint in (
            (home / "v.zarr", demo),
            (root / "moved.zarr", root / "copy.ckpt"),
        ):
            volume = s5.contrast(s5.open_volume(store))
            model = s5.load_checkpoint(checkpoint, device="cpu")
            ink = s5.predict_ink(volume, model, mask=s5.papyrus_mask(volume), **ASK)
            run = s5.write_run(ink, root / "run", progress=False)
            pixels.append(run.ink.values)
        np.testing.assert_array_equal(*pixels)


# --- other pixels, another network: never the first result ---------------------------------------


def run_of(ink: xr.DataArray, folder: Path) -> np.ndarray | None:
    """Return what a run in a folder holds for this ink; None if it is refused."""
    try:
        values: np.ndarray = s5.write_run(ink, folder, progress=False, formats=["zarr"]).ink.values
    except s5.S5Error:
        return None
    return values


VERBS = {
    "as it is": lambda v: v,
    "negative": lambda v: (255 - v).astype("u1"),
    "half": lambda v: v // 2,
    "clipped": lambda v: v.clip(0, 200),
    "where": lambda v: v.where(v > 9, 0).astype("u1"),
    "rolled": lambda v: v.roll(y=5),
    "turned": lambda v: v.isel(layer=slice(None, None, -1)),
    "copied": lambda v: v.copy(data=v.data + np.uint8(1)),
    "mapped": lambda v: v.copy(data=v.data.map_blocks(np.bitwise_xor, 3, dtype="u1")),
    "in memory": lambda v: v.compute() // 3,
    "contrast": s5.contrast,
    "other points": lambda v: s5.contrast(v, ((0, 0), (100, 70), (255, 255))),
}
AFTER = {
    "as it is": lambda i: i,
    "half": lambda i: i * 0.5,
    "most": lambda i: i * 0.9,
    "clip": lambda i: i.clip(0, 0.5),
    "where": lambda i: i.where(i > 0.4, 0),
    "negative": lambda i: 1 - i,
    "root": np.sqrt,
    "bare": lambda i: xr.DataArray(i.data, dims=i.dims, coords=i.coords) ** 2,
    "no attributes": lambda i: (i * 0.3).drop_attrs(),
}


@given(
    first=st.tuples(st.sampled_from(list(VERBS)), st.sampled_from(list(AFTER))),
    second=st.tuples(st.sampled_from(list(VERBS)), st.sampled_from(list(AFTER))),
    keep=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_folder_never_gives_the_ink_of_another_array(
    home: Path, first: tuple[str, str], second: tuple[str, str], keep: bool
) -> None:
    model = s5.wrap_model(texture, tile=TILE)
    with tempfile.TemporaryDirectory() as folder, xr.set_options(keep_attrs=keep):
        for before, after in (first, second):
            volume = VERBS[before](s5.open_volume(home / "v.zarr"))
            ink = AFTER[after](s5.predict_ink(volume, model, **ASK))
            held = run_of(ink, Path(folder) / "run")
            if held is not None:
                np.testing.assert_allclose(held, ink.values, atol=1e-6)


class Scale(torch.nn.Module):
    def __init__(self, factor: float, kind: str = "plain") -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))
        self.kind = kind

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.avg_pool2d(tiles.mean(1), 4)
        return mean * self.factor if self.kind == "plain" else mean + self.factor


def network(kind: str, number: float) -> object:
    """Return one of many networks whose names are alike."""
    if kind == "closure":
        return lambda tiles: constant(tiles) * number
    if kind == "default":

        def scaled(tiles: torch.Tensor, by: float = number) -> torch.Tensor:
            return constant(tiles) * by

        return scaled
    if kind == "weights":
        return Scale(number).eval()
    if kind == "attribute":
        return Scale(1.0, "plain" if number > 2 else "sum").eval()
    if kind == "object":
        return Counter(Scale(number).eval())
    array = np.full(3, number)
    return lambda tiles: constant(tiles) * float(array[0])


KINDS = ["closure", "default", "weights", "attribute", "object", "array"]


@given(st.sampled_from(KINDS), st.sampled_from([1.0, 1.5, 3.0]), st.sampled_from([1.0, 1.5, 3.0]))
@settings(max_examples=50, deadline=None)
def test_networks_are_told_apart_by_weights_and_code(kind: str, one: float, two: float) -> None:
    first, second = (s5.wrap_model(network(kind, n), tile=TILE) for n in (one, two))
    alike = one == two or (kind == "attribute" and (one > 2) == (two > 2))
    assert (first.identity == second.identity) is alike
    volume = volume_of(PIXELS)
    with tempfile.TemporaryDirectory() as folder:
        for model in (first, second):
            ink = s5.predict_ink(volume, model, **ASK)
            held = run_of(ink, Path(folder))
            assert alike or model is first or held is None
            if held is not None:
                np.testing.assert_allclose(held, ink.values, atol=1e-6)


def test_a_network_is_the_same_in_another_process_and_after_a_copy() -> None:
    assert code_hash(Scale(1.5).eval()) == code_hash(Scale(1.5).eval())
    assert code_hash(texture) == code_hash(texture)
    assert code_hash(Counter(texture)) == code_hash(Counter(texture))
    assert code_hash(torch.nn.Conv2d(1, 1, 1).eval()) is not None


def test_what_cannot_be_told_from_others_cannot_go_on(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()

    def guarded(tiles: torch.Tensor) -> torch.Tensor:
        with lock:
            return constant(tiles)

    assert code_hash(guarded) is None
    volume = volume_of(PIXELS)
    s5.write_run(
        s5.predict_ink(volume, s5.wrap_model(guarded, tile=TILE), **ASK),
        tmp_path / "a",
        progress=False,
    )
    with pytest.raises(ResumeError, match="guarded, which cannot be told from others"):
        s5.write_run(
            s5.predict_ink(volume, s5.wrap_model(guarded, tile=TILE), **ASK),
            tmp_path / "a",
            progress=False,
        )


def test_parts_of_another_volume_are_not_taken_for_these(home: Path) -> None:
    volume = s5.open_volume(home / "v.zarr")
    with tempfile.TemporaryDirectory() as folder:
        s5.split(volume, folder, progress=False)
        s5.split(volume, folder, progress=False)
        with pytest.raises(SourceChangedError, match="has changed since"):
            s5.split((255 - volume).astype("u1").assign_attrs(volume.attrs), folder, progress=False)


def test_a_run_is_gone_on_with_and_not_done_again(home: Path, tmp_path: Path) -> None:
    model, counter = counting_model()
    for _ in range(2):
        ink = s5.predict_ink(s5.open_volume(home / "v.zarr"), model, **ASK)
        s5.write_run(ink, tmp_path / "run", progress=False)
    assert counter.tiles == 1
