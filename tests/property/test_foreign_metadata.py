"""Metadata that others wrote, damaged or tampered with: one clear error, or a sound answer."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.cli_info import run_lines, volume_lines
from s5engine.errors import S5Error, StoreError
from s5engine.foreign import read_json, reading
from s5engine.view.scene import _open
from support import counting_model

#: Values that no metadata should have in most places.
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    3.5,
    float("inf"),
    float("nan"),
    2**63,
    10**30,
    "",
    "x",
    "\0",
    "../..",
    "a" * 5000,
    [],
    {},
    [1],
    [[1]],
    [None],
    {"a": 1},
    {"name": "x"},
    [-5, -5, -5],
    [0, 0, 0],
    [10**12] * 3,
    "2",
    2,
    {"id": "nope"},
    [{"name": "nope"}],
    "float8",
    "|O",
    [["a", "<i4"]],
]
NAMES = {"zarr.json", ".zarray", ".zattrs", ".zgroup", "run.json", "progress.jsonl", "parts.json"}

Mutation = Callable[[Path], None]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a JSON document."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:3])
    for key, inner in pairs:
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))
        else:
            yield (*path, key)


def change_value(share: float, odd: Any, *, drop: bool) -> Mutation:
    """Put an odd value into a JSON file, or take one out; of a journal, into a line."""

    def change(file: Path) -> None:
        lines = file.read_text().split("\n") if file.suffix == ".jsonl" else [file.read_text()]
        number = int(share * len([line for line in lines if line]))
        found = json.loads(lines[number])
        paths = list(places(found))
        path = paths[int(share * 997) % len(paths)]
        if path:
            inner = found
            for key in path[:-1]:
                inner = inner[key]
            if drop:
                del inner[path[-1]]
            else:
                inner[path[-1]] = odd
        lines[number] = json.dumps(found if path else odd)
        file.write_text("\n".join(lines))

    return change


def change_bytes(change: Callable[[bytes], bytes]) -> Mutation:
    def spoil(file: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return spoil


def overwrite(share: float, odd: bytes) -> Mutation:
    """Put odd bytes in the place of one byte."""

    def change(raw: bytes) -> bytes:
        at = int(share * len(raw))
        return raw[:at] + odd + raw[at + 1 :]

    return change_bytes(change)


def instead(make: Callable[[Path], Any]) -> Mutation:
    def change(file: Path) -> None:
        file.unlink()
        make(file)

    return change


DEEP = b'"deep": ' + b"[" * 50_000 + b"]" * 50_000 + b","
SHARES = st.floats(0, 0.999)
MUTATIONS = st.one_of(
    st.builds(change_value, SHARES, st.sampled_from(ODD), drop=st.booleans()),
    st.builds(change_value, SHARES, st.sampled_from(ODD), drop=st.just(False)),
    SHARES.map(lambda share: change_bytes(lambda raw: raw[: int(share * len(raw))])),
    st.builds(overwrite, SHARES, st.sampled_from([b"\0", b"\xff\xfe", b"{", b'"', b"9"])),
    st.just(change_bytes(lambda raw: raw.replace(b"{", b"{" + DEEP, 1))),
    st.sampled_from(
        [
            instead(Path.mkdir),
            instead(lambda file: file.symlink_to("gone")),
            instead(lambda file: file.symlink_to(file.name)),
            instead(lambda file: None),
        ]
    ),
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one small store of each kind."""
    folder = tmp_path_factory.mktemp("stores")
    data = np.random.default_rng(0).integers(1, 200, (17, 130, 1030)).astype(np.uint8)
    (folder / "layers").mkdir()
    for number, layer in enumerate(data):
        tifffile.imwrite(folder / "layers" / f"{number:02d}.tif", layer)
    for form in (2, 3):
        s5.ingest(folder / "layers", folder / f"ours{form}", zarr_format=form, progress=False)
        bare = zarr.create_array(
            folder / f"bare{form}",
            shape=(4, 16, 16),
            chunks=(4, 8, 8),
            dtype="uint8",
            zarr_format=form,
            shards=(4, 16, 16) if form == 3 else None,
        )
        bare[:] = data[:4, :16, :16]
        group = zarr.open_group(folder / f"ome{form}", mode="w", zarr_format=form)
        for level in (0, 1):
            piece = data[:4, : 16 >> level, : 16 >> level]
            array = group.create_array(
                str(level), shape=piece.shape, chunks=(4, 8, 8), dtype="uint8"
            )
            array[:] = piece
        scales = [[1, 1, 1], [1, 2, 2]]
        told = {
            "axes": [{"name": name, "type": "space"} for name in "zyx"],
            "datasets": [
                {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
                for n, scale in enumerate(scales)
            ],
        }
        ome = {"multiscales": [{"version": "0.4" if form == 2 else "0.5", **told}]}
        group.attrs.update(ome if form == 2 else {"ome": ome})
    s5.write_run(ink(folder), folder / "run", progress=False)
    s5.split(folder / "layers", folder / "tree", width=600, progress=False)
    cut = s5.contrast(s5.open_volume(folder / "ours3")).isel(y=slice(0, 64), x=slice(0, 96))
    part = cut.assign_attrs(segment="20260101", part=1)
    labels = folder / "labels" / "20260101_01"
    labels.mkdir(parents=True)
    for name in ("label", "mask"):
        drawn = np.full((64, 96), 255, np.uint8)
        (labels / f"{name}.png").write_bytes(imagecodecs.png_encode(drawn))
    s5.build_tileset(
        {1: part}, labels.parent, folder / "tiles", tile=32, stride=16, packed=True, progress=False
    )
    return folder


def ink(folder: Path) -> Any:
    volume = s5.open_volume(folder / "ours3").isel(y=slice(0, 64), x=slice(0, 64))
    return s5.predict_ink(volume, counting_model()[0], windows=[0], stride=32, mask=None)


def look(opened: Any) -> None:
    repr(opened)
    opened.isel({opened.dims[1]: slice(0, 3), opened.dims[2]: slice(0, 3)}).compute()


def survives(stores: Path, name: str, act: Callable[[Path], Any], which: int, by: Mutation) -> None:
    """Mutate one metadata file of a copy and open it: nothing but an error of ours comes out."""
    with tempfile.TemporaryDirectory() as made, dask.config.set(scheduler="synchronous"):
        place = Path(made) / name
        shutil.copytree(stores / name, place)
        files = sorted(f for f in place.rglob("*") if f.name in NAMES)
        by(files[which % len(files)])
        try:
            # What zarr warns of is no error: unknown folders beside what is read.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                act(place)
        except S5Error as error:
            told = str(error)
        else:
            return
    assert len(told) < 1500
    assert "\0" not in told


VOLUMES = st.sampled_from(["ours2", "ours3", "bare2", "bare3", "ome2", "ome3"])
WAYS: list[Callable[[Path], Any]] = [
    lambda path: look(s5.open_volume(path)),
    lambda path: look(s5.open_volume(path, partial=True)),
    lambda path: [look(level) for level in s5.open_pyramid(path)],
    lambda path: [look(level) for level in s5.open_pyramid(path, partial=True)],
    lambda path: list(volume_lines(str(path))),
    lambda path: _open(str(path)),
]


@settings(max_examples=150, deadline=None)
@given(name=VOLUMES, way=st.sampled_from(WAYS), which=st.integers(0, 50), by=MUTATIONS)
def test_volumes_and_pyramids(
    stores: Path, name: str, way: Callable[[Path], Any], which: int, by: Mutation
) -> None:
    survives(stores, name, way, which, by)


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from(["ours2", "ours3"]), which=st.integers(0, 50), by=MUTATIONS)
def test_ingest_again(stores: Path, name: str, which: int, by: Mutation) -> None:
    form: Any = int(name[-1])
    survives(
        stores,
        name,
        lambda path: s5.ingest(stores / "layers", path, zarr_format=form, progress=False),
        which,
        by,
    )


RUN_WAYS: list[Callable[[Path], Any]] = [
    lambda path: look(s5.open_run(path).ink),
    lambda path: look(s5.open_run(path).tiles.isel(window=0)),
    lambda path: (s5.open_run(path, partial=True).share_done, look(s5.open_pyramid(path)[0])),
    lambda path: list(run_lines(str(path))),
    lambda path: _open(str(path)),
    lambda path: s5.write_pyramid(path, progress=False),
]


@settings(max_examples=80, deadline=None)
@given(way=st.sampled_from(RUN_WAYS), which=st.integers(0, 50), by=MUTATIONS)
def test_runs(stores: Path, way: Callable[[Path], Any], which: int, by: Mutation) -> None:
    survives(stores, "run", way, which, by)


@settings(max_examples=50, deadline=None)
@given(which=st.integers(0, 50), by=MUTATIONS)
def test_runs_that_go_on(stores: Path, which: int, by: Mutation) -> None:
    lazy = ink(stores)
    survives(stores, "run", lambda path: s5.write_run(lazy, path, progress=False), which, by)


@settings(max_examples=50, deadline=None)
@given(by=MUTATIONS)
def test_trees_of_parts(stores: Path, by: Mutation) -> None:
    survives(stores, "tree", lambda path: look(s5.open_volume(next(path.iterdir()))), 0, by)


def look_at_tiles(path: Path) -> None:
    tileset = s5.open_tileset(path)
    repr(tileset)
    for number in range(-1, len(tileset) - 1, 5):
        example = tileset[number]
        assert example.layers.shape[1:] == (32, 32)
        assert example.label.shape == example.keep.shape == (8, 8)


@settings(max_examples=80, deadline=None)
@given(which=st.integers(0, 50), by=MUTATIONS)
def test_tilesets(stores: Path, which: int, by: Mutation) -> None:
    survives(stores, "tiles", look_at_tiles, which, by)


def test_faults_of_the_program_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="The note cannot be read"), reading("The note"):
        int("seven")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "gone.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(StoreError, match="is a device"):
        read_json(tmp_path / "pipe.json")


@pytest.mark.parametrize("name", ["ours2", "ours3"])
def test_a_record_that_contradicts_its_array_is_told(
    stores: Path, tmp_path: Path, name: str
) -> None:
    place = tmp_path / name
    shutil.copytree(stores / name, place)
    group = zarr.open_group(place, mode="r+")
    own: Any = group.attrs["s5engine"]
    group.attrs["s5engine"] = {**own, "layers": own["layers"][:-1]}
    with pytest.raises(StoreError, match="its attributes tell of uint8 of"):
        s5.open_volume(place)
