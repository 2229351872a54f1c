"""Kill a step −9 at drawn moments, finish it with the same call, and say what was found.

Run by test_kill_moments.py: ``kill_moments.py FOLDER SEED COUNT``, one JSON line for each moment.
A moment is the n-th time that the step opens, makes, renames or removes something in its folder,
which falls between any two things on disk, however fast the machine is. Each attempt is a forked
process, so that libraries are loaded once; this process itself starts no thread.
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
import time
from collections.abc import Callable
from pathlib import Path

import s5engine as s5
from s5engine.errors import StoreError
from s5engine.geometry import TileAxis
from s5engine.infer import memory
from s5engine.store import ingest as ingest_module
from s5engine.store import plan
from support import noise, texture, volume_of

SIDE, TILE, STRIDE = (400, 500), 64, 32
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
Step = Callable[[Path], None]


def run(folder: Path) -> None:
    """Predict, blend and write all products; leave a line for each batch of tiles."""
    memory.BLOCK_SIZES = (128,)

    def network(tiles: object) -> object:
        log(folder, str(len(tiles)))  # type: ignore[arg-type]
        return texture(tiles)  # type: ignore[arg-type]

    model = s5.wrap_model(network, tile=TILE)
    volume = volume_of(noise((16, *SIDE)))
    ink = s5.predict_ink(volume, model, windows=[0], stride=STRIDE, tta=0)
    s5.write_run(ink, folder / "run", progress=False)


def ingest(folder: Path) -> None:
    """Copy layers into a store; leave a line for each band that is to be written."""
    plan.BAND_HEIGHTS = (128,)
    write = ingest_module.write_bands

    def told(*arguments: object) -> object:
        for band in arguments[-1]:  # type: ignore[attr-defined]
            log(folder, f"rows {band[0]}:{band[1]}")
        return write(*arguments)  # type: ignore[arg-type]

    ingest_module.write_bands = told  # type: ignore[assignment]
    s5.ingest(SOURCE, folder / "volume.zarr", progress=False)


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
    for path in (folder / "run" / "progress.jsonl", folder / "volume.zarr.journal"):
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
            os.write(writer, str(seen).encode())
        except BaseException as error:  # noqa: BLE001
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        moments = int(answer.read() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), moments


def taken_for_finished(folder: Path) -> bool:
    """Whether what lies there can be opened as something whole."""
    opened = [lambda: s5.open_run(folder / "run"), lambda: s5.open_volume(folder / "volume.zarr")]
    for opening in opened:
        with contextlib.suppress(StoreError):
            opening()
            return True
    return False


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
    axes = [TileAxis(n, TILE, STRIDE).blocks(128).tiles for n in SIDE]
    kept = [u.split()[1:] for u in before if u.startswith("predict")]
    done = sum(axes[0][int(i)] * axes[1][int(j)] for i, j in kept)
    return sum(map(int, lines)) != sum(axes[0]) * sum(axes[1]) - done


if __name__ == "__main__":
    root, draw, count = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    SOURCE = root / "seg"
    for step in (run, ingest):
        plain = root / f"{step.__name__}-plain"
        plain.mkdir()
        _, moments = attempt(step, plain, None)
        logged(plain)
        wanted = content(plain)
        for moment in sorted(draw.sample(range(1, moments + 1), count)):
            folder = root / f"{step.__name__}-{moment}"
            folder.mkdir()
            killed, _ = attempt(step, folder, moment)
            logged(folder)
            finished, before = taken_for_finished(folder), units(folder)
            left = content(folder)
            # Finished but for its journal, perhaps, which the next call takes away.
            left.pop("volume.zarr.journal", None)
            equal_before = finished and left == wanted
            status, _ = attempt(step, folder, None)
            told = {
                "step": step.__name__, "moment": moment, "of": moments, "killed": killed,
                "finished_units": len(before), "status": status,
                "half_taken_for_finished": finished and not equal_before,
                "done_again": not finished and again(step, before, logged(folder)),
                "equal": content(folder) == wanted,
            }  # fmt: skip
            shutil.rmtree(folder)
            print(json.dumps(told), flush=True)
