"""A volume and a run of any size to look at, from small real ones: their files are used again.

What the engine wrote for a small piece is the stock: each array is declared as large as wanted, and
every chunk or shard of it is a hard link to one of the small one's. So layout, compression and
metadata are the engine's own and every chunk is really decoded, and a whole segment with all its
levels takes no more room than the small piece.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import s5engine as s5
from benchmarks.served import ServedSegment

#: Side of the small piece, px.
SIDE = 2048
#: A pyramid ends where the longer side is at most this, px.
COARSEST = 1024


def write_stores(
    folder: Path, *, height: int, width: int, layers: int, windows: int, budget: str
) -> None:
    """Write ``volume.zarr`` and ``run`` with all their levels."""
    side = min(SIDE, height, width)
    small = folder / "small"
    with ServedSegment(side, side, layers) as segment:
        volume = s5.ingest(segment.url, small / "volume.zarr", budget=budget, progress=False)
    s5.write_pyramid(small / "volume.zarr", budget=budget, progress=False)
    s5.write_run(_ink(volume, windows), small / "run", formats=("zarr",), progress=False)
    shape = height, width
    _stretch(small / "volume.zarr", folder / "volume.zarr", "0", "", shape)
    _stretch(small / "run" / "ink.zarr", folder / "run" / "ink.zarr", "ink", "pyramid/", shape)
    shutil.copy(small / "run" / "run.json", folder / "run" / "run.json")
    for name, length in zip("yx", shape, strict=True):
        group = zarr.open_group(folder / "run" / "ink.zarr", mode="r+")
        axis = group.create_array(
            name,
            shape=(length,),
            dtype="i8",
            chunks=(length,),
            dimension_names=(name,),
            overwrite=True,
        )
        axis[:] = np.arange(length)
    shutil.rmtree(small)


def _ink(volume: Any, windows: int) -> Any:
    """Return ink that is as smooth as a network's (4 px), with as many digits."""
    import xarray as xr

    rng = np.random.default_rng(0)
    rows, columns = volume.sizes["y"], volume.sizes["x"]
    coarse = rng.random((windows, -(-rows // 4) + 1, -(-columns // 4) + 1), np.float32)
    share = (np.arange(4, dtype=np.float32) + 0.5) / 4
    for axis in (1, 2):
        below, above = (
            np.take(coarse, range(first, coarse.shape[axis] - 1 + first), axis) for first in (0, 1)
        )
        steps = [below * (1 - s) + above * s for s in share]
        joined = np.stack(steps, axis + 1)
        sides = [*joined.shape[:axis], -1, *joined.shape[axis + 2 :]]
        coarse = joined.reshape(sides)
    return xr.DataArray(
        np.ascontiguousarray(coarse[:, :rows, :columns]),
        dims=("window", "y", "x"),
        coords={"window": np.arange(3, 3 + windows), "y": volume.y, "x": volume.x},
        attrs={key: volume.attrs[key] for key in ("segment", "source", "fingerprint")},
    ).chunk({"window": 1, "y": 1024, "x": 1024})


def _stretch(source: Path, target: Path, full: str, prefix: str, shape: tuple[int, int]) -> None:
    """Write a store like ``source`` whose arrays have the shape ``shape``, with every level."""
    for kept in ("zarr.json", "window", f"{prefix}zarr.json"):
        if (source / kept).is_dir():
            shutil.copytree(source / kept, target / kept)
        elif (source / kept).exists():
            (target / kept).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / kept, target / kept)
    datasets, number, sides = [], 0, shape
    while True:
        path = f"{prefix}{number}" if number else full
        stock = full if not number else f"{prefix}1"
        _link(source / stock, target / path, sides)
        scale, moved = 2.0**number, (2.0**number - 1) / 2
        datasets.append(
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, scale, scale]},
                    {"type": "translation", "translation": [0.0, moved, moved]},
                ],
            }
        )
        if max(sides) <= COARSEST:
            break
        number, sides = number + 1, (-(-sides[0] // 2), -(-sides[1] // 2))
    told = json.loads((target / "zarr.json").read_text())
    told["attributes"]["ome"]["multiscales"][0]["datasets"] = datasets
    if "s5engine" in told["attributes"]:
        told["attributes"]["s5engine"]["box"] = [0, shape[0], 0, shape[1]]
    (target / "zarr.json").write_text(json.dumps(told))


def _link(source: Path, target: Path, sides: tuple[int, int]) -> None:
    """Declare an array of these sides, and link every chunk or shard to one of the source's."""
    told = json.loads((source / "zarr.json").read_text())
    grid = told["chunk_grid"]["configuration"]["chunk_shape"]
    told["shape"] = [told["shape"][0], *sides]
    target.mkdir(parents=True)
    (target / "zarr.json").write_text(json.dumps(told))
    planes = sorted((source / "c").iterdir())
    for plane in planes:
        stock = itertools.cycle(sorted(file for file in plane.rglob("*") if file.is_file()))
        for row in range(-(-sides[0] // grid[1])):
            folder = target / "c" / plane.name / str(row)
            folder.mkdir(parents=True)
            for column in range(-(-sides[1] // grid[2])):
                os.link(next(stock), folder / str(column))
