"""Fill a small disk at several moments of a step, make room, go on: one line for each case.

Run by test_full_disk.py inside a mount namespace of its own: FOLDER is an empty place to mount on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.infer import memory
from support import noise, texture, volume_of

memory.BLOCK_SIZES = (128,)
Step = Callable[[Path], np.ndarray]


def run(folder: Path) -> np.ndarray:
    """Predict, blend, write npy and png; return all values."""
    volume = volume_of(noise((16, 400, 500)))
    model = s5.wrap_model(texture, tile=64)
    ink = s5.predict_ink(volume, model, windows=[0], stride=32, tta=0)
    made = s5.write_run(ink, folder / "run", progress=False)
    npy = np.load(folder / "run" / "npy_files" / "segmentation_layer_0.npy")
    return np.concatenate([made.ink.values.ravel(), made.tiles.values.ravel(), npy.ravel()])


def ingest(folder: Path) -> np.ndarray:
    """Copy layers into a store; return its pixels."""
    store = folder / "volume.zarr"
    return np.asarray(s5.ingest(SOURCE, store, progress=False).values)


def split(folder: Path) -> np.ndarray:
    """Cut parts; return their pixels."""
    made = s5.split(SOURCE, folder / "tree", width=300, progress=False)
    return np.concatenate([s5.open_volume(f).values.ravel() for f in made.values()])


def attempt(step: Step, disk: Path, wanted: np.ndarray, kib: int) -> dict[str, object]:
    """Do the step on a disk of so many KiB, then again with room enough."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)], check=True)
    try:
        error = ""
        try:
            step(disk)
        except StoreError as refused:
            error = str(refused)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        equal = np.array_equal(step(disk), wanted)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return {"step": step.__name__, "kib": kib, "error": error, "equal": equal}


if __name__ == "__main__":
    root = Path(sys.argv[1])
    SOURCE, plain, disk = root / "seg", root / "plain", root / "disk"
    disk.mkdir()
    for step in (ingest, split, run):
        plain.mkdir()
        wanted = step(plain)
        used = sum(p.stat().st_size for p in plain.rglob("*") if p.is_file()) // 1024
        shutil.rmtree(plain)
        for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.9):
            told = attempt(step, disk, wanted, int(used * share))
            print(json.dumps(told), flush=True)
