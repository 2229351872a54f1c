"""A build that is killed while it packs goes on, and ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

import s5engine as s5
from support import noise, volume_of
from unit.training.conftest import write_png

SHAPE = (16, 1300, 1100)


class Killer:
    """Layers that kill the process when a block of the last rows is read."""

    shape, ndim, dtype = SHAPE, 3, np.dtype(np.uint8)

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        if place[1].start >= 1024 and os.environ.get("KILLED") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return noise(SHAPE)[place]


def build(folder: Path, name: str) -> s5.Tileset:
    part = volume_of(Killer(), (16, 512, 512)).assign_attrs(part=1)
    return s5.build_tileset([part], {1: folder}, folder / name, packed=True, progress=False)


def test_killed_while_packing(tmp_path: Path) -> None:
    write_png(tmp_path / "label.png", noise(SHAPE)[3] > 99)
    write_png(tmp_path / "mask.png", np.ones(SHAPE[1:], bool))
    here = "from unit.training import test_packed_kill as t"
    code = f"{here}; t.build(t.Path({str(tmp_path)!r}), 't')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KILLED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    journal = (tmp_path / "t.journal").read_text()
    assert '"pack test_01 0 0"' in journal
    assert '"pack test_01 1024 0"' not in journal
    killed, whole = build(tmp_path, "t"), build(tmp_path, "whole")
    assert len(killed) == len(whole) == 19 * 16
    for i in range(0, len(whole), 9):
        np.testing.assert_array_equal(killed[i].layers, whole[i].layers)
    assert not (tmp_path / "t.journal").exists()
