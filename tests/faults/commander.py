"""A command that works on worker processes, for a test that kills it −9 at a drawn moment.

``commander.py STEP FOLDER LOG SCHEDULER MOMENT``: a moment is the n-th time that this process or
one of the workers opens, makes, renames or removes something in the folder, which falls between any
two things on disk; 0 never comes. Each unit of work leaves a line in ``LOG`` when it begins. Last
of all the number of moments is printed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from distributed import WorkerPlugin

import s5engine as s5
from support import noise, texture, volume_of

SIDE, TILE, STRIDE, BLOCK = (500, 700), 64, 32, 128
#: Rows of a band.
BAND = 128
#: Where the network finds its log: it is the same network whatever that is called.
LOG = "S5_TEST_LOG"
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


class Watch(WorkerPlugin):
    """Let processes kill the one that gives the command, and note what they begin to work on."""

    name = "watch"

    def __init__(self, folder: Path, log: Path, moment: int, commander: int) -> None:
        self.folder, self.log, self.moment = folder, log, moment
        self.commander, self.pause = commander, float(os.environ.get("S5_TEST_PAUSE", "0"))
        self.moments = log.with_suffix(".moments")

    def watch(self) -> None:
        """Count what happens in the folder, in all processes together."""
        place = str(self.folder) + os.sep

        def seen(event: str, arguments: tuple[object, ...]) -> None:
            if event in EVENTS and str(arguments[0]).startswith(place):
                file = os.open(self.moments, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(file, b".")
                count = os.lseek(file, 0, os.SEEK_CUR)
                os.close(file)
                if count == self.moment:
                    with suppress(ProcessLookupError):
                        os.kill(self.commander, signal.SIGKILL)

        sys.addaudithook(seen)

    def setup(self, worker: object) -> None:
        """Patch what works on units in a worker."""
        from s5engine.store import level_blocks, part_mask, write_bands
        from s5engine.store.part_file import PartFile

        os.environ[LOG] = str(self.log)
        self.watch()
        self._patched = [
            self._tell(write_bands, "_write_there", lambda *a: f"rows {a[4][0]}:{a[4][1]}"),
            self._tell(level_blocks, "_make_there", lambda *a: f"level {a[1].path} {a[2]}"),
            self._tell(part_mask, "write_mask", lambda _, mask: f"mask {mask.parent.name}"),
            self._tell(PartFile, "write", lambda f, _, row: f"part {f.number}/{f.layer} {row}"),
        ]

    def teardown(self, worker: object) -> None:
        """Take the patches back."""
        for place, name, real in self._patched:
            setattr(place, name, real)

    def _tell(self, place: Any, name: str, told: Callable[..., str]) -> tuple[Any, str, Any]:
        import time

        real = getattr(place, name)

        def telling(*given: Any) -> Any:
            note(self.log, told(*given))
            time.sleep(self.pause)
            return real(*given)

        setattr(place, name, telling)
        return place, name, real


def note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line + "\n")


class Network:
    """A stand-in that notes how many tiles it is given."""

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        note(Path(os.environ[LOG]), str(len(tiles)))
        return texture(tiles)


def run(folder: Path, log: Path) -> None:
    """Predict, blend and write all products."""
    from s5engine.infer import memory

    memory.BLOCK_SIZES = (BLOCK,)
    os.environ[LOG] = str(log)
    volume = volume_of(noise((16, *SIDE)))
    model = s5.wrap_model(Network(), tile=TILE)
    ink = s5.predict_ink(volume, model, windows=[0], stride=STRIDE, tta=0)
    s5.write_run(ink, folder / "run", progress=False)


def ingest(folder: Path, log: Path) -> None:
    """Copy layers into a store with its pyramid."""
    s5.ingest(folder.parent / "seg", folder / "volume.zarr", progress=False)


def split(folder: Path, log: Path) -> None:
    """Cut layers into parts with their masks."""
    s5.split(folder.parent / "seg", folder / "tree", width=800, progress=False)


STEPS = {"run": run, "ingest": ingest, "split": split}


def main(step: str, folder: Path, log: Path, scheduler: str, moment: int) -> None:
    """Do the step there."""
    from s5engine.store import band_plan

    band_plan.BAND_HEIGHTS = (BAND,)
    watch = Watch(folder, log, moment, os.getpid())
    own = scheduler == "processes"
    with s5.cluster(
        scheduler, workers=2 if own else None, budget="6 GiB", dashboard=False
    ) as found:
        assert found.client is not None
        found.client.register_plugin(watch)
        watch.watch()
        STEPS[step](folder, log)
        if not own:
            found.client.unregister_worker_plugin(watch.name)
    sys.stdout.write(f"{watch.moments.stat().st_size}\n")


if __name__ == "__main__":
    words = sys.argv[1:]
    # Workers know this file by its name, which is not that of the program.
    from commander import main as named

    named(words[0], Path(words[1]), Path(words[2]), words[3], int(words[4]))
