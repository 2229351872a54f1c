"""What the plan of an ingest says is what happens, and only directories are read for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from s5engine.budget import parse_bytes
from s5engine.errors import BudgetError, InvalidArgumentError
from s5engine.phantom import LayerServer, Phantom, encode_layers
from s5engine.phantom.true_scale import true_scale_segment
from s5engine.runtime.journal import Journal

BOX = (40, 168, 100, 300)


def test_an_ingest_does_what_the_plan_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = Phantom(200, 400, layers=18)
    files = {f"seg/layers/{n}": c for n, c in encode_layers(phantom, "rows-lzw").items()}
    asked = {"box": BOX, "layers": range(1, 17), "budget": "4 GiB"}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        told = s5.plan_ingest(url, **asked)
        planning = server.bytes_sent()
        server.reset_log()
        finished: list[str] = []
        finish = Journal.finish

        def note(journal: Journal, unit: str, *given: object) -> None:
            finish(journal, unit, *given)
            finished.append(unit)

        monkeypatch.setattr(Journal, "finish", note)
        volume = s5.ingest(url, tmp_path / "v.zarr", **asked, progress=False)
        sent = server.bytes_sent()
    # Beside the pixels an ingest reads the listing and each file's directory, as the plan did.
    assert told.fetch_bytes <= sent <= told.fetch_bytes + planning + 1000
    assert planning < sent / 2
    assert told.shape == volume.shape
    assert sum(unit.startswith("rows") for unit in finished) == len(told.bands.bands)
    assert told.disk_bytes["full resolution"] == volume.nbytes
    on_disk = sum(p.stat().st_size for p in (tmp_path / "v.zarr").rglob("*") if p.is_file())
    assert on_disk < sum(told.disk_bytes.values())
    assert told.projected_peak <= told.budget == 4 * 2**30
    assert json.loads(json.dumps(told.as_dict()))["band_height"] == told.bands.band_height
    for words in ("16 layers, 128 × 200 px", "to fetch", "at most", "of 4 GiB"):
        assert words in str(told)


def test_a_whole_segment_is_planned_within_seconds() -> None:
    segment = true_scale_segment(13_780, 429_360, 21)
    files = {f"seg/layers/{name}": file for name, file in segment.files.items()}
    with LayerServer(files) as server:
        started = time.process_time()
        told = s5.plan_ingest(server.url("seg/layers/"), budget="4 GiB")
        assert time.process_time() - started < 10  # promised; other tests may run beside
        assert server.bytes_sent() < told.fetch_bytes / 1000
    assert told.shape == (21, 13_780, 429_360)
    assert told.bands.bands[-1][1] == 13_780
    assert told.projected_peak <= 4 * 2**30


def test_what_does_not_fit_is_refused_as_by_the_ingest(tmp_path: Path) -> None:
    segment = true_scale_segment(600, 60_000, 21)
    files = {f"seg/layers/{name}": file for name, file in segment.files.items()}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        with pytest.raises(BudgetError, match="at least") as refused:
            s5.plan_ingest(url, budget="60 MiB")
        with pytest.raises(BudgetError, match="at least"):
            s5.ingest(url, tmp_path / "v", budget="60 MiB", progress=False)
        enough = str(refused.value).split('at least "')[1].split('"')[0]
        assert s5.plan_ingest(url, budget=enough).projected_peak <= parse_bytes(enough)
    with pytest.raises(InvalidArgumentError, match="zarr_format is 2 or 3"):
        s5.plan_ingest("nowhere", zarr_format=4)


def test_measuring_gives_a_time_in_proportion() -> None:
    segment = true_scale_segment(600, 3000, 3)
    files = {f"seg/layers/{name}": file for name, file in segment.files.items()}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        assert s5.plan_ingest(url).seconds is None
        server.reset_log()
        told = s5.plan_ingest(url, measure=True)
        sent = server.bytes_sent()
    assert told.seconds is not None
    assert told.seconds > 0
    assert sent < told.fetch_bytes / 2
    assert "to fetch and decode" in str(told)


def test_16_bit_takes_twice_the_memory() -> None:
    from s5engine.store.band_plan import choose_bands

    eight, sixteen = (
        choose_bands((21, 1024, 5000), n, budget=2**33, base=0).projected_peak for n in (1, 2)
    )
    np.testing.assert_equal(sixteen, 2 * eight)
