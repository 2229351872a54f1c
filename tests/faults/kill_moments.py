"""Kill a step −9 at drawn moments, finish it with the same call, and say what was found.

Run by test_kill_moments.py: ``kill_moments.py FOLDER SEED COUNT``, one JSON line for each moment.
A moment is the n-th time that the step opens, makes, renames or removes something in its folder,
which falls between any two things on disk, however fast the machine is. Each attempt is a forked
process, so that libraries are loaded once: what the first one loads, this process loads after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.geometry import TileAxis
from s5engine.infer import memory
from s5engine.store import band_plan
from s5engine.store import ingest as ingest_module
from s5engine.store.part_file import PartFile, rows_by_token
from support import noise, texture, volume_of

SIDE, TILE, STRIDE = (400, 500), 64, 32
#: Rows of the layers that are ingested and cut.
HEIGHT = 700
#: Rows of a band.
BAND = 128
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
Step = Callable[[Path], None]


#: Where the network finds the folder of its log.
FOLDER = "S5_TEST_FOLDER"


def run(folder: Path) -> None:
    """Predict, blend and write all products; leave a line for each batch of tiles."""
    memory.BLOCK_SIZES = (128,)
    os.environ[FOLDER] = str(folder)  # not in the network: it is the same one in every folder

    def network(tiles: Any) -> Any:
        log(Path(os.environ[FOLDER]), str(len(tiles)))
        return texture(tiles)

    model = s5.wrap_model(network, tile=TILE)
    volume = volume_of(noise((16, *SIDE)))
    ink = s5.predict_ink(volume, model, windows=[0], stride=STRIDE, tta=0)
    s5.write_run(ink, folder / "run", progress=False)


def ingest(folder: Path) -> None:
    """Copy layers into a store; leave a line for each band that is to be written."""
    band_plan.BAND_HEIGHTS = (BAND,)
    write = ingest_module.write_bands

    def told(*arguments: Any, threads: int | None) -> Any:
        for band in arguments[-1]:
            log(folder, f"rows {band[0]}:{band[1]}")
        return write(*arguments, threads=threads)

    watched: Any = ingest_module
    watched.write_bands = told
    s5.ingest(SOURCE, folder / "volume.zarr", progress=False)


def split(folder: Path) -> None:
    """Cut layers into parts; leave a line for each file and its first row of each band."""
    band_plan.BAND_HEIGHTS = (BAND,)
    write = PartFile.write

    def told(file: PartFile, pixels: np.ndarray, row: int) -> None:
        log(folder, f"{file.path.relative_to(folder)} {row}")
        write(file, pixels, row)

    watched: Any = PartFile
    watched.write = told
    s5.split(SOURCE, folder / "tree", width=400, progress=False)


def cut_rows(folder: Path) -> list[str]:
    """Return each file of parts and its finished rows, as `split` logs them."""
    finished = rows_by_token(units(folder))
    told = []
    for path in (folder / "tree").rglob("*.tif"):
        told.append(f"{path.relative_to(folder)} {HEIGHT}")
    for path in (folder / "tree").rglob("layers/*.partial"):
        name, token, _ = path.name.split(".")
        whole = path.with_name(f"{name}.tif").relative_to(folder)
        told.append(f"{whole} {finished.get(token, 0)}")
    return told


def done_so_far(step: Step, before: list[str], finished: bool) -> int:
    """Return the finished units, or rows of all files of parts.

    Those of a volume that is whole, whose journal is gone, count as well.
    """
    if step is split:
        return sum(int(line.split()[1]) for line in before)
    gone = step is ingest and finished and not any(unit.startswith("rows") for unit in before)
    return len(before) + gone * len(range(0, HEIGHT, BAND))


def log(folder: Path, line: str) -> None:
    with (folder.parent / f"{folder.name}.log").open("a") as file:
        file.write(line + "\n")


def logged(folder: Path) -> list[str]:
    path = folder.parent / f"{folder.name}.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def units(folder: Path) -> list[str]:
    """Return the finished units of the journal, a torn last line left out."""
    found = []
    journals = (
        "run/progress.jsonl",
        "volume.zarr.journal",
        "volume.zarr.pyramid.journal",
        "tree/seg/parts/split.journal",
    )
    for path in (folder / name for name in journals):
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line).get("unit", ""))
    return found


def attempt(step: Step, folder: Path, moment: int | None) -> tuple[int, int]:
    """Do the step in a process of its own; return its status and the moments that it had."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        seen, place = 0, str(folder) + os.sep

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in EVENTS and str(arguments[0]).startswith(place):
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(10)

        sys.addaudithook(watch)
        status = 1
        try:
            step(folder)
            status = 0
            with os.fdopen(writer, "w") as answer:
                answer.write("\n".join([str(seen), *sys.modules]))
        except BaseException as error:  # noqa: BLE001
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        moments, *modules = answer.read().splitlines() or ["0"]
    before = threading.active_count()
    for module in modules:
        with contextlib.suppress(ImportError):
            import_module(module)
    if threading.active_count() > before:  # a fork would have its locks and not the thread
        sys.exit("a library starts a thread when it is loaded")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(moments)


def taken_for_finished(folder: Path) -> bool:
    """Whether what lies there can be opened as something whole."""
    opened = [lambda: s5.open_run(folder / "run"), lambda: s5.open_volume(folder / "volume.zarr")]
    for opening in opened:
        with contextlib.suppress(StoreError):
            opening()
            return True
    return False


def same(plain: Path, folder: Path) -> bool:
    """Whether both volumes hold the same pixels."""
    volumes = [s5.open_volume(place / "volume.zarr").values for place in (plain, folder)]
    return np.array_equal(*volumes)


def content(folder: Path) -> dict[str, str]:
    """Return a digest of every file, but for those that hold times."""
    left_out = {"run.json", "progress.jsonl"}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in left_out
    }


def again(step: Step, before: list[str], lines: list[str]) -> bool:
    """Whether something finished was done once more."""
    if step is ingest:
        return bool({*before} & {*lines})
    if step is split:
        rows = {name: int(row) for name, row in map(str.split, before)}
        return any(int(row) < rows.get(name, 0) for name, row in map(str.split, lines))
    axes = [TileAxis(n, TILE, STRIDE).blocks(128).tiles for n in SIDE]
    kept = [u.split()[1:] for u in before if u.startswith("predict")]
    done = sum(axes[0][int(i)] * axes[1][int(j)] for i, j in kept)
    return sum(map(int, lines)) != sum(axes[0]) * sum(axes[1]) - done


if __name__ == "__main__":
    root, draw, count = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    SOURCE = root / "seg"
    for step in (run, ingest, split):
        plain = root / f"{step.__name__}-plain"
        plain.mkdir()
        _, moments = attempt(step, plain, None)
        logged(plain)
        wanted = content(plain)
        # One of each stretch of the work: the last ones are many.
        ends = [1 + moments * n // count for n in range(count + 1)]
        for moment in (draw.randrange(*stretch) for stretch in pairwise(ends)):
            folder = root / f"{step.__name__}-{moment}"
            folder.mkdir()
            killed, _ = attempt(step, folder, moment)
            logged(folder)
            finished = taken_for_finished(folder)
            before = cut_rows(folder) if step is split else units(folder)
            left = content(folder)
            # Finished but for its journal, perhaps, which the next call takes away; a volume is
            # whole before its pyramid is.
            left.pop("volume.zarr.journal", None)
            equal_before = left == wanted or (step is ingest and finished and same(plain, folder))
            status, _ = attempt(step, folder, None)
            told = {
                "step": step.__name__,
                "moment": moment,
                "of": moments,
                "killed": killed,
                "finished_units": done_so_far(step, before, finished),
                "status": status,
                "half_taken_for_finished": finished and not equal_before,
                "done_again": not finished and again(step, before, logged(folder)),
                "equal": content(folder) == wanted,
            }
            shutil.rmtree(folder)
            print(json.dumps(told), flush=True)
