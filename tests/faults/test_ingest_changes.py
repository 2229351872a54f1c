"""What changes or breaks under an ingest: the source, the server, the disk, the journal."""

from __future__ import annotations

import errno
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s5engine.errors import ResumeError, SourceChangedError, SourceError, StoreError
from s5engine.phantom import LayerServer
from s5engine.store import band_plan
from s5engine.store import write_bands as module
from s5engine.store.ingest import ingest
from s5engine.store.volume import open_volume
from unit.store.segments import files_of, pixels, write_layers


class InterruptionError(Exception):
    """Stands for whatever ends an ingest early."""


@pytest.fixture(autouse=True)
def low_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_layers(tmp_path / "seg", pixels())


def interrupted(
    monkeypatch: pytest.MonkeyPatch,
    source: str | Path,
    store: Path,
    *,
    after: int = 1,
    error: Exception | None = None,
    **options: Any,
) -> None:
    """Ingest, and fail in the writing of the band ``after``."""
    real = module.write_band
    written = 0

    def write_band(files: Any, y0: int, pixels: np.ndarray, writers: ThreadPoolExecutor) -> None:
        nonlocal written
        if written == after:
            raise error or InterruptionError
        real(files, y0, pixels, writers)
        written += 1

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_band", write_band)
        with pytest.raises(type(error) if error else InterruptionError):
            ingest(source, store, progress=False, **options)


def test_an_interrupted_ingest_goes_on_in_the_same_process(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a")
    assert (tmp_path / "a.journal").exists()
    volume = ingest(source, tmp_path / "a", progress=False)
    np.testing.assert_array_equal(volume.values, pixels())
    assert not (tmp_path / "a.journal").exists()


@pytest.mark.parametrize("etag", [True, False], ids=["by its ETag", "by its date"])
def test_a_source_that_changed_meanwhile_is_refused(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path, etag: bool
) -> None:
    layers = {f"seg/layers/{p.name}": p.read_bytes() for p in (source / "layers").iterdir()}
    with LayerServer(layers, etag=etag) as server:
        url = server.url("seg/layers/")
        interrupted(monkeypatch, url, tmp_path / "a")
        before = files_of(tmp_path / "a")
        changed = bytearray(layers["seg/layers/01.tif"])
        changed[1000] ^= 1
        server.replace("seg/layers/01.tif", bytes(changed))
        with pytest.raises(SourceChangedError, match="has changed since"):
            ingest(url, tmp_path / "a", progress=False)
        assert files_of(tmp_path / "a") == before


def test_other_settings_are_refused_in_between(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a", box=(0, 290, 0, 300))
    for options in ({}, {"box": (0, 290, 0, 299)}, {"box": (0, 290, 0, 300), "layers": [1]}):
        with pytest.raises(ResumeError):
            ingest(source, tmp_path / "a", progress=False, **options)
    volume = ingest(source, tmp_path / "a", progress=False, box=(0, 290, 0, 300))
    np.testing.assert_array_equal(volume.values, pixels()[:, :290, :300])


def test_a_resumed_ingest_keeps_the_shards_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a")
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (1024, 512, 256, 128))
    volume = ingest(source, tmp_path / "a", progress=False)
    assert (tmp_path / "a" / "0" / "c" / "0" / "2" / "0").exists()
    np.testing.assert_array_equal(volume.values, pixels())


def test_a_lost_journal_begins_again(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a", after=2)
    (tmp_path / "a.journal").unlink()
    np.testing.assert_array_equal(ingest(source, tmp_path / "a", progress=False).values, pixels())


def test_a_lost_store_begins_again_whatever_the_journal_says(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a", after=2)
    shutil.rmtree(tmp_path / "a")
    volume = ingest(source, tmp_path / "a", progress=False, box=(0, 290, 0, 300))
    np.testing.assert_array_equal(volume.values, pixels()[:, :290, :300])


def test_starting_afresh_forgets_an_interrupted_attempt(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a", after=2)
    volume = ingest(source, tmp_path / "a", resume=False, progress=False, layers=[2])
    np.testing.assert_array_equal(volume.values, pixels()[2:])


def test_stray_files_of_a_kill_are_cleared_away(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    interrupted(monkeypatch, source, tmp_path / "a")
    stray = tmp_path / "a" / "0" / "c" / "0" / "1" / "0.0123abcd.partial"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"torn")
    ingest(source, tmp_path / "a", progress=False)
    assert not stray.exists()


def test_a_full_disk_is_one_clear_error_and_resumable(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    real, puts = Path.write_bytes, 0

    def write_bytes(path: Path, data: bytes) -> int:
        nonlocal puts
        puts += 1
        if puts > 1:
            real(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(StoreError, match="No space left on device") as error:
            ingest(source, tmp_path / "a", progress=False)
    assert not list((tmp_path / "a").rglob("*.partial"))
    assert "run the same command to go on" in str(error.value)
    np.testing.assert_array_equal(ingest(source, tmp_path / "a", progress=False).values, pixels())


def test_a_place_that_cannot_be_written_is_one_clear_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        ingest(source, tmp_path / "file" / "a.zarr", progress=False)


def test_a_source_that_breaks_off_leaves_a_resumable_store(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    broken = SourceError("The connection was lost.")
    interrupted(monkeypatch, source, tmp_path / "a", error=broken)
    with pytest.raises(StoreError, match="unfinished"):
        open_volume(tmp_path / "a")
    np.testing.assert_array_equal(ingest(source, tmp_path / "a", progress=False).values, pixels())
