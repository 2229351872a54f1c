"""What a plan says is what happens: tiles, blocks, bytes; and it reads metadata alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import s5engine as s5
from s5engine.errors import BudgetError, InvalidArgumentError
from s5engine.infer import memory
from s5engine.model.config import NetworkConfig
from s5engine.model.ink_model import build_model
from s5engine.phantom import LayerServer, Phantom, encode_layers
from s5engine.store.axes import label_volume
from support import counting_model, noise, volume_of

SETTINGS = {"windows": [0, 2], "stride": 32, "tta": 1}


def unreadable(shape: tuple[int, int, int], chunks: tuple[int, int, int]) -> xr.DataArray:
    """Return a volume whose pixels must not be read."""

    def read(*_: object, **__: object) -> np.ndarray:
        raise AssertionError("a pixel was read")

    data = da.map_blocks(
        read,
        chunks=da.core.normalize_chunks(chunks, shape),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    return label_volume(data, segment="unread", source="nowhere")


@pytest.mark.parametrize("spread", [False, True])
def test_the_run_does_what_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spread: bool
) -> None:
    monkeypatch.setattr(memory, "BLOCK_SIZES", (128,))
    model, counter = counting_model()
    volume = volume_of(noise((18, 300, 420)))
    plan = s5.plan(volume, model, **SETTINGS, spread=spread)
    assert counter.tiles == 0
    run = s5.write_run(
        s5.predict_ink(volume, model, **SETTINGS, spread=spread), tmp_path / "run", progress=False
    )
    assert counter.tiles == plan.passes == plan.tiles * 2 * 2
    journal = (run.directory / "progress.jsonl").read_text()
    units = [json.loads(line) for line in journal.splitlines()]
    predicted = [u for u in units if str(u.get("unit", "")).startswith("predict")]
    assert plan.blocks == len(predicted)
    stored = run.tiles.nbytes + (run.spread.nbytes if spread else 0)
    assert plan.disk_bytes["tiles.zarr"] == stored
    assert plan.disk_bytes["ink.zarr"] == run.ink.nbytes
    npy = sum(p.stat().st_size for p in (run.directory / "npy_files").iterdir())
    assert 0 <= npy - plan.disk_bytes["npy"] < 1000  # their headers
    assert plan.projected_peak <= plan.budget
    assert plan.flops is None


def test_only_metadata_of_a_whole_segment_and_within_seconds() -> None:
    model = build_model(NetworkConfig.preset("b0"), seed=0)
    volume = unreadable((21, 13_780, 429_360), (21, 1024, 1024))
    started = time.process_time()
    plan = s5.plan(
        s5.contrast(volume), model, windows=[3, 4], mask=s5.papyrus_mask(volume), budget="96 GB"
    )
    assert time.process_time() - started < 10  # promised; other tests may run beside
    # Whole grid and one flush row and column, spec: 64 px apart, 128 px large.
    assert plan.tiles == (-(-(13_780 - 128) // 64) + 1) * (-(-(429_360 - 128) // 64) + 1)
    assert plan.flops is not None
    assert plan.flops > 80e9 * plan.passes
    text = str(plan)
    for word in ("tiles", "FLOP", "blocks", "disk", "memory", "cpu"):
        assert word in text
    json.dumps(plan.as_dict())


def test_the_bytes_to_fetch_are_those_that_an_ingest_fetches(tmp_path: Path) -> None:
    phantom = Phantom(200, 400, layers=18)
    files = {f"seg/layers/{n}": c for n, c in encode_layers(phantom, "rows-lzw").items()}
    model, _ = counting_model()
    with LayerServer(files) as server:
        url = server.url("seg/layers/")
        volume = s5.open_volume(url)
        box = (40, 168, 100, 300)
        crop = volume.isel(layer=slice(1, 17), y=slice(*box[:2]), x=slice(*box[2:]))
        plan = s5.plan(crop, model, windows=[1], source=url)
        server.reset_log()
        s5.ingest(url, tmp_path / "v.zarr", box=box, layers=range(1, 17), progress=False)
        sent = server.bytes_sent()
    # Beside the pixels an ingest reads the listing and each file's directory.
    assert plan.fetch_bytes is not None
    assert 0.5 * sent < plan.fetch_bytes <= sent


def test_measuring_gives_a_time_in_proportion() -> None:
    model, counter = counting_model()
    volume = volume_of(noise((16, 200, 200)))
    plan = s5.plan(volume, model, windows=[0], measure=True)
    assert counter.tiles == 4 * plan.batch
    assert plan.seconds is not None
    assert plan.seconds > 0
    assert "the network alone" in str(plan)


def test_what_does_not_fit_is_refused_with_the_sum() -> None:
    model, _ = counting_model()
    volume = volume_of(noise((16, 200, 200)))
    with pytest.raises(BudgetError, match=r"does not fit into 100 MiB: .* Give a budget of at"):
        s5.plan(volume, model, windows=[0], budget="100 MiB")
    with pytest.raises(InvalidArgumentError, match="layer window 7 needs"):
        s5.plan(volume, model, windows=[7])


def test_the_named_budget_is_enough() -> None:
    model, _ = counting_model()
    volume = volume_of(noise((16, 200, 200)))
    with pytest.raises(BudgetError) as refused:
        s5.plan(volume, model, windows=[0], budget="100 MiB")
    enough = str(refused.value).split('at least "')[1].split('"')[0]
    assert s5.plan(volume, model, windows=[0], budget=enough).projected_peak > 0
