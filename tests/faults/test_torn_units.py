"""A recorded unit whose file is gone, cut or zeroed at its end is done again, of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s5engine as s5
from s5engine.infer import memory
from s5engine.runtime.journal import Journal
from s5engine.store import band_plan
from s5engine.store.pyramid import write_levels
from support import counting_model, noise, volume_of
from unit.store.segments import write_layers


def removed(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def zeroed(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: -len(data) // 2] + bytes(len(data) - len(data[: -len(data) // 2])))


DAMAGES = pytest.mark.parametrize("damage", [removed, cut, zeroed])


class StoppedError(Exception):
    """Stands for a kill."""


@contextmanager
def stopped_after(units: int) -> Iterator[None]:
    """Stop whatever keeps a journal when so many units are in it."""
    real = Journal.finish

    def finish(self: Journal, unit: str, *given: Any, **how: Any) -> None:
        real(self, unit, *given, **how)
        if len(self) >= units:
            raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "finish", finish)
        try:
            yield
        except StoppedError:
            return
        pytest.fail("it was not stopped")


def files_in(journal: Path, kind: str) -> list[Path]:
    """Return the files of the recorded units of a kind."""
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    units = [line for line in lines if "unit" in line and line["unit"].startswith(kind)]
    return [journal.parent / name for unit in units for name in unit.get("files", {})]


@DAMAGES
@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("kind", ["predict", "blend"])
def test_of_a_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    at: int,
    damage: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    model, _ = counting_model()
    ink = s5.predict_ink(volume_of(noise((18, 300, 420))), model, windows=[0, 2], stride=32, tta=0)
    plain = s5.write_run(ink, tmp_path / "plain", progress=False)
    with stopped_after(9):
        s5.write_run(ink, tmp_path / "run", progress=False)
    journal = tmp_path / "run" / "progress.jsonl"
    # At a border of the array a chunk is larger than what is in it.
    by_place = sorted(
        files_in(journal, kind), key=lambda file: [int(n) for n in file.parts if n.isdigit()]
    )
    damage(by_place[at])
    run = s5.write_run(ink, tmp_path / "run", progress=False)
    np.testing.assert_array_equal(run.ink.values, plain.ink.values)
    np.testing.assert_array_equal(run.tiles.values, plain.tiles.values)
    # No other unit was done again.
    predicted = [line for line in journal.read_text().splitlines() if '"predict' in line]
    assert len(predicted) == run.record["blocks"]["predict"] + (kind == "predict")


@DAMAGES
def test_of_an_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    pixels = noise((3, 700, 300))
    source = write_layers(tmp_path / "seg", pixels)
    with stopped_after(3):
        s5.ingest(source, tmp_path / "v.zarr", progress=False)
    journal = next(p for p in tmp_path.iterdir() if p.name.endswith("journal"))
    damage(files_in(journal, "rows")[1])
    s5.ingest(source, tmp_path / "v.zarr", progress=False)
    np.testing.assert_array_equal(s5.open_volume(tmp_path / "v.zarr").values, pixels)


@DAMAGES
def test_of_a_pyramid(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    source = write_layers(tmp_path / "seg", noise((3, 2100, 2100)))
    s5.ingest(source, tmp_path / "v.zarr", progress=False)
    whole = [level.values for level in s5.open_pyramid(tmp_path / "v.zarr")]
    with stopped_after(2):
        write_levels(tmp_path / "v.zarr", resume=False, progress=False)
    journal = next(p for p in tmp_path.iterdir() if p.name.endswith("journal"))
    damage(files_in(journal, "")[1])
    write_levels(tmp_path / "v.zarr", progress=False)
    for level, expected in zip(s5.open_pyramid(tmp_path / "v.zarr"), whole, strict=True):
        np.testing.assert_array_equal(level.values, expected)


@DAMAGES
def test_of_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(band_plan, "BAND_HEIGHTS", (128,))
    source = write_layers(tmp_path / "seg", noise((3, 700, 300)))
    s5.split(source, tmp_path / "whole", width=150, progress=False)
    with stopped_after(4):  # the pass, and three of its bands
        s5.split(source, tmp_path / "out", width=150, progress=False)
    journal = next((tmp_path / "out").rglob("split.journal"))
    file = files_in(journal, "")[-1]
    if damage is zeroed:  # its end is not written yet: what is, ends in row 384
        begin, end = file.stat().st_size - 700 * 150, file.stat().st_size - 316 * 150
        data = bytearray(file.read_bytes())
        data[(begin + end) // 2 : end] = bytes(end - (begin + end) // 2)
        file.write_bytes(data)
    else:
        damage(file)
    s5.split(source, tmp_path / "out", width=150, progress=False)
    expected = {p.relative_to(tmp_path / "whole"): p for p in (tmp_path / "whole").rglob("*.tif")}
    found = {p.relative_to(tmp_path / "out"): p for p in (tmp_path / "out").rglob("*.tif")}
    assert found.keys() == expected.keys()
    for name, path in found.items():
        assert path.read_bytes() == expected[name].read_bytes(), name
