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
# All that is built before the first block is computed: of the ink, of what each block of it needs,
# and of one group of blocks.
BUILD = """
import json, sys
sys.path.insert(0, "tests")
import dask.array as da
import s5engine as s5
from s5engine.budget import current_rss
from s5engine.infer.culling import culled
from s5engine.infer.pinning import named_steps
from s5engine.infer.surgery import needed_tiles, read_name, recover_tiles, replace_tiles
from support import texture, volume_of
import numpy as np, xarray as xr, zarr

sides = tuple(map(int, sys.argv[1:3]))
pixels = da.zeros((21, *sides), dtype=np.uint8, chunks=(21, 1024, 1024))
places = {d: np.arange(n) for d, n in zip(("layer", "y", "x"), pixels.shape)}
volume = xr.DataArray(pixels, dims=("layer", "y", "x"), coords=places, attrs={"segment": "whole"})
before = current_rss()
model = s5.wrap_model(texture, tile=64)
ink = s5.predict_ink(volume, model, windows=[3, 4, 5], stride=32, budget="8 GiB")
tiles = recover_tiles(ink)
stored = zarr.create_array({}, shape=tiles.shape, chunks=tiles.data.chunksize, dtype="float32")
read = read_name(tiles.data.name)
needs = needed_tiles(replace_tiles(ink, tiles, stored).data, read)
group = sorted(frozenset().union(*needs.values()))[:16]
near = culled(tiles.data, group)
tasks = sum(len(named_steps(near.blocks[index], {}).dask.to_dict()) for index in group)
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({"blocks": len(needs), "tasks": tasks, "bytes": peak - before}))
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
    # The graph of a group does not grow with the segment.
    assert 0 < whole["tasks"] <= part["tasks"] + 16
