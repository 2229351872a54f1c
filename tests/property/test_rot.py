"""Rot is noticed: a flipped bit, a cut or lost file is told, found, and made again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import s5engine as s5
from s5engine.cli import app
from s5engine.errors import SourceChangedError, SourceError, StoreError
from s5engine.infer import check_run as runs
from s5engine.infer.check_run import check_run, reopen_run
from s5engine.store import check
from s5engine.store.check import check_store, repair_volume
from s5engine.store.present import CHUNKS
from support import counting_model
from unit.store.segments import files_of

#: Layers, height and width: several shards, chunks that are 0, one coarser level.
SHAPE = 17, 300, 1500


@dataclass(frozen=True)
class Rot:
    """What happens to a file: which of a store's, what, and where in it."""

    what: str
    file: float
    share: float
    bit: int

    @contextmanager
    def at(self, files: list[Path]) -> Iterator[Path]:
        """Spoil one of the files; put it back at the end."""
        path = files[int(self.file * len(files))]
        whole = path.read_bytes()
        self.spoil(path)
        try:
            yield path
        finally:
            if path.is_dir():
                path.rmdir()
            path.write_bytes(whole)

    def spoil(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        place = int(self.share * len(data))
        if self.what == "flip" and data:  # an earlier cut may have left nothing
            data[place] ^= 1 << self.bit
        elif self.what == "cut":
            del data[place:]
        elif self.what == "zeros":
            data[place:] = bytes(len(data) - place)
        elif self.what == "longer":
            data += bytes(1 + place % 300)
        path.unlink()
        if self.what == "folder":
            path.mkdir()
        elif self.what != "gone":
            path.write_bytes(data)


ROTS = st.builds(
    Rot,
    st.sampled_from(["flip", "flip", "flip", "cut", "zeros", "longer", "gone", "folder"]),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
    st.integers(0, 7),
)


def chunk_files(*folders: Path) -> list[Path]:
    """Return the files of chunks and shards below folders."""
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and re.fullmatch(r"\d+", path.name)
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment's layers, the stores of it, a run and a tileset."""
    folder = tmp_path_factory.mktemp("rot")
    data = np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.uint8)
    data[:, 128:256, :300] = 0
    (folder / "seg" / "layers").mkdir(parents=True)
    for number, layer in enumerate(data):
        tifffile.imwrite(folder / "seg" / "layers" / f"{number:02d}.tif", layer)
    for form in (2, 3):
        s5.ingest(folder / "seg", folder / f"v{form}.zarr", zarr_format=form, progress=False)  # type: ignore[arg-type] # 2 or 3
    s5.write_run(ink(folder)[0], folder / "run", progress=False)
    return folder


def ink(folder: Path) -> tuple[xr.DataArray, Any]:
    """Return lazy ink of several blocks, and what counts the tiles that are predicted."""
    model, counter = counting_model()
    volume = s5.open_volume(folder / "v3.zarr")
    asked: Any = {"windows": [0, 1], "stride": 64, "tta": 0, "mask": None}
    return s5.predict_ink(volume, model, **asked), counter


def read_all(folder: Path) -> None:
    """Read all that readers of the stores read."""
    for level in s5.open_pyramid(folder / "v3.zarr"):
        level.compute(scheduler="synchronous")
    run = s5.open_run(folder / "run")
    for level in s5.open_pyramid(folder / "run"):
        level.compute(scheduler="synchronous")
    run.tiles.compute(scheduler="synchronous")


@settings(max_examples=120, deadline=None)
@given(rot=ROTS)
def test_damage_is_told_by_whoever_reads_and_named_by_the_check(made: Path, rot: Rot) -> None:
    stores = made / "v3.zarr", made / "run"
    files = chunk_files(*stores)
    with rot.at(files) as path:
        with pytest.raises(StoreError) as told:
            read_all(made)
        assert str(path.relative_to(made)) in str(told.value)
        found = [*check_store(stores[0], progress=False), *check_run(stores[1], progress=False)]
        assert [damage.file for damage in found] == [str(path)]


def test_whole_stores_are_found_whole_and_others_read_them(made: Path) -> None:
    read_all(made)
    for store in ("v2.zarr", "v3.zarr"):
        assert check_store(made / store, progress=False) == []
    assert check_run(made / "run", progress=False) == []
    first = zarr.open_array(made / "v3.zarr" / "0", mode="r")
    np.testing.assert_array_equal(first[...], s5.open_volume(made / "v2.zarr").values)
    inner: Any = first.metadata.to_dict()["codecs"]
    names = [codec["name"] for codec in inner[0]["configuration"]["codecs"]]
    assert names == ["bytes", "blosc", "crc32c"]


@pytest.mark.parametrize("form", [2, 3])
@settings(max_examples=25, deadline=None)
@given(rots=st.lists(ROTS, min_size=1, max_size=3))
def test_a_repaired_volume_is_the_first_one_to_the_byte(
    made: Path, tmp_path_factory: pytest.TempPathFactory, form: int, rots: list[Rot]
) -> None:
    store = tmp_path_factory.mktemp("repair") / f"v{form}.zarr"
    shutil.copytree(made / store.name, store)
    for rot in rots:
        # Zarr v2 has no checksums.
        path = chunk_files(store)[int(rot.file * len(chunk_files(store)))]
        if form == 3 or rot.what not in ("flip", "zeros"):
            rot.spoil(path)
    repair_volume(store, check_store(store, progress=False), progress=False)
    assert files_of(store) == files_of(made / store.name)
    assert sorted(p.name for p in store.parent.iterdir()) == [store.name]
    shutil.rmtree(store.parent)


@settings(max_examples=12, deadline=None)
@given(rots=st.lists(ROTS, min_size=1, max_size=2))
def test_a_repaired_run_is_the_first_one_to_the_byte(
    made: Path, tmp_path_factory: pytest.TempPathFactory, rots: list[Rot]
) -> None:
    run = tmp_path_factory.mktemp("repair") / "run"
    shutil.copytree(made / "run", run)
    arrays = run / "tiles.zarr" / "tiles", run / "ink.zarr" / "ink", run / "ink.zarr" / "pyramid"
    for rot in rots:
        files = chunk_files(*arrays)
        rot.spoil(files[int(rot.file * len(files))])
    damages = check_run(run, progress=False)
    again = reopen_run(run, damages)
    assert not s5.open_run(run, partial=True).completed
    lazy, counter = ink(made)
    s5.write_run(lazy, run, progress=False)
    blocks = {d.place[1:3] for d in damages if d.array == "tiles"}
    total = s5.open_run(run).record["blocks"]["predict"]
    assert len(blocks) <= again
    assert (counter.tiles > 0) == (len(blocks) > 0)
    assert len(blocks) == total or counter.tiles < tiles_of(made)
    stores = {
        name: data for name, data in files_of(run).items() if name.split("/")[0].endswith(".zarr")
    }
    whole = files_of(made / "run")
    assert stores == {name: whole[name] for name in whole if name.split("/")[0].endswith(".zarr")}
    shutil.rmtree(run.parent)


def tiles_of(made: Path) -> int:
    """Return how many tiles the network of a whole run is given."""
    lazy, counter = ink(made)
    lazy.compute()
    return int(counter.tiles)


@pytest.mark.parametrize("step", ["mark_incomplete", "remove_chunk", "rewrite", "ingest"])
def test_a_repair_that_is_killed_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = tmp_path / "v3.zarr"
    shutil.copytree(made / store.name, store)
    chunk_files(store / "0")[1].unlink()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(check, step, killed)
        with pytest.raises(KeyboardInterrupt):
            repair_volume(store, check_store(store, progress=False), progress=False)
    if step == "mark_incomplete":  # nothing was done yet
        repair_volume(store, check_store(store, progress=False), progress=False)
    else:
        with pytest.raises(StoreError, match="unfinished"):
            s5.open_volume(store)
        s5.ingest(made / "seg", store, progress=False)
    assert files_of(store) == files_of(made / store.name)


@pytest.mark.parametrize("step", ["write_record", "remove_levels", "remove_chunk"])
def test_a_reopened_run_that_is_killed_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    Rot("flip", 0, 0.5, 3).spoil(chunk_files(run / "tiles.zarr" / "tiles")[0])
    chunk_files(run / "ink.zarr" / "ink")[0].unlink()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, step, killed)
        with pytest.raises(KeyboardInterrupt):
            reopen_run(run, check_run(run, progress=False))
    s5.write_run(ink(made)[0], run, progress=False)
    assert check_run(run, progress=False) == []
    np.testing.assert_array_equal(s5.open_run(run).ink, s5.open_run(made / "run").ink)


def test_what_is_lost_is_not_called_finished(made: Path, tmp_path: Path) -> None:
    for name in ("v2.zarr", "v3.zarr", "run"):
        shutil.copytree(made / name, tmp_path / name)
    for form in (2, 3):
        store = tmp_path / f"v{form}.zarr"
        lost = chunk_files(store / "0")[-1]
        lost.unlink()
        with pytest.raises(StoreError, match=r"gone.*s5 check"):
            s5.ingest(made / "seg", store, zarr_format=form, progress=False)  # type: ignore[arg-type] # 2 or 3
        with pytest.raises(StoreError, match=re.escape(str(lost))):
            s5.open_volume(store).compute()
        # What is left can be looked at.
        assert s5.open_volume(store, partial=True).compute().shape == SHAPE
    chunk_files(tmp_path / "run" / "tiles.zarr" / "tiles")[0].unlink()
    with pytest.raises(StoreError, match=r"tiles.zarr.*gone"):
        s5.write_run(ink(made)[0], tmp_path / "run", progress=False)


def test_a_chunk_that_is_0_is_no_loss_and_a_stray_one_is_told(made: Path, tmp_path: Path) -> None:
    store = tmp_path / "v2.zarr"
    shutil.copytree(made / "v2.zarr", store)
    files = chunk_files(store / "0")
    empty = store / "0" / "0" / "1" / "0"
    assert empty not in files
    assert not s5.open_volume(store).isel(y=slice(128, 256), x=slice(0, 128)).values.any()
    shutil.copy(files[0], empty)
    assert [d.told for d in check_store(store, progress=False)] == [
        f"The chunk {empty} is there, and should not be."
    ]
    repair_volume(store, check_store(store, progress=False), progress=False)
    assert files_of(store) == files_of(made / "v2.zarr")


def test_a_store_of_before_has_no_list_and_is_read_as_it_was(made: Path, tmp_path: Path) -> None:
    store = tmp_path / "v3.zarr"
    shutil.copytree(made / "v3.zarr", store)
    group = zarr.open_group(store, mode="r+")
    attributes = dict(group.attrs)
    del attributes[CHUNKS]
    group.attrs.put(attributes)
    chunk_files(store / "0")[0].unlink()
    assert s5.open_volume(store).compute().shape == SHAPE
    assert check_store(store, progress=False) == []


@pytest.mark.parametrize("told", [7, {"0": 7}, {"0": "AA"}, {"0": "!"}, {"0": "AAAAAAAAAAAA"}])
def test_a_damaged_list_is_one_error(made: Path, tmp_path: Path, told: Any) -> None:
    shutil.copytree(made / "v3.zarr", tmp_path / "v3.zarr")
    zarr.open_group(tmp_path / "v3.zarr", mode="r+").update_attributes({CHUNKS: told})
    for read in (s5.open_volume, check_store):
        with pytest.raises(StoreError, match=r"v3.zarr.* says of the chunks|chunks of 0"):
            read(tmp_path / "v3.zarr")


def test_a_repair_from_another_source_changes_nothing(made: Path, tmp_path: Path) -> None:
    store, other = tmp_path / "v3.zarr", tmp_path / "seg" / "layers"
    shutil.copytree(made / "v3.zarr", store)
    shutil.copytree(made / "seg" / "layers", other)
    tifffile.imwrite(other / "03.tif", np.zeros(SHAPE[1:], np.uint8))
    chunk_files(store / "0")[0].unlink()
    before = files_of(store)
    damages = check_store(store, progress=False)
    for source in (tmp_path / "seg", tmp_path / "gone"):
        with pytest.raises(SourceError) as told:
            repair_volume(store, damages, source=source, progress=False)
        assert "source=" in str(told.value)
        assert "--source" in told.value.on_the_command_line()
        assert isinstance(told.value, SourceChangedError) == (source.name == "seg")
    assert files_of(store) == before


@pytest.mark.parametrize("name", ["ink.zarr", "tiles.zarr"])
def test_what_was_not_made_from_layers_is_not_repaired_as_if(
    made: Path, tmp_path: Path, name: str
) -> None:
    store = tmp_path / name
    shutil.copytree(made / "run" / name, store)
    chunk_files(store)[0].unlink()
    before = files_of(store)
    with pytest.raises(StoreError, match="made from layers"):
        repair_volume(store, check_store(store, progress=False), progress=False)
    assert files_of(store) == before


def said(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["check", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_verb(made: Path, tmp_path: Path) -> None:
    for name in ("v3.zarr", "run"):
        shutil.copytree(made / name, tmp_path / name)
    store, run = tmp_path / "v3.zarr", tmp_path / "run"
    code, text = said(store)
    assert (code, "all of it can be read" in text) == (0, True)
    lost = chunk_files(store / "0")[0]
    lost.unlink()
    code, text = said(store)
    assert code == 1
    assert f"The chunk {lost} is gone" in text
    assert f"now: s5 check {store} --repair" in text
    code, text = said(store, "--repair")
    assert (code, "1 chunk file made again" in text) == (0, True)
    assert said(store)[0] == 0
    Rot("flip", 0, 0.5, 0).spoil(chunk_files(run / "ink.zarr" / "ink")[0])
    assert said(run)[0] == 1
    code, text = said(run, "--repair")
    assert (code, "1 block will be made again" in text, "same command" in text) == (0, True, True)
    with pytest.raises(StoreError, match="There is no zarr store"):
        said(tmp_path)
