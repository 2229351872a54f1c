"""Ways from a volume to ink, each for a fresh process; see `common.run_case`.

Loading the network and predicting one tile is preparation; the clock starts after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import s5engine as s5
from benchmarks import baseline_ink
from s5engine.model import NetworkConfig, build_model

DEMO = Path(__file__).resolve().parent.parent / "checkpoints" / "demo.ckpt"


def model_of(name: str) -> s5.InkModel:
    """Return the demo's small network, an untrained one of full size, or a stand-in."""
    if name == "demo":
        return s5.load_checkpoint(DEMO, device="cpu")
    if name == "stand-in":
        return s5.wrap_model(stand_in, tile=128)
    return build_model(NetworkConfig.preset(name), seed=0, device="cpu")


def stand_in(tiles: torch.Tensor) -> torch.Tensor:
    """Answer at once, from one layer."""
    return torch.nn.functional.avg_pool2d(tiles[:, 6], 4) * 4 - 2


def old(
    network: str, part: str, out: str, *, windows: list[int], stride: int, tta: int, batch: int
) -> Iterator[None]:
    """Predict as in 2025, in plain torch, from a part's contrasted files."""
    model = model_of(network)
    plain = model.network
    with torch.no_grad():
        plain(torch.zeros(batch, 1, model.layers, model.tile, model.tile))
    yield
    return baseline_ink.predict(
        Path(part),
        Path(out),
        plain,
        tile=model.tile,
        windows=windows,
        stride=stride,
        tta=tta,
        batch=batch,
    )


def engine(
    network: str,
    store: str,
    out: str,
    *,
    windows: list[int],
    stride: int,
    tta: int,
    batch: int | None = None,
    edge: str = "drop",
    budget: str | None = None,
    formats: list[str] | None = None,
) -> Iterator[None]:
    """Predict with the engine and write the run."""
    model = model_of(network)

    def predict(volume: xr.DataArray, run: str) -> s5.Run:
        ink = s5.predict_ink(
            s5.contrast(volume),
            model,
            windows=windows,
            stride=stride,
            tta=tta,
            batch=batch,
            edge=edge,
            budget=budget,
            mask=s5.papyrus_mask(volume),
        )
        chosen = tuple(formats or ["zarr", "npy", "png"])
        return s5.write_run(ink, run, formats=chosen, progress=False)

    tile = slice(0, model.tile)
    predict(s5.open_volume(store).isel(y=tile, x=tile), f"{out}-warm")
    yield
    return predict(s5.open_volume(store), out).record["times"]


def check_equal(old: str, run: str, windows: list[int], tolerance: float) -> float:
    """Compare the ink of both ways on every pixel; return the largest difference.

    Raises
    ------
    AssertionError
        If it is above the tolerance.
    """
    largest = 0.0
    for first in windows:
        name = f"npy_files/segmentation_layer_{first}.npy"
        ours, theirs = (np.load(Path(folder) / name) for folder in (run, old))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
        largest = max(largest, float(np.abs(ours - theirs).max()))
    assert np.ptp(theirs) > 0.01, "a constant map proves nothing"
    return largest


def record_of(run: str) -> dict[str, Any]:
    """Return what a run says about itself."""
    found: dict[str, Any] = json.loads((Path(run) / "run.json").read_text())
    return found
