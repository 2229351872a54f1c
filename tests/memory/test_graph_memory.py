"""The graphs of a whole segment stay small: measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import s5engine as s5

#: The largest segment that is published, px, and what its graphs may take, bytes.
SIDES = (13_780, 429_360)
MOST = 10**9
# All that is built before the first block is computed: of the ink, its units of work, and what a
# few of them read.
BUILD = """
import json, sys
sys.path.insert(0, "tests")
import dask.array as da
import s5engine as s5
from s5engine.budget import current_rss
from s5engine.infer.prediction import prediction_of
from s5engine.infer.stages import PredictedInk
from support import texture, volume_of
import numpy as np, xarray as xr, zarr

sides = tuple(map(int, sys.argv[1:3]))
pixels = da.zeros((21, *sides), dtype=np.uint8, chunks=(21, 1024, 1024))
places = {d: np.arange(n) for d, n in zip(("layer", "y", "x"), pixels.shape)}
volume = xr.DataArray(pixels, dims=("layer", "y", "x"), coords=places, attrs={"segment": "whole"})
before = current_rss()
model = s5.wrap_model(texture, tile=64)
ink = s5.predict_ink(volume, model, windows=[3, 4, 5], stride=32, budget="8 GiB")
prediction = prediction_of(ink)
stored = zarr.create_array({}, shape=ink.shape, chunks=(1, *prediction.steps), dtype="float32")
work = PredictedInk(prediction, ink, None, stored, {})
units = work.units()
some = [u for u in units if u.key.startswith("predict")][:16]
tasks = sum(len(dict(u.prepare().args[0].array.dask)) for u in some)
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
blocks = sum(unit.key.startswith("blend") for unit in units)
print(json.dumps({"blocks": blocks, "tasks": tasks, "bytes": peak - before}))
"""


def built(*sides: int) -> dict[str, int]:
    """Build the graphs in a fresh process; return what they were and took."""
    command = [sys.executable, "-c", BUILD, *map(str, sides)]
    root = Path(s5.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_graphs_of_a_whole_segment_fit_into_a_gigabyte() -> None:
    whole, part = built(*SIDES), built(SIDES[0], SIDES[1] // 8)
    assert whole["blocks"] == 14 * 420
    assert whole["bytes"] < MOST
    # What a unit reads does not grow with the segment.
    assert 0 < whole["tasks"] <= part["tasks"] + 16
