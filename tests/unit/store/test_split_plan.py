"""What the plan of a split says is what happens, and only metadata are read for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import s5engine as s5
from s5engine.errors import BudgetError, InvalidArgumentError
from s5engine.phantom import LayerServer, Phantom, encode_layers
from s5engine.phantom.true_scale import true_scale_segment


@pytest.mark.parametrize("layout", ["rows-lzw", "tiles-128"])
def test_a_split_does_what_the_plan_says(tmp_path: Path, layout: str) -> None:
    phantom = Phantom(150, 700, layers=12)
    files = {f"seg/layers/{n}": c for n, c in encode_layers(phantom, layout).items()}
    asked = {"width": 200, "parts": [1, 3], "budget": "4 GiB"}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        told = s5.plan_split(url, tmp_path / "nothing", **asked)
        planning = server.bytes_sent()
        server.reset_log()
        folders = s5.split(url, tmp_path / "tree", **asked, progress=False)
        sent = server.bytes_sent()
    assert not (tmp_path / "nothing").exists()
    # Beside the pixels a split reads the listing and each file's directory, as the plan did.
    assert told.fetch_bytes is not None
    assert told.fetch_bytes <= sent <= told.fetch_bytes + planning + 1000
    assert (told.parts, told.layers, told.rows) == (2, 12, 150)
    tiffs = [path for folder in folders.values() for path in (folder / "layers").iterdir()]
    size = sum(path.stat().st_size for path in tiffs)
    assert 0 <= size - told.disk_bytes["layers"] < len(tiffs) * 10_000  # headers and directories
    masks = sum((folder / "mask.png").stat().st_size for folder in folders.values())
    assert masks < told.disk_bytes["masks"]
    assert told.projected_peak <= told.budget
    assert json.loads(json.dumps(told.as_dict()))["passes"] == len(told.passes)
    for words in ("2 of 12 layers, 150 px high", "to fetch", "of 4 GiB"):
        assert words in str(told)


def test_a_volume_is_planned_for_too(tmp_path: Path) -> None:
    phantom = Phantom(150, 400, layers=3)
    folder = tmp_path / "seg" / "layers"
    folder.mkdir(parents=True)
    for name, content in encode_layers(phantom, "rows-lzw").items():
        (folder / name).write_bytes(content)
    s5.ingest(folder, tmp_path / "v.zarr", progress=False)
    told = s5.plan_split(s5.open_volume(tmp_path / "v.zarr"), width=150)
    assert (told.fetch_bytes, told.parts) == (None, 3)
    assert "to fetch" not in str(told)


def test_a_whole_segment_is_planned_within_seconds() -> None:
    segment = true_scale_segment(13_780, 429_360, 21)
    files = {f"seg/layers/{name}": file for name, file in segment.files.items()}
    with LayerServer(files) as server:
        started = time.process_time()
        told = s5.plan_split(server.url("seg/layers/"), budget="4 GiB")
        assert time.process_time() - started < 10  # promised; other tests may run beside
        assert told.fetch_bytes is not None
        assert server.bytes_sent() < told.fetch_bytes / 1000
    assert (told.parts, len(told.passes)) == (43, 1)
    assert told.disk_bytes["layers"] == 21 * 13_780 * 429_360


def test_what_is_refused(tmp_path: Path) -> None:
    segment = true_scale_segment(600, 60_000, 21)
    files = {f"seg/layers/{name}": file for name, file in segment.files.items()}
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        with pytest.raises(BudgetError, match="at least"):
            s5.plan_split(url, budget="60 MiB")
        with pytest.raises(InvalidArgumentError, match="no parts"):
            s5.plan_split(url, parts=[9])
        with pytest.raises(InvalidArgumentError, match="lookup"):
            s5.plan_split(url, lookup=np.arange(256, dtype=np.uint8))
