"""A power cut: what was not brought to the disk is gone, and no recorded unit is lost by that.

The disk is recorded below `os.fsync`: a file's bytes are safe as they were at its last fsync, a
name as its folder was at the folder's. Every fsync of a journal is a moment at which the power may
fail; what is then left is put together in another folder, and the work goes on there.
"""

from __future__ import annotations

import json
import os
import random
import stat
import zlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import s5engine as s5
from s5engine.infer import memory
from s5engine.runtime.file_marks import torn_files
from s5engine.store import band_plan
from support import Counter, counting_model, noise, volume_of
from unit.store.segments import write_layers

#: Name → inode of what is in a folder, and whether it is a folder too.
Names = dict[str, tuple[int, bool]]


class Disk:
    """What of a folder would be left if the power failed now."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.files: dict[int, bytes] = {}
        self.folders: dict[int, Names] = {}
        self.moments: list[tuple[dict[int, bytes], dict[int, Names]]] = []
        self._fsync = os.fsync
        self._remember(root)
        monkeypatch.setattr(os, "fsync", self._recorded)

    def _remember(self, folder: Path) -> None:
        inode = folder.stat().st_ino
        self.files.pop(inode, None)  # of a file that is gone
        self.folders[inode] = {p.name: (p.lstat().st_ino, p.is_dir()) for p in folder.iterdir()}

    def _recorded(self, handle: int) -> None:
        self._fsync(handle)
        path, found = Path(f"/proc/self/fd/{handle}").readlink(), os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            self._remember(path)
            return
        self.folders.pop(found.st_ino, None)
        self.files[found.st_ino] = path.read_bytes()
        if path.suffix in (".journal", ".jsonl") and self.root in path.parents:
            self.moments.append((dict(self.files), dict(self.folders)))

    def safe(self, moment: int, path: Path) -> bytes | None:
        """Return what would be left of a file; None if its name would not be there."""
        files, folders = self.moments[moment]
        inode: int | None = self.root.stat().st_ino
        for name in path.parts:
            inode = folders.get(inode or 0, {}).get(name, (None, False))[0]
        return None if inode is None else files.get(inode, b"")

    def left(self, moment: int, place: Path) -> Path:
        """Put together what would be left at a moment; a file that was not safe is empty."""
        files, folders = self.moments[moment]

        def put(inode: int, is_folder: bool, at: Path) -> None:
            if not is_folder:
                at.write_bytes(files.get(inode, b""))
                return
            at.mkdir()
            for name, (inner, is_one) in folders.get(inode, {}).items():
                put(inner, is_one, at / name)

        put(self.root.stat().st_ino, True, place)
        return place


def units_of(journal: Path) -> dict[str, dict[str, list[int]]]:
    return units_in(journal.read_bytes())


def units_in(journal: bytes) -> dict[str, dict[str, list[int]]]:
    lines = [json.loads(line) for line in journal.splitlines()]
    return {line["unit"]: line.get("files", {}) for line in lines if "unit" in line}


def check_all(disk: Disk, name: str, moments: int) -> int:
    """Check that every recorded unit is whole at some moments; return how many were seen."""
    seen = 0
    last = len(disk.moments) - 1
    for number in random.Random(7).sample(range(1, last), min(moments, last - 1)):
        units = units_in(disk.safe(number, Path(name)) or b"")
        assert units or number < 3, number
        for unit, files in units.items():
            for file, (size, tail, _) in files.items():
                data = disk.safe(number, Path(name).parent / file)
                assert data is not None, (number, unit, file)
                assert (len(data), zlib.crc32(data[-4096:])) == (size, tail), (number, unit, file)
            seen += 1
    return seen


def model_and_ink(counter_at: list[Counter], width: int) -> xr.DataArray:
    model, counter = counting_model()
    counter_at.append(counter)
    volume = volume_of(noise((16, 200, width)))
    return s5.predict_ink(volume, model, windows=[0], stride=64, tta=0)


@pytest.mark.parametrize(
    ("width", "moments"), [(700, 40), pytest.param(3300, 200, marks=pytest.mark.slow)]
)
def test_a_run_loses_no_recorded_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, moments: int
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (64,))
    counters: list[Counter] = []
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root, monkeypatch)
    whole = s5.write_run(model_and_ink(counters, width), root / "run", progress=False)
    assert len(disk.moments) >= moments
    assert check_all(disk, "run/progress.jsonl", moments) > moments * moments / 4
    expected = whole.ink.values
    for number in (3, len(disk.moments) // 2, len(disk.moments) - 2):
        place = disk.left(number, tmp_path / f"on-{number}")
        done = [u for u in units_of(place / "run/progress.jsonl") if u.startswith("predict")]
        run = s5.write_run(model_and_ink(counters, width), place / "run", progress=False)
        np.testing.assert_array_equal(run.ink.values, expected)
        assert counters[-1].tiles <= counters[0].tiles - len(done)


def test_an_ingest_and_its_pyramid_lose_no_recorded_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    pixels = noise((4, 1500, 300))
    write_layers(tmp_path / "seg", pixels)
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root, monkeypatch)
    s5.ingest(tmp_path / "seg", root / "v.zarr", progress=False)
    names = [p.name for p in root.iterdir()]
    assert names == ["v.zarr"]
    last = len(disk.moments) - 1
    place = disk.left(last, tmp_path / "last")
    journal = next(p for p in place.iterdir() if p.name.endswith("journal"))
    units = units_of(journal)
    assert units
    assert not any(torn_files(place, files) for files in units.values())
    s5.ingest(tmp_path / "seg", place / "v.zarr", progress=False)
    np.testing.assert_array_equal(s5.open_volume(place / "v.zarr").values, pixels)
