"""The engine's side of training-tile preparation, and the check that both give equal tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import s5engine as s5
from s5engine.phantom import Phantom, write_labelled

SEGMENT = "phantom"


def make(folder: str, *, height: int, width: int, layers: int) -> int:
    """Make a labelled segment: layers, store, label and mask, and the contrasted part of 2025."""
    import tifffile

    root = Path(folder)
    phantom = Phantom(height, width, layers=layers, seed=3, text="ΠΕΡΙ", ink_contrast=4.0)
    volume = write_labelled(phantom, root, segment=SEGMENT)
    part = root / "part" / "layers"
    part.mkdir(parents=True)
    for plane in s5.contrast(volume):
        tifffile.imwrite(part / f"{int(plane.layer):02d}.tif", plane.values)
    return int(volume.size)


def build(folder: str, tiles: str, *, packed: bool, layers: list[int], tile: int) -> int:
    """Find the tiles; if ``packed``, copy their pixels too. Return how many there are."""
    volume = s5.open_volume(Path(folder) / f"{SEGMENT}.zarr")
    found = s5.build_tileset(
        s5.parts(s5.contrast(volume)),
        Path(folder) / "labels",
        tiles,
        packed=packed,
        layers=layers,
        tile=tile,
        stride=tile // 2,
        progress=False,
    )
    return len(found)


def check_equal(old: str, tiles: str) -> int:
    """Compare every tile of both ways: place, percentages, pixels, label, keep.

    Raises
    ------
    AssertionError
        If any differs.
    """
    found = s5.open_tileset(tiles)
    written = {path.stem for path in Path(old).glob("*.npz")}
    assert len(written) == len(found) > 0
    for i in range(len(found)):
        places: list[Any] = [found.x[i], found.y[i], found.ink_percent[i], found.ignore_percent[i]]
        with np.load(Path(old) / f"{'_'.join(map(str, places))}.npz") as theirs:
            for name in ("layers", "label", "keep"):
                np.testing.assert_array_equal(getattr(found[i], name), theirs[name])
    return len(found)
